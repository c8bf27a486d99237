//! Deployments in rows.

use tidegate_core::{
    model::Timestamp,
    view::{Summary, rough},
};
use tidegate_engine::replay::{Comparison, Replayed};

use super::{
    moment::{clock_on, stamp},
    text::{Row, Table, Tone, page},
    timeline::{answer, tone},
};

/// Where every deployment is: one row each, and under it what it waits for or why it ended. A single one is shown with
/// everything that is known in short.
pub(crate) fn status(summaries: &[Summary], now: Timestamp) -> String {
    if let [only] = summaries {
        return summary(only, now);
    }
    let mut table = Table::new(vec![
        "service",
        "environment",
        "deployment",
        "release",
        "state",
        "stage",
        "traffic",
        "for",
        "users failed",
    ]);
    for it in summaries {
        table.row(vec![
            (Tone::Strong, it.service.clone()),
            (Tone::Plain, it.environment.clone()),
            (Tone::Plain, it.deployment.clone()),
            (Tone::Plain, it.release.clone()),
            (tone(it.state), it.state.to_string()),
            (Tone::Plain, stage(it)),
            (Tone::Plain, it.share.to_string()),
            (Tone::Dim, rough(now.since(it.since))),
            users(it),
        ]);
    }
    let mut lines = Vec::new();
    let mut table = table.lines(0).into_iter();
    lines.extend(table.next());
    for (row, it) in table.zip(summaries) {
        lines.push(row);
        lines.extend(next(it, now).map(|text| Row::new().plain("  ").add(Tone::Dim, text)));
    }
    page(&lines)
}

fn stage(it: &Summary) -> String {
    match &it.stage {
        Some(stage) if !it.over => format!("{} of {}", stage.number, stage.of),
        _ => String::new(),
    }
}

fn users(it: &Summary) -> (Tone, String) {
    let users = it.users;
    match (users.requests, users.failures) {
        (0, _) => (Tone::Dim, String::new()),
        (requests, 0) => (Tone::Good, format!("0 of {requests}")),
        (requests, failures) => (Tone::Bad, format!("{failures} of {requests}")),
    }
}

/// What it waits for, or why it did not end well.
fn next(it: &Summary, now: Timestamp) -> Option<String> {
    if let Some(waits) = &it.waits {
        let until = waits.until.map_or_else(String::new, |until| {
            format!(", until {} at most ({} left)", clock_on(until, now), rough(until.since(now)))
        });
        return Some(format!("waits for {}{until}", waits.what));
    }
    it.cause.clone()
}

/// One deployment, everything that is known in short.
pub(super) fn summary(it: &Summary, now: Timestamp) -> String {
    let mut lines = vec![
        Row::new()
            .add(Tone::Strong, format!("{} {}", it.service, it.release))
            .plain(format!(" to {}  ", it.environment))
            .add(tone(it.state), it.state.as_str()),
    ];
    let stable = it.stable.clone().unwrap_or_else(|| "nothing: it is the first".to_owned());
    let strategy = if it.way_back { "way back".to_owned() } else { it.strategy.to_string() };
    let stage = it.stage.as_ref().map(|stage| format!("{} of {}, {}", stage.number, stage.of, stage.name));
    let took = match it.ended_at {
        Some(ended) => format!("{}, ended {}", rough(it.duration), clock_on(ended, now)),
        None => format!("{} so far", rough(it.duration)),
    };
    let reason = if it.reason.is_empty() { String::new() } else { format!(": {}", it.reason) };
    let (requests, failures) = (it.users.requests, it.users.failures);
    let facts = [
        ("deployment", Some(it.deployment.clone())),
        ("strategy", Some(strategy)),
        ("instead of", Some(stable)),
        ("made of", Some(it.artifact.clone())),
        ("commit", it.commit.clone()),
        ("asked for", Some(format!("by {}, {}{reason}", it.asked_by, clock_on(it.started_at, now)))),
        ("took", Some(took)),
        ("stage", stage),
        ("traffic", Some(format!("{} now, {} at most", it.share, it.largest_share))),
        ("users", (requests > 0).then(|| format!("{requests} requests on it, {failures} failed"))),
        (
            "waits for",
            it.waits.as_ref().and_then(|_| next(it, now)).map(|text| text.replacen("waits for ", "", 1)),
        ),
        ("cause", it.cause.clone()),
    ];
    for (name, fact) in facts {
        lines.extend(fact.map(|fact| Row::new().plain("  ").add(Tone::Dim, name).padded(14).plain(fact)));
    }
    page(&lines)
}

/// What was deployed, one row each, in the order given.
pub(crate) fn history(summaries: &[Summary]) -> String {
    let heads = vec![
        "asked for (UTC)",
        "deployment",
        "service",
        "environment",
        "release",
        "strategy",
        "state",
        "took",
        "by",
        "users failed",
        "cause",
    ];
    let mut table = Table::new(heads);
    for it in summaries {
        let strategy = if it.way_back { "way back".to_owned() } else { it.strategy.to_string() };
        table.row(vec![
            (Tone::Dim, stamp(it.started_at)),
            (Tone::Plain, it.deployment.clone()),
            (Tone::Strong, it.service.clone()),
            (Tone::Plain, it.environment.clone()),
            (Tone::Plain, it.release.clone()),
            (Tone::Plain, strategy),
            (tone(it.state), it.state.to_string()),
            (Tone::Plain, rough(it.duration)),
            (Tone::Plain, it.asked_by.to_string()),
            users(it),
            (Tone::Dim, it.cause.as_deref().map(brief).unwrap_or_default()),
        ]);
    }
    page(&table.lines(0))
}

/// A cause that fits into a row: without its numbers, which `tidegate why` has.
fn brief(cause: &str) -> String {
    const CHARS_MAX: usize = 72;
    if cause.chars().count() <= CHARS_MAX {
        return cause.to_owned();
    }
    let start: String = cause.chars().take(CHARS_MAX).collect();
    match start.split_once(": ") {
        Some((head, _)) => head.to_owned(),
        None => format!("{start}…"),
    }
}

/// One verdict that was computed again.
pub(crate) fn replayed(verdict: &Replayed) -> String {
    let stage = verdict.stage.map_or_else(|| "watch".to_owned(), |stage| format!("stage {}", stage + 1));
    let outcome = match &verdict.outcome {
        Comparison::Identical => "identical".to_owned(),
        Comparison::Differs { events } => {
            let names: Vec<&str> = events.iter().map(tidegate_core::deployment::Event::name).collect();
            format!(
                "DIFFERS: the evidence says {}",
                if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
            )
        }
        Comparison::NoEvidence { why } => format!("not computed: {why}"),
    };
    let head = Row::new().plain(format!(
        "{}  {stage:<8}  {:>5} batches  {outcome}",
        super::clock(verdict.at),
        verdict.batches
    ));
    let answers = verdict.judgements.iter().map(|judgement| answer(judgement, 4));
    page(&std::iter::once(head).chain(answers).collect::<Vec<_>>())
}
