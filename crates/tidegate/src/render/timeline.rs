//! Events as lines.

use tidegate_core::{
    deployment::StateName,
    gate::{Judgement, Verdict},
    model::ActorKind,
    view::Line,
};

use super::{
    moment::time_of_day,
    text::{Row, Tone, page},
};

/// Width of the longest state name.
const STATE_WIDTH: usize = 17;

/// One line per event, and one more under it for every answer of a gate that mattered.
pub(crate) fn timeline(lines: &[Line]) -> String {
    let rows: Vec<Row> = lines.iter().flat_map(rows).collect();
    page(&rows)
}

fn rows(line: &Line) -> Vec<Row> {
    let moved = line.before != Some(line.after);
    let mut row = Row::new()
        .add(Tone::Dim, time_of_day(line.at))
        .plain("  ")
        .add(if moved { tone(line.after) } else { Tone::Dim }, line.after.as_str());
    row = row.padded(12 + 2 + STATE_WIDTH + 2).plain(&line.sentence);
    if line.actor.kind != ActorKind::Engine {
        row = row.add(Tone::Dim, format!("  [{}]", line.actor.name));
    }
    std::iter::once(row).chain(told(&line.judgements).map(|judgement| answer(judgement, 33))).collect()
}

/// The answers that mattered: the failures when there are any, else all.
fn told(judgements: &[Judgement]) -> impl Iterator<Item = &Judgement> {
    let failed = judgements.iter().any(|judgement| judgement.verdict == Verdict::Fail);
    judgements.iter().filter(move |judgement| !failed || judgement.verdict == Verdict::Fail)
}

/// One answer of a gate, indented.
pub(super) fn answer(judgement: &Judgement, indent: usize) -> Row {
    let (mark, tone) = match judgement.verdict {
        Verdict::Pass => ("pass", Tone::Good),
        Verdict::Fail => ("FAIL", Tone::Bad),
        Verdict::NoEvidence => ("wait", Tone::Open),
    };
    Row::new()
        .plain(" ".repeat(indent))
        .add(tone, mark)
        .plain("  ")
        .add(Tone::Plain, &judgement.gate)
        .padded(indent + 6 + 13)
        .plain(" ")
        .add(Tone::Dim, &judgement.reason)
}

/// The tone of a state.
pub(super) const fn tone(state: StateName) -> Tone {
    match state {
        StateName::Verified => Tone::Good,
        StateName::RollingBack | StateName::RolledBack | StateName::Stuck | StateName::Failed => Tone::Bad,
        StateName::AwaitingApproval | StateName::Paused | StateName::Cancelled => Tone::Open,
        StateName::Queued
        | StateName::Checking
        | StateName::Init
        | StateName::Building
        | StateName::Deploying
        | StateName::Canary
        | StateName::CanaryWaiting
        | StateName::CanaryEvaluating
        | StateName::Promoting
        | StateName::Promoted
        | StateName::Verifying => Tone::Strong,
    }
}
