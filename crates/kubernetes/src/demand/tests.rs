//! Demands by hand, and a day of load in seconds: a canary, its autoscalers and a way back at any moment.

use std::collections::VecDeque;

use super::*;

const LIMITS: Limits = Limits { min: 2, max: 60 };

fn share(percent: u8) -> Share {
    Share::percent(percent)
}

#[test]
fn the_demand_is_what_load_asks_for_and_a_floor_of_ours_says_nothing() {
    let side = |percent, asked| Side { share: share(percent), asked };
    for (sides, kept, wanted, what) in [
        (vec![side(100, Some(14))], 10, 14, "one release carries all"),
        (vec![side(100, Some(4))], 10, 10, "not below what is configured"),
        (vec![side(95, None), side(5, None)], 12, 12, "nothing new"),
        (vec![side(50, None), side(50, Some(8))], 10, 16, "the other one sits on its floor"),
        (vec![side(95, Some(10)), side(5, Some(3))], 10, 11, "a hot new release"),
        (vec![side(50, Some(6)), side(50, Some(0))], 12, 12, "metrics of before the last step"),
        (vec![side(50, None), side(50, Some(6))], 30, 30, "never down inside a rollout"),
        (vec![side(0, Some(50)), side(100, Some(20))], 10, 20, "who carries nothing has no say"),
        (vec![side(100, Some(500))], 10, 60, "at most the limit"),
    ] {
        assert_eq!(demand(10, kept, &sides, LIMITS), wanted, "{what}");
    }
    assert_eq!([0, 5, 25, 100].map(|percent| need(20, share(percent), LIMITS)), [0, 2, 5, 20]);
    assert_eq!(need(500, Share::ALL, LIMITS), 60);
}

/// Seconds after which a load shows in the metrics.
const LAG: usize = 30;

/// Pods of one release, with an autoscaler that looks every 15 s at the load of 30 s ago, wants 70 % of each pod, and takes
/// nothing away for 5 minutes after it wanted more. A pod needs 10 s to become ready.
#[derive(Default)]
struct Pods {
    wanted: u32,
    ready: u32,
    coming: Vec<(u32, u32)>,
    floor: u32,
    wishes: Vec<(u32, u32)>,
    raw: u32,
    loads: VecDeque<u64>,
}

impl Pods {
    fn ask(&mut self, now: u32, pods: u32) {
        if pods > self.wanted {
            self.coming.push((now + 10, pods - self.wanted));
        } else {
            let mut gone = self.wanted - pods;
            for (_, coming) in self.coming.iter_mut().rev() {
                let taken = gone.min(*coming);
                *coming -= taken;
                gone -= taken;
            }
            self.ready -= gone;
        }
        self.wanted = pods;
    }

    fn second(&mut self, now: u32, load_milli: u64) {
        for (_, pods) in self.coming.iter().filter(|(at, _)| *at <= now) {
            self.ready += pods;
        }
        self.coming.retain(|(at, _)| *at > now);
        self.loads.push_back(load_milli);
        let load_milli =
            if self.loads.len() > LAG { self.loads.pop_front() } else { self.loads.front().copied() };
        let load_milli = load_milli.unwrap_or_default();
        if now.is_multiple_of(15) && self.wanted > 0 {
            self.raw = u32::try_from(load_milli.div_ceil(700)).unwrap();
            let wish = self.raw.max(self.floor).min(LIMITS.max);
            self.wishes.push((now, wish));
            self.wishes.retain(|(at, _)| at + 300 > now);
            let most = self.wishes.iter().map(|(_, wish)| *wish).max().unwrap_or(wish);
            self.ask(now, most);
        }
    }

    fn carries(&self, load_milli: u64) -> bool {
        u64::from(self.ready) * 1_000 >= load_milli
    }
}

/// A rollout in seconds: floors every 10 s, a step when the new release's pods are there, and the way back at one second.
fn run(load: impl Fn(u32) -> u64, back_at: Option<u32>, metrics: bool) {
    let steps = [5_u8, 25, 50, 100];
    let (mut stable, mut new) = (Pods::default(), Pods::default());
    let first = u32::try_from(load(0).div_ceil(700)).unwrap().max(10);
    stable.ask(0, first);
    (stable.ready, stable.coming) = (first, Vec::new());
    let (mut at, mut given, mut kept) = (0_usize, Share::NONE, 10);
    for now in 0..1_200_u32 {
        let part = |share: Share| load(now) * u64::from(share.basis_points()) / 10_000;
        stable.second(now, part(given.rest()));
        new.second(now, part(given));
        if back_at == Some(now) {
            assert!(
                stable.carries(load(now)),
                "second {now}: {} pods of stable for {}",
                stable.ready,
                load(now)
            );
            return;
        }
        if now.is_multiple_of(10) {
            let tells = |pods: &Pods| if metrics || pods.raw > pods.floor { Some(pods.raw) } else { None };
            let sides = [
                Side { share: given.rest(), asked: tells(&stable) },
                Side { share: given, asked: tells(&new) },
            ];
            kept = demand(10, kept, &sides, LIMITS);
            stable.floor = need(kept, Share::ALL, LIMITS);
            stable.ask(now, stable.wanted.max(stable.floor));
            let next = steps.get(at).copied().map_or(given, share);
            new.floor = need(kept, next, LIMITS);
            new.ask(now, new.wanted.max(new.floor));
            if now >= 300 && now.is_multiple_of(20) && at < steps.len() && new.ready >= new.floor {
                given = next;
                at += 1;
            }
        }
        let (to_new, to_stable) = (load(now) * u64::from(given.basis_points()) / 10_000, part(given.rest()));
        assert!(new.carries(to_new), "second {now} at {given}: {} new pods for {to_new}", new.ready);
        assert!(
            stable.carries(to_stable),
            "second {now} at {given}: {} stable pods for {to_stable}",
            stable.ready
        );
    }
    assert_eq!(given, Share::ALL, "it arrived");
    if metrics && load(0) == load(1_199) {
        assert!(stable.wanted <= first.max(kept) + 8, "{} pods, {kept} needed", stable.wanted);
    }
}

#[test]
fn while_load_rises_and_falls_in_a_canary_no_second_has_too_few_pods_on_either_side_nor_any_way_back() {
    let rising = |now: u32| 7_000 + u64::from(now) * 15;
    let falling = |now: u32| 26_000 - u64::from(now) * 15;
    let steady = |_: u32| 7_000_u64;
    let waves = |now: u32| {
        let at = u64::from(now % 600);
        8_000 + if at < 300 { at * 30 } else { (600 - at) * 30 }
    };
    let traces: [(&str, &dyn Fn(u32) -> u64); 4] =
        [("rising", &rising), ("falling", &falling), ("steady", &steady), ("waves", &waves)];
    for (name, trace) in traces {
        for metrics in [true, false] {
            println!("{name}, metrics {metrics}");
            run(trace, None, metrics);
            for back_at in (1..1_200).step_by(7) {
                run(trace, Some(back_at), metrics);
            }
        }
    }
}
