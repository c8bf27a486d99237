//! Gates that had no answer when what they watch over passed, and what let it pass all the same.

use alloc::{format, string::String, vec::Vec};

use crate::{
    gate::{Gate, Judgement, OnInconclusive, OnNoEvidence, Verdict},
    plan::Plan,
};

/// Gates that are named with their reasons; a sentence is no list.
const NAMED: usize = 3;

/// Which gates decided nothing or had no evidence, what let them pass, and what they said; nothing when every gate of the
/// stage, or of the watch, had its answer.
pub(super) fn unanswered(plan: &Plan, stage: Option<usize>, judgements: &[Judgement]) -> Option<String> {
    let gates = match stage {
        Some(stage) => plan.stage(stage).map_or(&[][..], |stage| &stage.gates),
        None => &plan.watch_gates,
    };
    let asked = |judgement: &Judgement| gates.iter().find(|gate| gate.name == judgement.gate);
    let open: Vec<String> = judgements
        .iter()
        .filter(|judgement| judgement.verdict == Verdict::NoEvidence)
        .filter_map(|judgement| said(plan, asked(judgement)?, judgement))
        .collect();
    let more = open.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more had no answer") };
    let named: Vec<&str> = open.iter().take(NAMED).map(String::as_str).collect();
    (!named.is_empty()).then(|| format!("{}{more}", named.join("; ")))
}

/// What let one gate pass; nothing where its policy would not have, and a person did.
fn said(plan: &Plan, gate: &Gate, judgement: &Judgement) -> Option<String> {
    let undecided = judgement.finding.is_some_and(|finding| finding.undecided);
    let goes_without = gate.on_no_evidence == OnNoEvidence::Continue;
    let promotes = gate.on_inconclusive == OnInconclusive::Promote;
    let what = match (undecided, plan.judge.observe) {
        (true, true) if promotes => "decided nothing, and is only observed".into(),
        (false, true) if goes_without => "had no evidence, and is only observed".into(),
        (true, false) if promotes && goes_without => {
            "decided nothing, and `on_no_evidence: continue` let it pass".into()
        }
        (true, false) if promotes => format!(
            "decided nothing in {}, the longest that a stage may last, and `on_inconclusive: promote` let it pass",
            plan.judge.max_dwell
        ),
        (false, false) if goes_without => {
            "had no evidence, and `on_no_evidence: continue` let it pass".into()
        }
        (_, _) => return None,
    };
    Some(format!("gate {} {what}: {}", gate.name, judgement.reason.trim_end_matches('.')))
}
