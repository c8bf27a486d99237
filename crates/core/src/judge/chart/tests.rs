//! Series over a release whose every number is known.

use alloc::{string::ToString, vec};

use super::*;
use crate::{
    gate::standard_gates,
    judge::Settings,
    model::Share,
    plan::{Request, Step, StrategySpec, compile},
    view::walker::request,
};

fn plan(mode: Mode) -> Plan {
    let step = |percent| Step { share: Share::percent(percent), bake: Millis::minutes(3), approval: false };
    let mut gates = standard_gates();
    gates.push(Gate::new("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 }));
    for gate in &mut gates {
        gate.mode = mode;
    }
    if mode == Mode::Threshold {
        gates.pop();
    }
    compile(Request {
        gates,
        instances: 2,
        judge: Settings { warmup: Millis::ZERO, ..Settings::default() },
        ..request(StrategySpec::Canary { steps: vec![step(5), step(50)] })
    })
    .unwrap()
}

/// Seconds of 1,000 requests; of the stable release's 0.1 % fail, of the new one's so many per thousand. Three minutes
/// at 5 %, then 50 %.
fn batches(seconds: u64, failing: u64) -> Vec<Batch> {
    let part = |requests: u64, per_mille: u64, t: u64| {
        requests * per_mille * (t + 1) / 1_000 - requests * per_mille * t / 1_000
    };
    (0..seconds)
        .map(|t| {
            let (stage, percent) = if t < 180 { (0, 5) } else { (1, 50) };
            let share = Share::percent(percent);
            let arm = |requests, per_mille, slow| Arm {
                length: Millis::secs(1),
                share,
                requests,
                failures: part(requests, per_mille, t),
                latency_us: vec![(20_000, requests / 2), (slow, requests - requests / 2)],
            };
            let new = 10 * u64::from(percent);
            Batch {
                number: t + 1,
                at: Timestamp(i64::try_from(t + 1).unwrap() * 1_000),
                stage: Some(stage),
                new: arm(new, failing, 70_000),
                stable: Some(Arm { share: share.rest(), ..arm(1_000 - new, 1, 60_000) }),
                cpu_ppm: Some(300_000),
                memory_ppm: Some(300_000),
                stable_cpu_ppm: Some(300_000),
                wanted: 1,
                ..Batch::default()
            }
        })
        .collect()
}

#[test]
fn a_bad_release_crosses_the_line_when_the_gates_turn_it_back_and_the_others_later() {
    let chart = Chart::of(&plan(Mode::Sequential), &batches(170, 60)).unwrap();
    let failed = chart.failed.clone().unwrap();
    assert!(
        (failed.gate.as_str(), failed.stage) == ("error_rate", Some(0)) && failed.after < Millis::secs(10),
        "{failed:?}"
    );
    let errors = chart.meter.iter().find(|trace| trace.gate == "error_rate").unwrap();
    let crossed = errors.points.iter().find(|(_, odds)| *odds >= chart.allowed).unwrap().0;
    assert!(crossed >= failed.after && crossed <= Millis(failed.after.0 + 3_000), "{crossed:?} {failed:?}");
    let last = chart.funnel.last().unwrap();
    assert!(last.low > 10.0 && last.high.is_some_and(|high| high > 60.0), "{last:?}");
    let at = |policy| chart.policies.iter().find(|line| line.policy == policy).unwrap();
    assert_eq!(at(Policy::PlainRatio).turned_back, Some(Millis::secs(60)));
    assert_eq!((at(Policy::Flagger).turned_back, at(Policy::Flagger).checks.len()), (None, 2));
    assert_eq!(at(Policy::Gates).turned_back, Some(failed.after));
    assert!(at(Policy::Gates).failed_requests * 5 < at(Policy::Argo).failed_requests);
}

#[test]
fn a_healthy_release_stays_near_what_is_expected_and_its_stages_are_marked() {
    let chart = Chart::of(&plan(Mode::Sequential), &batches(300, 1)).unwrap();
    assert_eq!((chart.failed.clone(), chart.from, chart.length), (None, Timestamp(0), Millis::secs(300)));
    let names: Vec<&str> = chart.stages.iter().map(|mark| mark.name.as_str()).collect();
    assert_eq!((names, chart.stages[1].after), (vec!["canary 5 %", "canary 50 %"], Millis::secs(180)));
    let last = chart.errors.last().unwrap();
    assert!(last.seen == 69 && (last.expected - 69.0).abs() < 2.0, "{last:?}");
    assert!(
        chart
            .meter
            .iter()
            .all(|trace| trace.points.iter().all(|(_, odds)| (1.0..chart.allowed).contains(odds)))
    );
    assert!(chart.policies.iter().all(|line| line.turned_back.is_none()), "{:?}", chart.policies);
    assert_eq!((chart.supposed, Policy::Argo.to_string().as_str()), (false, "as Argo Rollouts"));
}

#[test]
fn the_overlay_says_which_share_was_faster_and_how_sure_that_is() {
    let overlay = Chart::of(&plan(Mode::Sequential), &batches(100, 1)).unwrap().latency.unwrap();
    assert_eq!((overlay.new, overlay.stable), (5_000, 95_000));
    let edges: Vec<u64> = overlay.points.iter().map(|point| point.edge_us).collect();
    assert_eq!(edges, [20_000, 60_000, 70_000]);
    let middle = overlay.points[1];
    assert!((middle.new - 0.5).abs() < 1e-9 && (middle.stable - 1.0).abs() < 1e-9, "{middle:?}");
    assert!(overlay.band > 0.02 && overlay.band < 0.06, "{}", overlay.band);
}

#[test]
fn plain_gates_are_shown_as_evidence_would_have_seen_them_and_points_are_bounded() {
    let chart = Chart::of(&plan(Mode::Threshold), &batches(1_500, 1)).unwrap();
    assert!(chart.supposed && !chart.meter.is_empty());
    assert!(
        chart.meter.iter().all(|trace| trace.points.len() <= POINTS_MAX) && chart.errors.len() <= POINTS_MAX
    );
    assert_eq!(chart.errors.last().unwrap().after, chart.length, "the last batch is never left out");
    assert_eq!(Chart::of(&plan(Mode::Threshold), &[]), None);
}

#[test]
fn plain_gates_are_asked_again_at_the_end_of_their_stages() {
    let failed = Chart::of(&plan(Mode::Threshold), &batches(300, 60)).unwrap().failed.unwrap();
    assert_eq!(
        (failed.gate.as_str(), failed.after, failed.stage),
        ("error_rate", Millis::secs(180), Some(0))
    );
}
