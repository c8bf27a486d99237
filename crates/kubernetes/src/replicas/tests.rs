//! Counts by hand, by a second form of the rule, and at random.

use proptest::prelude::*;

use super::*;
use crate::Bound::{Count, Percent};

/// The rule as its text has it, in floating point as Argo computes it, written apart from the code.
fn by_the_text(n: u32, w: u32, m: u32, s: u32) -> (u32, u32) {
    if n == 0 {
        return (0, 0);
    }
    let (nf, wf, mf) = (f64::from(n), f64::from(w), f64::from(m));
    let (up, dn) = ((nf * wf / mf).ceil(), (nf * wf / mf).floor());
    let zero_ok = w == 0 || w == m || (n == 1 && s == 0);
    #[expect(clippy::float_cmp, reason = "the text says exactly")]
    let tie = |t: f64| (t * (wf / mf)).fract() == 0.5;
    let mut options: Vec<(f64, f64)> = Vec::new();
    if up < nf || zero_ok {
        options.push((up, nf));
    }
    if !tie(nf) && (dn > 0.0 || zero_ok) {
        options.push((dn, nf));
    }
    if s > 0 {
        options.push((up, nf + 1.0));
        if !tie(nf + 1.0) && (dn > 0.0 || zero_ok) {
            options.push((dn, nf + 1.0));
        }
    }
    let mut best = (0.0, nf);
    let mut off = f64::INFINITY;
    for (canary, total) in options {
        let here = (canary * mf / total - wf).abs();
        if here < off {
            (best, off) = ((canary, total), here);
        }
    }
    let whole = |pods: f64| format!("{pods:.0}").parse::<u32>().unwrap();
    (whole(best.0), whole(best.1 - best.0))
}

/// The cases in which Argo's rule finds nothing: no surge, and half a pod short of all.
const HOLES: [(u32, u32); 5] = [(2, 75), (5, 90), (10, 95), (25, 98), (50, 99)];

#[test]
fn targets_are_those_of_the_rules_text_for_all_pods_and_weights() {
    for pods in 0..=50 {
        for weight in 0..=100 {
            for surge in [0, 1, 2, 7] {
                let found = target(pods, Weight::of(weight, 100), surge, Rounding::Argo);
                assert_eq!(
                    (found.new, found.stable),
                    by_the_text(pods, weight, 100, surge),
                    "{pods} {weight} {surge}"
                );
            }
        }
    }
}

#[test]
fn at_least_one_differs_from_argo_only_where_argos_rule_finds_nothing() {
    for pods in 0..=200 {
        for weight in 0..=100 {
            for surge in [0, 1] {
                let argo = target(pods, Weight::of(weight, 100), surge, Rounding::Argo);
                let ours = target(pods, Weight::of(weight, 100), surge, Rounding::AtLeastOne);
                if surge == 0 && HOLES.contains(&(pods, weight)) {
                    assert_eq!(argo, Counts { new: 0, stable: pods });
                    assert_eq!(ours, Counts { new: pods - 1, stable: 1 });
                } else {
                    assert_eq!(argo, ours, "{pods} {weight} {surge}");
                }
            }
        }
    }
}

type Row = ((u32, u32, u32), (u32, u32));

/// (pods, percent, surge) and (new, stable), worked out by hand.
const ROWS: [Row; 46] = [
    ((0, 50, 1), (0, 0)),
    ((1, 0, 0), (0, 1)),
    ((1, 0, 1), (0, 1)),
    ((1, 1, 0), (0, 1)),
    ((1, 1, 1), (1, 1)),
    ((1, 49, 0), (0, 1)),
    ((1, 50, 0), (1, 0)),
    ((1, 50, 1), (1, 1)),
    ((1, 51, 0), (1, 0)),
    ((1, 99, 0), (1, 0)),
    ((1, 99, 1), (1, 1)),
    ((1, 100, 0), (1, 0)),
    ((1, 100, 1), (1, 0)),
    ((2, 1, 0), (1, 1)),
    ((2, 10, 1), (1, 2)),
    ((2, 50, 0), (1, 1)),
    ((2, 75, 0), (0, 2)),
    ((2, 75, 1), (2, 1)),
    ((2, 99, 0), (1, 1)),
    ((3, 10, 0), (1, 2)),
    ((3, 10, 1), (1, 3)),
    ((3, 50, 0), (2, 1)),
    ((3, 50, 1), (2, 2)),
    ((3, 99, 1), (3, 1)),
    ((4, 20, 0), (1, 3)),
    ((4, 20, 1), (1, 4)),
    ((5, 0, 1), (0, 5)),
    ((5, 90, 0), (0, 5)),
    ((5, 90, 1), (5, 1)),
    ((5, 100, 1), (5, 0)),
    ((7, 30, 0), (2, 5)),
    ((7, 50, 0), (4, 3)),
    ((7, 50, 1), (4, 4)),
    ((10, 1, 0), (1, 9)),
    ((10, 1, 1), (1, 10)),
    ((10, 5, 0), (1, 9)),
    ((10, 5, 1), (1, 10)),
    ((10, 10, 1), (1, 9)),
    ((10, 25, 0), (3, 7)),
    ((10, 25, 1), (3, 8)),
    ((10, 33, 1), (3, 7)),
    ((10, 37, 1), (4, 7)),
    ((10, 95, 1), (10, 1)),
    ((10, 99, 0), (9, 1)),
    ((20, 5, 0), (1, 19)),
    ((50, 1, 0), (1, 49)),
];

#[test]
fn targets_are_those_worked_out_by_hand() {
    for ((pods, percent, surge), (new, stable)) in ROWS {
        let found = target(pods, Weight::of(percent, 100), surge, Rounding::Argo);
        assert_eq!(found, Counts { new, stable }, "{pods} pods, {percent} %, surge {surge}");
    }
    let four_billion = target(u32::MAX, Weight::of(u32::MAX / 2, u32::MAX), 0, Rounding::Argo);
    assert_eq!(four_billion.new, u32::MAX / 2, "no overflow where Argo's 32 bits have one");
}

#[test]
fn steps_are_those_worked_out_by_hand() {
    let seen = |pods, percent, surge, unavailable, present: Present| {
        let goal = target(pods, Weight::percent(percent), surge, Rounding::Argo);
        let next = step(present, goal, pods, Room { surge, unavailable });
        (next.new, next.stable)
    };
    let of = |new, new_available, stable, stable_available| Present {
        new,
        new_available,
        stable,
        stable_available,
        older: 0,
    };
    // the examples in Argo's own comment
    assert_eq!(seen(10, 10, 1, 1, of(0, 0, 10, 10)), (1, 9));
    assert_eq!(seen(10, 30, 0, 5, of(0, 0, 10, 10)), (0, 7));
    assert_eq!(seen(1, 5, 1, 0, of(0, 0, 1, 1)), (1, 1));
    // no room to lower before the new pods are there: one of 13 fits
    assert_eq!(seen(10, 30, 1, 0, of(0, 0, 10, 10)), (1, 10));
    assert_eq!(
        seen(10, 30, 1, 0, of(1, 0, 10, 10)),
        (1, 10),
        "a new pod that is not available carries nothing"
    );
    assert_eq!(seen(10, 30, 1, 0, of(1, 1, 10, 10)), (1, 9));
    assert_eq!(seen(10, 30, 1, 0, of(1, 1, 9, 9)), (2, 9));
    // the way back: stable first
    assert_eq!(
        seen(10, 0, 1, 0, of(3, 0, 7, 7)),
        (3, 8),
        "broken new pods make room as stable's become available"
    );
    assert_eq!(seen(10, 0, 1, 0, of(3, 0, 8, 8)), (2, 8));
    // older releases go first
    let older = Present { older: 2, ..of(1, 1, 9, 9) };
    assert_eq!(seen(10, 50, 2, 5, older), (1, 9));
    // nothing of a stable release left: all pods of the new one
    let next = step(of(2, 2, 0, 0), Counts { new: 10, stable: 0 }, 10, Room { surge: 3, unavailable: 0 });
    assert_eq!(next, Counts { new: 10, stable: 0 });
}

#[test]
fn bounds_are_rounded_towards_moving_and_never_forbid_it() {
    let room = |surge, unavailable, pods| {
        let found = super::room(surge, unavailable, pods);
        (found.surge, found.unavailable)
    };
    assert_eq!(room(Percent(25), Percent(25), 10), (3, 2));
    assert_eq!(room(Percent(1), Percent(99), 1), (1, 0));
    assert_eq!(room(Count(0), Count(0), 10), (0, 1));
    assert_eq!(room(Percent(0), Percent(9), 10), (0, 1));
    assert_eq!(room(Count(2), Count(30), 10), (2, 10));
    assert_eq!(room(Count(0), Count(0), 0), (0, 0));
    assert_eq!(room(Percent(100), Percent(100), u32::MAX), (u32::MAX, u32::MAX));
}

#[test]
fn pods_behind_a_router_carry_its_share_rounded_up() {
    let new = |pods, percent, least| routed_new(pods, Weight::percent(percent), least);
    assert_eq!(
        [new(10, 0, 2), new(10, 1, 0), new(10, 1, 2), new(10, 25, 2), new(10, 100, 2)],
        [0, 1, 2, 3, 10]
    );
    assert_eq!(new(1, 1, 2), 1, "the least is not more than all");
    let stable = |wanted, written| routed_stable(10, Weight::percent(wanted), Weight::percent(written), 0);
    assert_eq!([stable(30, 30), stable(30, 10), stable(100, 50), stable(100, 100)], [7, 9, 5, 0]);
}

#[test]
fn the_achieved_share_is_never_none_or_all_while_both_have_pods() {
    let share = |new, stable| achieved(Counts { new, stable }).basis_points();
    assert_eq!(
        [share(0, 0), share(0, 5), share(5, 0), share(1, 1), share(1, 2)],
        [0, 0, 10_000, 5_000, 3_334]
    );
    assert_eq!([share(1, 1_000_000), share(1_000_000, 1)], [1, 9_999]);
}

#[test]
fn stable_takes_back_what_it_can_carry() {
    let back = |wanted, ready, now: u16, enough| {
        let now = Share::from_basis_points(now).unwrap();
        way_back(wanted, ready, now, enough).basis_points()
    };
    // (wanted, ready, new's share now, enough percent) and new's share then
    assert_eq!(back(10, 10, 5_000, 100), 0);
    assert_eq!(back(10, 11, 5_000, 100), 0, "more than wanted");
    assert_eq!(back(10, 9, 5_000, 100), 1_000, "Argo moves nothing here");
    assert_eq!(back(10, 9, 500, 100), 500, "stable has more than it could carry already, and keeps it");
    assert_eq!(back(10, 5, 10_000, 100), 5_000);
    assert_eq!(back(10, 5, 10_000, 50), 0, "half is enough by policy");
    assert_eq!(back(10, 4, 10_000, 50), 6_000);
    assert_eq!(back(3, 1, 10_000, 100), 6_667, "what is carried is rounded down");
    assert_eq!(back(10, 0, 4_000, 1), 4_000, "nothing is sent to nobody");
    assert_eq!(back(0, 0, 4_000, 50), 4_000);
    assert_eq!(back(0, 1, 4_000, 50), 0);
    assert_eq!(back(1_000, 1, 10_000, 0), 0, "any pod is enough by policy");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_share_between_none_and_all_of_two_pods_leaves_nobody_without(
        pods in 1_u32..5_000, weight in 1_u32..10_000, surge in 0_u32..3,
    ) {
        prop_assume!(pods + surge.min(1) >= 2);
        let found = target(pods, Weight::of(weight, 10_000), surge, Rounding::AtLeastOne);
        prop_assert!(found.new > 0 && found.stable > 0, "{:?}", found);
        prop_assert!(found.new + found.stable <= pods + surge.min(1));
        let off = f64::from(found.new) / f64::from(found.new + found.stable) - f64::from(weight) / 10_000.0;
        prop_assert!(off.abs() * f64::from(pods) <= 1.0, "within a pod");
    }

    #[test]
    fn every_step_keeps_what_is_available_and_stays_below_the_top(
        pods in 1_u32..40, weight in 0_u32..=100, surge in 0_u32..5, unavailable in 0_u32..5,
        new in 0_u32..60, stable in 0_u32..60, older in 0_u32..3, ready in prop::array::uniform2(0_u32..70),
    ) {
        let bounds = room(Bound::Count(surge), Bound::Count(unavailable), pods);
        let goal = target(pods, Weight::of(weight, 100), bounds.surge, Rounding::AtLeastOne);
        let [new_available, stable_available] = ready;
        let before = Present { new, new_available, stable, stable_available, older };
        let after = step(before, goal, pods, bounds);
        let available = |counts: Counts| counts.new.min(new_available) + counts.stable.min(stable_available);
        let floor = (pods - bounds.unavailable).min(available(Counts { new, stable }));
        prop_assert!(available(after) >= floor, "{:?} -> {:?}", before, after);
        let total = after.new + after.stable + older;
        prop_assert!(total <= (pods + bounds.surge).max(new + stable + older), "{:?} -> {:?}", before, after);
    }

    #[test]
    fn steps_end_at_the_target_once_pods_become_available(
        pods in 1_u32..40, weight in 0_u32..=100, surge in 0_u32..5, unavailable in 0_u32..5,
        new in 0_u32..60, stable in 0_u32..60, older in 0_u32..3,
    ) {
        let bounds = room(Bound::Count(surge), Bound::Count(unavailable), pods);
        let goal = target(pods, Weight::of(weight, 100), bounds.surge, Rounding::AtLeastOne);
        let mut now = Counts { new, stable };
        let mut older = older;
        for _ in 0..400 {
            let (new, stable) = (now.new, now.stable);
            let present = Present { new, new_available: new, stable, stable_available: stable, older };
            now = step(present, goal, pods, bounds);
            older = older.saturating_sub(1);
            let available = now.new.min(new) + now.stable.min(stable);
            prop_assert!(available >= (pods - bounds.unavailable).min(new + stable));
        }
        prop_assert_eq!(now, goal);
    }
}
