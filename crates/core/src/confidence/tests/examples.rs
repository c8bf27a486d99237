//! The examples of the specification and of the literature, number by number.

use alloc::{string::ToString, vec, vec::Vec};

use super::super::*;
use crate::model::{Criticality, Millis, Share, Timestamp};

pub(super) fn known(kind: FactorKind, basis_points: u16) -> Factor {
    Factor::known(kind, Points::new(basis_points), Vec::new(), "said so".to_string())
}

/// Safety 1.0, canary 1.0, blast radius 0.1, history 0.8, complexity 0.7, coverage 0.85.
pub(super) fn worked_example() -> Factors {
    let values = [10_000, 10_000, 1_000, 8_000, 7_000, 8_500];
    Factors::new(FactorKind::ALL.into_iter().zip(values).map(|(kind, points)| known(kind, points)))
}

#[test]
fn the_worked_example_is_exactly_80_and_promotes() {
    let last = final_score(&worked_example());
    assert_eq!(last.weighed.score.unwrap().to_string(), "80.0");
    assert_eq!((last.decision, last.weighed.known_weight), (Decision::AutoPromote, 10_000));
    assert_eq!(FactorKind::ALL.iter().map(|kind| kind.weight()).sum::<u16>(), 10_000);
}

#[test]
fn without_the_canary_the_worked_example_is_73_3_and_never_promotes() {
    let before = preflight(&worked_example());
    assert_eq!(before.weighed.score.unwrap().to_string(), "73.3");
    assert_eq!((before.decision, before.weighed.known_weight), (Start::Guarded, 7_500));
    assert!(before.weighed.absent.is_empty(), "the canary is not missing before the canary");
    let after = final_score(&worked_example().before_canary());
    assert_eq!(after.weighed.score.unwrap().to_string(), "73.3");
    assert_eq!(after.weighed.absent, [FactorKind::Canary]);
    assert_eq!(after.decision, Decision::ManualReview);
    let rest = [10_000, 10_000, 10_000, 10_000, 10_000];
    let kinds = FactorKind::ALL.into_iter().filter(|kind| *kind != FactorKind::Canary);
    let perfect = Factors::new(kinds.zip(rest).map(|(kind, points)| known(kind, points)));
    assert_eq!(final_score(&perfect).decision, Decision::ManualReview, "no data is not a pass");
    assert_eq!(preflight(&perfect).decision, Start::Automatic);
}

#[test]
fn a_score_is_rounded_to_a_tenth_before_it_meets_a_band() {
    // Two factors of weight 10 %, so that the mean is the score: hundredths of a point are basis points.
    for (hundredths, shown, decision) in [
        (5_994, "59.9", Decision::Rollback),
        (5_995, "60.0", Decision::ManualReview),
        (6_000, "60.0", Decision::ManualReview),
        (7_994, "79.9", Decision::ManualReview),
        (7_995, "80.0", Decision::AutoPromote),
        (8_000, "80.0", Decision::AutoPromote),
    ] {
        let all = Factors::new(FactorKind::ALL.map(|kind| known(kind, hundredths)));
        let last = final_score(&all);
        assert_eq!((last.weighed.score.unwrap().to_string().as_str(), last.decision), (shown, decision));
    }
}

#[test]
fn history_matches_its_table() {
    let outcome = |good| Outcome { age: Millis::ZERO, good };
    let of = |good: usize, bad: usize| {
        let outcomes: Vec<_> =
            (0..good).map(|_| outcome(true)).chain((0..bad).map(|_| outcome(false))).collect();
        historical_success(&outcomes, SuccessPrior::default()).points().unwrap().basis_points()
    };
    assert_eq!((of(0, 0), of(8, 2), of(2, 0)), (8_500, 8_250, 8_750));
    let old = |days: u64| {
        let outcomes = vec![Outcome { age: Millis::hours(days * 24), good: false }; 10];
        historical_success(&outcomes, SuccessPrior::default()).points().unwrap().basis_points()
    };
    // Ten failures of 90 days ago weigh five: 8.5 / 15.
    assert_eq!((old(0), old(90)), (4_250, 5_667));
    let prior = SuccessPrior { team: Some(Points::new(9_000)), organisation: Some(Points::NONE) };
    assert_eq!(historical_success(&[], prior).points().unwrap().basis_points(), 9_000);
}

#[test]
fn blast_radius_matches_both_mappings() {
    let classic = |criticality| classic_blast_radius(criticality).points().unwrap().basis_points();
    let all = [Criticality::Critical, Criticality::High, Criticality::Medium, Criticality::Low];
    assert_eq!(all.map(classic), [1_000, 4_000, 7_000, 9_000]);
    let of = |criticality, percent, dependents, at_once| {
        let largest_share = Share::percent(percent);
        let exposure = Exposure { criticality, largest_share, dependents, at_once };
        blast_radius(&exposure).points().unwrap().basis_points()
    };
    let one_of = |replicas| Some(AtOnce { max_surge: 1, max_unavailable: 0, replicas });
    // 1 − (½·½ + 0.3·½ + 0.2·¼) = 0.55
    assert_eq!(of(Criticality::Critical, 25, Some(10), one_of(4)), 5_500);
    assert_eq!(of(Criticality::Critical, 100, Some(99), one_of(1)), 0);
    // Unknown parts are left out: 1 − 0.4·½.
    assert_eq!(of(Criticality::Medium, 25, None, None), 8_000);
    assert_eq!(of(Criticality::Medium, 25, None, one_of(0)), 8_000);
}

#[test]
fn canary_health_is_half_without_evidence_and_full_only_when_bad_is_excluded() {
    let of = |ln_good, ln_bad| {
        let gate = GateEvidence::sequential("errors", 1, (ln_good, ln_bad), (10_000, 50_000)).unwrap();
        canary_health(&[gate]).points().unwrap().basis_points()
    };
    let (good, bad) = (libm::log(20.0), libm::log(100.0));
    assert_eq!((of(0.0, 0.0), of(good, -3.0), of(2.0 * good, 0.0)), (5_000, 10_000, 10_000));
    assert_eq!((of(0.0, bad), of(-50.0, 0.0), of(f64::INFINITY, bad / 2.0)), (0, 0, 7_500));
    assert!(of(good * 0.999, 0.0) < 10_000);
    assert!(GateEvidence::sequential("errors", 1, (f64::NAN, 0.0), (10_000, 50_000)).is_err());
    assert!(GateEvidence::sequential("errors", 1, (0.0, 0.0), (0, 50_000)).is_err());
    assert_eq!(canary_health(&[]).value, FactorValue::Absent(Absence::NotYet));
}

#[test]
fn complexity_uses_the_curve_until_there_are_twenty_releases() {
    let sized =
        |lines: u64| ChangeSize { lines_added: lines, files: 1, directories: 1, ..ChangeSize::default() };
    let value = |change: &ChangeSize, past: &[ChangeSize]| {
        change_complexity(change, past).points().unwrap().basis_points()
    };
    assert_eq!((value(&sized(0), &[]), value(&sized(400), &[])), (10_000, 5_000));
    let past: Vec<ChangeSize> = (1..=20).map(|number| sized(number * 10)).collect();
    assert_eq!(value(&sized(400), past.get(1..).unwrap()), 5_000, "nineteen are too few");
    // Lines are larger than all, files, entropy and directories tie with all: (35 + 45/2) / 80 = 0.71875.
    assert_eq!(value(&sized(400), &past), 2_812);
    assert_eq!((spread(&[5, 5]), spread(&[7, 0]), spread(&[])), (Points::FULL, Points::NONE, Points::NONE));
    // −¾·log₂ ¾ − ¼·log₂ ¼ = 0.8113
    assert_eq!(spread(&[3, 1, 0]), Points::new(8_113));
    let kind = DelicateKind::SchemaMigration;
    let delicate = vec![Delicate { kind, example: "migrations/7.sql".to_string() }];
    assert_eq!(value(&ChangeSize { delicate, ..sized(1) }, &[]), 5_000);
}

#[test]
fn patch_coverage_saturates_at_80_percent_and_is_absent_without_a_line() {
    let value = |covered, coverable| patch_coverage(covered, coverable).points().map(Points::basis_points);
    assert_eq!((value(40, 100), value(80, 100), value(100, 100)), (Some(5_000), Some(10_000), Some(10_000)));
    assert_eq!((value(0, 3), value(0, 0)), (Some(0), None));
    assert_eq!(patch_coverage(0, 0).value, FactorValue::Absent(Absence::NotApplicable));
}

/// `ln mean_{ρ ≥ 1.5} e^ℓ − ln mean_{0.5 ≤ ρ ≤ 1.1} e^ℓ` on 120 log-spaced ratios from 0.05 to 1000.
fn ln_bayes_factor((n_c, n_b, k_c, k_b): (f64, f64, f64, f64)) -> f64 {
    let grid: Vec<(f64, f64)> = (0..120)
        .map(|step| {
            let ratio = 0.05 * libm::pow(1_000.0 / 0.05, f64::from(step) / 119.0);
            (ratio, k_c * libm::log(ratio) - (k_c + k_b) * libm::log(ratio * n_c + n_b))
        })
        .collect();
    let mean = |inside: &dyn Fn(f64) -> bool| {
        let chosen: Vec<f64> = grid.iter().filter(|(ratio, _)| inside(*ratio)).map(|(_, ell)| *ell).collect();
        let top = chosen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = chosen.iter().map(|ell| libm::exp(ell - top)).sum();
        top + libm::log(sum / chosen.len() as f64)
    };
    mean(&|ratio| ratio >= 1.5) - mean(&|ratio| (0.5..=1.1).contains(&ratio))
}

#[test]
fn the_posterior_matches_the_five_examples() {
    let model = PriorModel::uncalibrated(100_000);
    for (counts, percent, tolerance) in [
        ((60.0, 1_140.0, 3.0, 1.0), 98.8, 0.2),
        ((3_000.0, 57_000.0, 30.0, 570.0), 0.03, 0.02),
        ((300.0, 5_700.0, 1.0, 6.0), 5.6, 0.5),
        ((20_000.0, 380_000.0, 40.0, 380.0), 94.0, 1.0),
        ((20_000.0, 380_000.0, 25.0, 380.0), 0.9, 0.3),
    ] {
        let factor = Millionths::round(ln_bayes_factor(counts)).unwrap();
        let told = posterior(&model, &FactorValues::default(), Some(factor));
        let bad = told.bad.real() * 100.0;
        assert!((bad - percent).abs() <= tolerance, "{counts:?}: {bad} %, not {percent} %");
        assert!(!told.calibrated);
    }
}

#[test]
fn the_prior_moves_by_half_a_unit_of_log_odds_per_ten_points() {
    let model = PriorModel::uncalibrated(100_000);
    let all = |points| FactorValues::of(&Factors::new(FactorKind::ALL.map(|kind| known(kind, points))));
    let odds = |values: &FactorValues| {
        let bad = posterior(&model, values, None).bad_before.real();
        libm::log(bad / (1.0 - bad))
    };
    assert!((odds(&all(8_000)) - libm::log(1.0 / 9.0)).abs() < 1e-4);
    assert!((odds(&all(7_000)) - odds(&all(8_000)) - 0.5).abs() < 1e-4);
    // The canary's value does not enter twice.
    let with_canary = FactorValues { canary_health: Some(Points::NONE), ..all(8_000) };
    assert_eq!(posterior(&model, &with_canary, None), posterior(&model, &all(8_000), None));
}

#[test]
fn the_report_begins_as_the_specification_writes_it_and_reads_back() {
    let factors = worked_example();
    let subject = ReportSubject {
        deployment_id: "DEP-xyz123".to_string(),
        service_name: "payment-service".to_string(),
        image_tag: "abc123-1641024000".to_string(),
        at: Timestamp(1_641_024_000_000),
    };
    let report =
        Report::new(subject.clone(), &factors, preflight(&factors), Some(final_score(&factors)), None);
    let json = serde_json::to_string(&report).unwrap();
    let head = r#"{"overall_score":80.0,"decision":"auto_promote","factors":{"safety_score":1.0,"canary_health":1.0,"blast_radius":0.1,"historical_success":0.8,"change_complexity":0.7,"test_coverage":0.85},"reasoning":["promote: 80.0 of 100"#;
    assert!(json.starts_with(head), "{json}");
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let early = Report::new(subject, &factors, preflight(&factors), None, None);
    assert_eq!((early.decision.as_str(), early.overall_score), ("guarded", Some(Score::tenths(733))));
    assert_eq!(early.factors.canary_health, None, "nothing is known of a canary before it");
}

#[test]
fn what_would_lift_a_score_to_80_is_named_with_the_least_value() {
    let factors = worked_example().with(known(FactorKind::Coverage, 5_000));
    // 76.5 without: 3.5 points are missing, 35 % more of a factor of weight 10 %, 23.3 % of one of 15 %. Rounding to a tenth
    // gives half a tenth away.
    let found: Vec<_> =
        lifts(&factors).iter().map(|lift| (lift.factor, lift.needed.basis_points())).collect();
    let expected = [(FactorKind::BlastRadius, 3_300), (FactorKind::Coverage, 8_450)];
    assert_eq!(found, expected);
    assert_eq!(lifts(&worked_example()), []);
    assert_eq!(lifts(&Factors::default()), []);
    let refused = known(FactorKind::Safety, 0).vetoed(VetoKind::Refuse, "no".to_string());
    assert_eq!(lifts(&factors.with(refused)), [], "no sum lifts a refusal");
    // An absent factor can lift too.
    let unseen = lifts(&worked_example().before_canary());
    assert!(unseen.contains(&Lift { factor: FactorKind::Canary, needed: Points::new(9_980) }), "{unseen:?}");
}
