//! Labels, calibration and the refit.

use alloc::{string::ToString, vec, vec::Vec};

use super::{super::*, examples::known};
use crate::model::{Millis, Timestamp};

const DAY: Millis = Millis::hours(24);

fn told(bad_ppm: i64, score: u16, values: FactorValues) -> Prediction {
    Prediction {
        deployment: "DEP-1".to_string(),
        service: "shop".to_string(),
        at: Timestamp(0),
        values,
        preflight: Some(Score::tenths(score)),
        final_score: Some(Score::tenths(score)),
        decision: None,
        bad: Millionths(bad_ppm),
        calibrated: false,
    }
}

fn record(bad_ppm: i64, score: u16, bad: bool) -> (Prediction, Label) {
    let label = if bad { Label::Bad(How::Evidence) } else { Label::Good(How::Quiet) };
    (told(bad_ppm, score, FactorValues::default()), label)
}

#[test]
fn labels_follow_the_rules_of_selective_labels() {
    let end = Timestamp(0);
    let later = |days| end.after(DAY.times(days));
    let trouble = |at| Trouble { kind: TroubleKind::Incident, at, reference: "INC-7".to_string() };
    let promoted = Ending::Promoted { at: end };
    assert_eq!(label(promoted, &[], None, later(3)), Label::Good(How::Quiet));
    let until = later(3);
    assert_eq!(label(promoted, &[], None, later(2)), Label::Unlabelled(Unlabelled::Waiting { until }));
    let incident = trouble(later(2));
    let bad = Label::Bad(How::Trouble(incident.clone()));
    assert_eq!(label(promoted, core::slice::from_ref(&incident), None, later(9)), bad);
    // Not yet noticed at that time, and noticed too late.
    let waiting = Label::Unlabelled(Unlabelled::Waiting { until });
    assert_eq!(label(promoted, core::slice::from_ref(&incident), None, later(1)), waiting);
    assert_eq!(label(promoted, &[trouble(later(4))], None, later(9)), Label::Good(How::Quiet));
    assert_eq!(label(Ending::TurnedBackByEvidence { at: end }, &[], None, end), Label::Bad(How::Evidence));
    let threshold = Ending::TurnedBackByThreshold { at: end };
    let unknown = Label::Unlabelled(Unlabelled::NoCounterfactual);
    assert_eq!(label(threshold, &[], None, later(99)), unknown);
    assert_eq!(label(threshold, core::slice::from_ref(&incident), None, later(9)), bad);
    assert_eq!(label(Ending::NotExposed, &[], None, later(9)).bad(), None);
    let hand = LabelByHand { good: true, by: "ann".to_string(), reason: "the probe was wrong".to_string() };
    let said = label(Ending::TurnedBackByEvidence { at: end }, &[incident], Some(&hand), end);
    assert_eq!(said, Label::Good(How::ByHand(hand)));
}

#[test]
fn brier_skill_area_and_costs_match_a_case_worked_by_hand() {
    let unlabelled = (told(990_000, 900, FactorValues::default()), Label::Unlabelled(Unlabelled::NotExposed));
    let records = [
        record(100_000, 900, false),
        record(300_000, 790, false),
        record(300_000, 850, true),
        record(800_000, 400, true),
        unlabelled,
    ];
    let seen = calibrate(&records);
    // (0.01 + 0.09 + 0.49 + 0.04) / 4 = 0.1575; base rate ½ gives 0.25; of four pairs three and a half are in order.
    assert_eq!(seen.brier, Some(Millionths(157_500)));
    assert_eq!(seen.skill, Some(Millionths(370_000)));
    assert_eq!(seen.auc, Some(Millionths(875_000)));
    assert_eq!((seen.predictions, seen.unlabelled, seen.good, seen.bad), (5, 1, 2, 2));
    let expected = CostTable { good_promoted: 1, good_held: 1, bad_promoted: 1, bad_held: 1 };
    assert_eq!(seen.costs, expected);
    let bin = seen.reliability[3];
    assert_eq!((bin.count, bin.bad, bin.predicted), (2, 1, Some(Points::new(3_000))));
    // Beta(1.5, 1.5) is symmetric.
    assert_eq!(bin.interval.0, bin.interval.1.rest());
    assert_eq!(seen.standing, Standing::Uncalibrated { failures: 2, needed: 30 });
}

#[test]
fn predictions_worse_than_the_base_rate_raise_an_alarm_and_none_is_no_number() {
    let wrong: Vec<_> =
        (0..60).map(|number| record(if number < 30 { 50_000 } else { 950_000 }, 800, number < 30)).collect();
    assert_eq!(calibrate(&wrong).standing, Standing::WorseThanBaseRate);
    let right: Vec<_> =
        (0..60).map(|number| record(if number < 30 { 950_000 } else { 50_000 }, 800, number < 30)).collect();
    assert_eq!(calibrate(&right).standing, Standing::Calibrated);
    let empty = calibrate(&[]);
    assert_eq!((empty.brier, empty.skill, empty.auc), (None, None, None));
    assert_eq!(empty.reliability.len(), 10);
    let last = calibrate(&[record(1_000_000, 0, true)]);
    assert_eq!((last.reliability[9].count, last.skill), (1, None));
}

/// Releases whose coverage alone decides: bad in 8 of 10 without any, in 1 of 10 with all.
fn coverage_decides(count: u64) -> Vec<(Prediction, Label)> {
    let values = |points| {
        let of = |kind| known(kind, if kind == FactorKind::Coverage { points } else { 8_000 });
        FactorValues::of(&Factors::new(FactorKind::ALL.map(of)))
    };
    (0..count)
        .flat_map(|number| {
            [(0, number % 10 < 8), (10_000, number % 10 < 1)].map(|(points, bad)| {
                let label = if bad { Label::Bad(How::Evidence) } else { Label::Good(How::Quiet) };
                (told(100_000, 800, values(points)), label)
            })
        })
        .collect()
}

#[test]
fn nothing_is_fitted_before_thirty_confirmed_failures() {
    let start = PriorModel::uncalibrated(100_000);
    let few = coverage_decides(32);
    let failures = few.iter().filter(|(_, label)| label.bad() == Some(true)).count() as u64;
    assert_eq!(failures, 30);
    assert!(refit(&few, &start).is_ok());
    let fewer = few.get(1..).unwrap();
    assert_eq!(refit(fewer, &start), Err(NoFit::TooFewFailures { failures: 29, needed: 30 }));
}

#[test]
fn a_refit_learns_which_factor_matters_and_predicts_better() {
    let start = PriorModel::uncalibrated(100_000);
    let records = coverage_decides(400);
    let fitted = refit(&records, &start).unwrap();
    assert!(fitted.calibrated);
    let bad = |model: &PriorModel, (prediction, _): &(Prediction, Label)| {
        posterior(model, &prediction.values, None).bad
    };
    // ln(4) − ln(1/9) = 3.58 over the whole range, a little less because of the ridge.
    let slope = fitted.slopes[4].real();
    assert!((-3.7..-3.2).contains(&slope), "{slope}");
    let (none, all) = (bad(&fitted, &records[0]).real(), bad(&fitted, &records[1]).real());
    assert!((none - 0.8).abs() < 0.03 && (all - 0.1).abs() < 0.03, "{none} {all}");
    // The other four never varied: they keep the specification's weights.
    for place in 0..4 {
        assert!((fitted.slopes[place].real() - start.slopes[place].real()).abs() < 1e-3);
    }
    let again: Vec<_> = records
        .iter()
        .map(|record| (Prediction { bad: bad(&fitted, record), ..record.0.clone() }, record.1.clone()))
        .collect();
    assert!(calibrate(&again).brier < calibrate(&records).brier);
}

#[test]
fn a_factor_that_seems_to_harm_gets_no_weight_instead_of_a_wrong_sign() {
    let start = PriorModel::uncalibrated(100_000);
    let turned: Vec<_> = coverage_decides(200)
        .into_iter()
        .map(|(prediction, label)| {
            let test_coverage = prediction.values.test_coverage.map(Points::rest);
            let values = FactorValues { test_coverage, ..prediction.values };
            (Prediction { values, ..prediction }, label)
        })
        .collect();
    assert_eq!(refit(&turned, &start).unwrap().slopes[4], Millionths(0));
}

#[test]
fn a_stored_prediction_reads_back_as_it_was() {
    let prediction =
        told(123_456, 733, FactorValues { safety_score: Some(Points::FULL), ..FactorValues::default() });
    let records = vec![(prediction, Label::Unlabelled(Unlabelled::Waiting { until: Timestamp(5) }))];
    let json = serde_json::to_string(&records).unwrap();
    assert_eq!(serde_json::from_str::<Vec<(Prediction, Label)>>(&json).unwrap(), records);
}
