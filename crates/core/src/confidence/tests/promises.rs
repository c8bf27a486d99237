//! Properties: monotone, indifferent to order, and a veto is stronger than any sum.

use alloc::{string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::{super::*, examples::known};

fn six() -> impl Strategy<Value = Vec<Option<u16>>> {
    prop::collection::vec(prop::option::weighted(0.8, 0_u16..=10_000), 6)
}

fn factors(values: &[Option<u16>]) -> Vec<Factor> {
    let kinds = FactorKind::ALL.into_iter().zip(values);
    kinds
        .map(|(kind, value)| match value {
            Some(points) => known(kind, *points),
            None => Factor::absent(kind, Absence::NotGiven, "not given"),
        })
        .collect()
}

fn rank(decision: Decision) -> u8 {
    match decision {
        Decision::Rollback => 0,
        Decision::ManualReview => 1,
        Decision::AutoPromote => 2,
    }
}

proptest! {
    #[test]
    fn more_of_a_factor_never_lowers_score_or_decision_nor_raises_the_probability_of_bad(
        values in six(), place in 0_usize..6, more in 1_u16..10_000,
    ) {
        let mut better = values.clone();
        let Some(Some(points)) = better.get_mut(place) else { return Ok(()) };
        *points = points.saturating_add(more).min(10_000);
        let (low, high) = (Factors::new(factors(&values)), Factors::new(factors(&better)));
        prop_assert!(weigh(&low).score <= weigh(&high).score);
        prop_assert!(rank(final_score(&low).decision) <= rank(final_score(&high).decision));
        let model = PriorModel::uncalibrated(150_000);
        let bad = |factors: &Factors| posterior(&model, &FactorValues::of(factors), None).bad;
        prop_assert!(bad(&low) >= bad(&high));
    }

    #[test]
    fn the_order_in_which_factors_and_absences_are_given_changes_nothing(
        values in six(), order in Just(vec![0_usize, 1, 2, 3, 4, 5]).prop_shuffle(), drop in any::<bool>(),
    ) {
        let straight = factors(&values);
        let mut mixed: Vec<Factor> = order.iter().map(|place| straight[*place].clone()).collect();
        if drop {
            // An absent factor that is not even mentioned is as absent as one that is.
            mixed.retain(|factor| factor.points().is_some());
        }
        let (straight, mixed) = (Factors::new(straight), Factors::new(mixed));
        prop_assert_eq!(weigh(&straight), weigh(&mixed));
        prop_assert_eq!(final_score(&straight), final_score(&mixed));
        prop_assert_eq!(preflight(&straight), preflight(&mixed));
    }

    #[test]
    fn a_veto_dominates_every_sum(values in six(), place in 0_usize..6) {
        let mut given = factors(&values);
        let Some(factor) = given.get_mut(place).filter(|factor| factor.points().is_some()) else { return Ok(()) };
        *factor = factor.clone().vetoed(VetoKind::Refuse, "no".to_string());
        let kind = factor.kind;
        let refused = Factors::new(given.clone());
        prop_assert_eq!(final_score(&refused).decision, Decision::Rollback);
        // Before traffic, what the canary says is not known.
        if kind != FactorKind::Canary {
            prop_assert_eq!(preflight(&refused).decision, Start::Blocked);
        }
        let softened = given.into_iter().map(|factor| match factor.veto.clone() {
            Some(veto) => factor.vetoed(VetoKind::Review, veto.reason),
            None => factor,
        });
        prop_assert_ne!(final_score(&Factors::new(softened)).decision, Decision::AutoPromote);
    }

    #[test]
    fn worse_input_never_makes_a_better_factor(
        lines in 0_u64..5_000, more in 0_u64..5_000, seed in prop::collection::vec(0_u64..3_000, 0..60),
        good in -20.0_f64..20.0, bad in -20.0_f64..20.0, step in 0.0_f64..10.0,
    ) {
        let sized = |lines| ChangeSize { lines_added: lines, ..ChangeSize::default() };
        let past: Vec<ChangeSize> = seed.into_iter().map(sized).collect();
        let complexity = |lines| change_complexity(&sized(lines), &past).points();
        prop_assert!(complexity(lines) >= complexity(lines + more));
        let health = |good, bad| {
            let gate = GateEvidence::sequential("g", 1, (good, bad), (10_000, 50_000)).unwrap();
            canary_health(&[gate]).points()
        };
        prop_assert!(health(good + step, bad) >= health(good, bad));
        prop_assert!(health(good, bad + step) <= health(good, bad));
    }
}

#[test]
fn one_gate_that_turned_the_release_back_is_a_veto_whatever_its_weight() {
    let gate = |name: &str, weight, seen| GateEvidence { gate: name.to_string(), weight, seen };
    let gates = [gate("errors", 100, GateSight::Held), gate("p99", 0, GateSight::RolledBack)];
    let factor = canary_health(&gates);
    assert_eq!(factor.points(), Some(Points::NONE));
    assert_eq!(factor.veto.unwrap().reason, "the gate `p99` turned the release back");
    let unseen = [gate("errors", 1, GateSight::Held), gate("p99", 1, GateSight::Nothing)];
    assert_eq!(canary_health(&unseen).points(), Some(Points::new(7_500)));
    // A gate of weight 0 counts nothing, but what it did to the release still does.
    let only = canary_health(&[gate("p99", 0, GateSight::RolledBack)]);
    assert!(only.veto.is_some(), "{only:?}");
}

#[test]
fn a_safety_report_forbids_what_it_says_and_must_not_contradict_itself() {
    let check =
        |name: &str, blocking, outcome| Check { name: name.to_string(), weight: 1, blocking, outcome };
    let (pass, fail, skip) = (CheckOutcome::Passed, CheckOutcome::Failed, CheckOutcome::NotRun);
    let soft = vec![check("tests", true, pass), check("scan", false, fail), check("dry run", true, skip)];
    let fine = safety_score(&SafetyReport::new(true, Recommendation::Deploy, soft.clone()).unwrap());
    assert_eq!((fine.points(), fine.veto.is_some()), (Some(Points::HALF), false));
    let review = safety_score(&SafetyReport::new(true, Recommendation::Review, soft).unwrap());
    assert_eq!(review.veto.unwrap().kind, VetoKind::Review);
    let hard = vec![check("tests", true, pass), check("signature", true, fail)];
    let refused = safety_score(&SafetyReport::new(false, Recommendation::Review, hard.clone()).unwrap());
    let veto = refused.veto.unwrap();
    assert_eq!(veto.kind, VetoKind::Refuse);
    assert_eq!(veto.reason, "the blocking safety check `signature` failed");
    let bare = SafetyReport::new(false, Recommendation::DoNotDeploy, vec![]).unwrap();
    assert_eq!(bare.refusal().unwrap(), "the safety gates recommend not to deploy");
    let failed = SafetyReport::new(false, Recommendation::Review, vec![]).unwrap();
    assert_eq!(failed.refusal().unwrap(), "the safety gates did not pass");
    assert_eq!(safety_score(&failed).points(), Some(Points::NONE));
    for (passed, recommendation, checks) in [
        (true, Recommendation::DoNotDeploy, vec![]),
        (false, Recommendation::Deploy, vec![]),
        (true, Recommendation::Deploy, hard),
        (true, Recommendation::Deploy, vec![check("a", false, pass), check("a", false, fail)]),
    ] {
        assert!(SafetyReport::new(passed, recommendation, checks).is_err());
    }
}

#[test]
fn without_any_factor_a_person_decides() {
    let nothing = Factors::default();
    assert_eq!((preflight(&nothing).decision, preflight(&nothing).weighed.score), (Start::Guarded, None));
    assert_eq!(final_score(&nothing).decision, Decision::ManualReview);
}

#[test]
fn a_stored_number_out_of_range_is_refused() {
    assert!(serde_json::from_str::<Points>("10001").is_err());
    assert!(serde_json::from_str::<Score>("100.1").is_err());
    assert_eq!(serde_json::from_str::<Score>("79.9").unwrap(), Score::tenths(799));
    assert_eq!(Points::round(f64::NAN), None);
    assert_eq!(Points::ratio(u64::MAX, u64::MAX), Some(Points::FULL));
}
