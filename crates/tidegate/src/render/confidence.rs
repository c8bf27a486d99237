//! Confidence as a person reads it: before a deployment, after it, and how well the predictions came true.

use tidegate_core::{
    confidence::{
        Calibration, FactorKind, LabelByHand, Lift, Millionths, Points, Preflight, Report, Score, Standing,
        Start, lifts,
    },
    plan::Plan,
};

use super::text::{Row, Table, Tone, page, wrapped};

/// Width of sentences.
const WIDTH: usize = 100;

/// The score of a plan, with what it is made of; nothing for a plan without one.
pub(super) fn before(plan: &Plan) -> Vec<Row> {
    let Some(before) = &plan.confidence else { return Vec::new() };
    let Preflight { weighed, decision, .. } = &before.preflight;
    let mut table = Table::new(vec!["factor", "value", "weight", "because"]);
    for factor in before.factors.iter().filter(|factor| factor.kind != FactorKind::Canary) {
        let weight = Points::new(factor.kind.weight()).to_string();
        table.row(cells(factor.kind, factor.points(), weight, &factor.reason));
    }
    let acts = match (before.enforce, decision) {
        (false, _) => "it is only shown: `confidence.enforce` is off".to_owned(),
        (true, Start::Automatic) => "it starts by itself".to_owned(),
        (true, Start::Guarded) => "the first step needs an approval".to_owned(),
        (true, Start::Blocked) => "it does not start".to_owned(),
    };
    let mut lines = vec![
        Row::new(),
        Row::new()
            .plain("Confidence ")
            .add(tone(weighed.score), shown(weighed.score))
            .plain(format!(" of 100 before any traffic; {acts}")),
    ];
    lines.extend(table.lines(2));
    let could = lifts(&before.factors);
    lines.extend(lifted(could.iter().filter(|lift| lift.factor != FactorKind::Canary)));
    lines
}

/// The whole report of a deployment.
pub(crate) fn confidence(report: &Report, label: Option<&LabelByHand>) -> String {
    let mut lines = vec![
        Row::new()
            .add(Tone::Strong, &report.subject.deployment_id)
            .plain(format!(" ({} {}): ", report.subject.service_name, report.subject.image_tag))
            .add(tone(report.overall_score), shown(report.overall_score))
            .plain(format!(" of 100, {}", report.decision.replace('_', " "))),
    ];
    let mut table = Table::new(vec!["factor", "value", "weight", "because"]);
    for detail in &report.details {
        let weight = Points::new(detail.weight_basis_points).to_string();
        table.row(cells(detail.factor, detail.value_basis_points, weight, &detail.reason));
    }
    lines.extend(table.lines(2));
    for veto in &report.vetoes {
        lines.extend(sentence(&format!("Veto: {}", veto.reason)));
    }
    lines.extend(lifted(report.lifts.iter()));
    if let Some(last) = &report.last {
        let (preflight, last) = (shown(report.preflight.weighed.score), shown(last.weighed.score));
        lines.extend(sentence(&format!("Before traffic it was {preflight}, under traffic {last}.")));
    }
    if let Some(posterior) = &report.posterior {
        let standing = if posterior.calibrated { "" } else { " (uncalibrated)" };
        lines.extend(sentence(&format!(
            "Probability that the release is bad: {} before traffic, {} now{standing}.",
            percent(posterior.bad_before),
            percent(posterior.bad)
        )));
    }
    if let Some(label) = label {
        let word = if label.good { "good" } else { "bad" };
        lines.extend(sentence(&format!("{} says that it was {word}: {}", label.by, label.reason)));
    }
    page(&lines)
}

/// How well the predictions came true.
pub(crate) fn calibration(calibration: &Calibration) -> String {
    let Calibration { predictions, unlabelled, good, bad, .. } = calibration;
    let standing = match calibration.standing {
        Standing::Uncalibrated { failures, needed } => {
            format!("uncalibrated: {failures} of {needed} confirmed failures")
        }
        Standing::Calibrated => "calibrated".to_owned(),
        Standing::WorseThanBaseRate => "worse than always saying the base rate".to_owned(),
    };
    let number = |value: Option<Millionths>| {
        value.map_or_else(|| "not known".to_owned(), |value| format!("{:.3}", value.real()))
    };
    let mut lines = vec![
        Row::new().add(Tone::Strong, standing),
        Row::new().plain(format!(
            "{predictions} predictions: {good} good, {bad} bad, {unlabelled} without a label yet"
        )),
        Row::new().plain(format!(
            "Brier score {}, skill {}, area under the curve {}",
            number(calibration.brier),
            number(calibration.skill),
            number(calibration.auc)
        )),
    ];
    if good + bad > 0 {
        lines.extend(compared(calibration));
    }
    page(&lines)
}

/// The reliability diagram as a table, and what promoting at 80 would have cost.
fn compared(calibration: &Calibration) -> Vec<Row> {
    let mut table =
        Table::new(vec!["said to be bad", "releases", "bad", "predicted", "really, 9 times of 10"]);
    for bin in calibration.reliability.iter().filter(|bin| bin.count > 0) {
        table.row(vec![
            (Tone::Plain, format!("{} to {}", bin.from, bin.to)),
            (Tone::Plain, bin.count.to_string()),
            (Tone::Plain, bin.bad.to_string()),
            (Tone::Plain, bin.predicted.map_or_else(String::new, |points| points.to_string())),
            (Tone::Plain, format!("{} to {}", bin.interval.0, bin.interval.1)),
        ]);
    }
    let costs = calibration.costs;
    let mut lines = vec![Row::new()];
    lines.extend(table.lines(2));
    lines.push(Row::new());
    lines.extend(sentence(&format!(
        "Promoting at 80: {} good and {} bad promoted; {} good and {} bad held.",
        costs.good_promoted, costs.bad_promoted, costs.good_held, costs.bad_held
    )));
    lines
}

fn cells(kind: FactorKind, value: Option<Points>, weight: String, reason: &str) -> Vec<(Tone, String)> {
    let (tone, value) =
        value.map_or((Tone::Dim, "left out".to_owned()), |points| (Tone::Strong, points.to_string()));
    vec![
        (Tone::Plain, kind.words().to_owned()),
        (tone, value),
        (Tone::Dim, weight),
        (Tone::Plain, reason.to_owned()),
    ]
}

fn lifted<'a>(lifts: impl Iterator<Item = &'a Lift>) -> Vec<Row> {
    let each: Vec<String> = lifts.map(|lift| format!("{} at {}", lift.factor.words(), lift.needed)).collect();
    if each.is_empty() {
        Vec::new()
    } else {
        sentence(&format!("80 would be reached with {}.", each.join(", or ")))
    }
}

fn sentence(text: &str) -> Vec<Row> {
    wrapped(text, WIDTH).into_iter().map(|line| Row::new().plain("  ").plain(line)).collect()
}

fn shown(score: Option<Score>) -> String {
    score.map_or_else(|| "not known".to_owned(), |score| score.to_string())
}

fn tone(score: Option<Score>) -> Tone {
    match score {
        Some(score) if score >= Score::PROMOTE => Tone::Good,
        Some(score) if score < Score::REVIEW => Tone::Bad,
        Some(_) | None => Tone::Open,
    }
}

fn percent(probability: Millionths) -> String {
    format!("{:.1} %", probability.real() * 100.0)
}
