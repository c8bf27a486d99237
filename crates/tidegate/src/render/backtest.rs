//! What a backtest found.

use tidegate_core::{judge::Learned, view::rough};

use super::{
    outlook::{number, percent},
    text::{Row, Table, Tone, page},
};
use crate::cli::backtest::{Calibration, Found};

/// Everything that was found.
pub(crate) fn backtest(found: &Found) -> String {
    let mut lines = Vec::new();
    if !found.past.is_empty() {
        lines.push(Row::new().add(Tone::Strong, "Past rollouts").plain(", asked again"));
        lines.extend(past(found));
        lines.push(Row::new());
    }
    if !found.against_itself.is_empty() {
        lines.push(
            Row::new()
                .add(Tone::Strong, "The stable release against itself")
                .plain(": every alarm is a false one"),
        );
        lines.extend(itself(found));
        lines.push(Row::new());
    }
    lines.extend(found.learned.as_ref().map(|learned| Row::new().plain(format!("- {}", said(learned)))));
    lines
        .extend(found.calibration.as_ref().map(|known| Row::new().plain(format!("- {}", calibrated(known)))));
    lines.extend(found.notes.iter().map(|note| Row::new().plain("- ").plain(note)));
    page(&lines)
}

fn past(found: &Found) -> Vec<Row> {
    let mut table = Table::new(vec![
        "deployment",
        "release",
        "happened",
        "because of",
        "these gates",
        "failed until then",
        "in all",
    ]);
    for one in &found.past {
        let decided = match &one.decided.failed {
            Some(failed) => (Tone::Bad, format!("{} after {}", failed.gate, rough(failed.after))),
            None => (Tone::Good, "nothing against it".to_owned()),
        };
        table.row(vec![
            (Tone::Plain, one.deployment.clone()),
            (Tone::Plain, one.release.clone()),
            (Tone::Plain, one.happened.clone()),
            (Tone::Dim, one.cause.clone().unwrap_or_default()),
            decided,
            (Tone::Plain, number(one.decided.failures as f64)),
            (Tone::Plain, number(one.failures_in_all as f64)),
        ]);
    }
    table.lines(2)
}

fn itself(found: &Found) -> Vec<Row> {
    let mut table = Table::new(vec![
        "gates",
        "imagined rollouts",
        "each",
        "turned back",
        "share",
        "budget",
        "most often",
    ]);
    for one in &found.against_itself {
        let share = f64::from(one.false_alarms) / f64::from(one.rollouts.max(1));
        let budget = f64::from(one.budget_ppm) / 1e6;
        // Twice the budget, and not one alarm alone.
        let tone = if one.false_alarms > 1 && share > 2.0 * budget { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            (Tone::Strong, one.asked.clone()),
            (Tone::Plain, one.rollouts.to_string()),
            (Tone::Plain, rough(one.length)),
            (Tone::Plain, one.false_alarms.to_string()),
            (tone, percent(share)),
            (Tone::Plain, percent(budget)),
            (Tone::Dim, one.worst.clone().unwrap_or_default()),
        ]);
    }
    table.lines(2)
}

fn said(learned: &Learned) -> String {
    format!(
        "Learned from {} batches: errors vary {:.1} times as much as single ones would; instances differ by {} %; CPU moves by {:.1} % of its limit.",
        number(learned.batches as f64),
        f64::from(learned.dispersion_milli) / 1_000.0,
        learned.spread_milli / 10,
        f64::from(learned.cpu.deviation_ppm) / 10_000.0,
    )
}

/// How the rollbacks by evidence turned out, in one sentence.
fn calibrated(known: &Calibration) -> String {
    let rollouts = match known.rollouts {
        1 => "1 rollout".to_owned(),
        many => format!("{} rollouts", number(many as f64)),
    };
    let unknown = known.turned_back.saturating_sub(known.confirmed).saturating_sub(known.false_alarms);
    let unconfirmed =
        if unknown == 0 { String::new() } else { format!(", {unknown} unconfirmed (`tidegate label` says)") };
    format!(
        "{rollouts}, {} rolled back by evidence, {} confirmed, {} false (budget {}){unconfirmed}",
        known.turned_back,
        known.confirmed,
        known.false_alarms,
        if known.budget < 1.0 { format!("{:.2}", known.budget) } else { number(known.budget) },
    )
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        judge::{FailedAt, Retrial},
        model::{Millis, Timestamp},
    };

    use super::*;
    use crate::{
        cli::backtest::{Rollout, Trials},
        render::text::tests::unstyled,
    };

    #[test]
    fn the_calibration_line_counts_what_people_said_of_rollbacks() {
        let known =
            Calibration { rollouts: 412, turned_back: 3, confirmed: 3, false_alarms: 0, budget: 4.12 };
        assert_eq!(
            calibrated(&known),
            "412 rollouts, 3 rolled back by evidence, 3 confirmed, 0 false (budget 4.1)"
        );
        let open = Calibration { rollouts: 1, turned_back: 1, budget: 0.01, ..Calibration::default() };
        assert!(
            calibrated(&open).ends_with("1 unconfirmed (`tidegate label` says)"),
            "{}",
            calibrated(&open)
        );
    }

    #[test]
    fn every_rollout_has_what_happened_beside_what_the_gates_say() {
        let failed = FailedAt {
            gate: "error_rate".to_owned(),
            reason: String::new(),
            after: Millis::secs(12),
            at: Timestamp(0),
            stage: Some(0),
        };
        let rollout = |deployment: &str, failed: Option<FailedAt>| Rollout {
            deployment: deployment.to_owned(),
            release: "9f8e7d-17".to_owned(),
            happened: "verified".to_owned(),
            cause: None,
            decided: Retrial { failures: 7, failed, ..Retrial::default() },
            failures_in_all: 40,
        };
        let trials = |asked: &str, false_alarms| Trials {
            asked: asked.to_owned(),
            rollouts: 200,
            false_alarms,
            budget_ppm: 10_000,
            length: Millis::minutes(10),
            worst: (false_alarms > 0).then(|| "error_rate".to_owned()),
        };
        let found = Found {
            past: vec![rollout("shop-2", Some(failed)), rollout("shop-1", None)],
            against_itself: vec![trials("as they are (plain)", 90), trials("with what was learned", 0)],
            learned: Some(Learned { dispersion_milli: 4_200, batches: 1_200, ..Learned::default() }),
            calibration: None,
            notes: vec!["a note".to_owned()],
        };
        assert_eq!(
            unstyled(&backtest(&found)),
            "\
Past rollouts, asked again
  deployment  release    happened  these gates            failed until then  in all
  shop-2      9f8e7d-17  verified  error_rate after 12 s  7                  40
  shop-1      9f8e7d-17  verified  nothing against it     7                  40

The stable release against itself: every alarm is a false one
  gates                  imagined rollouts  each    turned back  share  budget  most often
  as they are (plain)    200                10 min  90           45 %   1.00 %  error_rate
  with what was learned  200                10 min  0            0 %    1.00 %

- Learned from 1,200 batches: errors vary 4.2 times as much as single ones would; instances differ by 0 %; CPU moves by 6.0 % of its limit.
- a note
"
        );
    }
}
