//! Blue-green: everything beside the old release, then one switch.

use crate::{
    analysis::{self, About},
    canary::{Plan, ask},
    difference::Report,
    duration,
    field::Field,
    gate::Gates,
    strategy::Strategy,
    testers::Testers,
};

/// How long a preview is looked at when nothing says it.
const PREVIEW_MS: u64 = 3_000;

/// Reads the strategy.
pub(crate) fn plan(block: &Field<'_>, about: &About<'_>, report: &mut Report) -> Plan {
    let automatic = block.get("autoPromotionEnabled").and_then(|on| on.truth()) != Some(false);
    let seconds = block.get("autoPromotionSeconds");
    let wait = duration::seconds(seconds.as_ref()).unwrap_or(0);
    if let Some(seconds) = seconds.filter(|_| !automatic && wait > 0) {
        report.note(
            &seconds,
            "means nothing without automatic promotion",
            "the person is waited for, as there",
        );
    }
    let mut gates = Gates::default();
    let mut asked = |key: &str, step: usize, report: &mut Report| {
        let block = block.get(key)?;
        let run = analysis::run(&block, about, report);
        let length = run.length_ms();
        if length.is_none() {
            report.warn(
                &block,
                "an analysis without an end never completes",
                "asked for as long as the step lasts",
            );
        }
        for gate in run.gates {
            ask(&mut gates, gate, [step], &block, report);
        }
        Some(length.unwrap_or(0))
    };
    let before = asked("prePromotionAnalysis", 1, report).unwrap_or(0);
    let after = asked("postPromotionAnalysis", 2, report).unwrap_or(0);
    let preview_ms = if automatic { before.saturating_add(wait) } else { before }.max(PREVIEW_MS);
    let strategy = Strategy::BlueGreen { preview_ms, bake_ms: after, approval: !automatic };
    Plan { strategy, shadow: None, testers: Testers::default(), gates }
}

/// How long the old release stays at hand.
pub(crate) fn stays_ms(block: &Field<'_>, report: &mut Report) -> u64 {
    let delay = block.get("scaleDownDelaySeconds");
    if delay.is_none() && block.get("postPromotionAnalysis").is_some() {
        report.note(
            block,
            "the old pods stay until the analysis after the switch has passed",
            "they stay through the step of the switch, and 30 s longer",
        );
    }
    duration::seconds(delay.as_ref()).unwrap_or(30_000)
}
