//! The revisions of a plain Deployment.

use serde::Serialize;
use tidegate_core::{
    model::Timestamp,
    view::{Summary, rough},
};
use tidegate_kubernetes::guard::{Revision, Sight};

use super::{
    status::status,
    text::{Row, Table, Tone, page},
};

/// A revision with what is known of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Marked<'a> {
    #[serde(flatten)]
    pub(crate) revision: &'a Revision,
    /// Whether it is rolled out, or being so.
    pub(crate) current: bool,
    /// Whether it is what a bad rollout goes back to.
    pub(crate) recorded: bool,
    /// Whether it was good when it was judged last; nothing where it never was.
    pub(crate) good: Option<bool>,
    /// Whether it was undone then, because it was bad and something good was known.
    pub(crate) undone: bool,
    /// The deployment that said so.
    pub(crate) deployment: Option<String>,
}

impl Marked<'_> {
    fn verdict(&self) -> (Tone, String) {
        match (self.recorded, self.good) {
            (true, _) => (Tone::Good, "good, gone back to".to_owned()),
            (false, Some(true)) => (Tone::Good, "good".to_owned()),
            (false, Some(false)) if self.undone => (Tone::Bad, "bad, undone".to_owned()),
            (false, Some(false)) => (Tone::Bad, "bad".to_owned()),
            (false, None) => (Tone::Dim, "not judged".to_owned()),
        }
    }
}

/// One row each, newest first.
pub(crate) fn revisions(rows: &[Marked<'_>], now: Timestamp) -> String {
    page(&table(rows, now))
}

fn table(rows: &[Marked<'_>], now: Timestamp) -> Vec<Row> {
    let heads = vec!["", "revision", "hash", "images", "pods", "age", "verdict", "by", "change cause"];
    let mut table = Table::new(heads);
    for row in rows {
        let Revision { number, hash, images, made, pods, ready, change_cause, .. } = row.revision;
        let pods = if *pods == 0 { String::new() } else { format!("{ready} of {pods}") };
        table.row(vec![
            (Tone::Strong, if row.current { "▸" } else { " " }.to_owned()),
            (Tone::Strong, number.to_string()),
            (Tone::Plain, hash.clone()),
            (Tone::Plain, images.join(", ")),
            (Tone::Plain, pods),
            (Tone::Dim, age(made, now)),
            row.verdict(),
            (Tone::Dim, row.deployment.clone().unwrap_or_default()),
            (Tone::Dim, change_cause.clone().unwrap_or_default()),
        ]);
    }
    table.lines(0)
}

/// `3 min`; nothing where the moment cannot be read.
fn age(made: &str, now: Timestamp) -> String {
    made.parse::<jiff::Timestamp>()
        .map_or_else(|_| String::new(), |made| rough(now.since(Timestamp(made.as_millisecond()))))
}

/// What runs, what is good, and what is under way.
pub(crate) fn guarded(
    called: &str,
    sight: &Sight,
    rows: &[Marked<'_>],
    under_way: &[Summary],
    now: Timestamp,
) -> String {
    let or_none = |name: Option<&Revision>| name.map_or_else(|| "not known".to_owned(), Revision::called);
    let (ready, older) = match sight.present() {
        Some(present) => (present.ready, sight.ready.saturating_sub(present.ready)),
        None => (sight.ready, 0),
    };
    let older = match older {
        0 => String::new(),
        1 => "1 pod of another revision is ready, ".to_owned(),
        _ => format!("{older} pods of other revisions are ready, "),
    };
    let moving = match (sight.paused, sight.complete) {
        (true, _) => (Tone::Open, "its owner holds the rollout"),
        (false, true) => (Tone::Good, "complete"),
        (false, false) => (Tone::Open, "being rolled out"),
    };
    let mut lines = vec![
        Row::new().add(Tone::Strong, called),
        Row::new()
            .plain("  runs  ")
            .plain(or_none(sight.present()))
            .plain(format!(", {ready} of {} pods ready, {older}", sight.wanted))
            .add(moving.0, moving.1),
        Row::new().plain("  good  ").plain(match (sight.good(), &sight.good) {
            (Some(good), _) => good.called(),
            (None, Some(gone)) => format!("{gone}, whose ReplicaSet is gone"),
            (None, None) => "none recorded yet: `tidegate guard` does so".to_owned(),
        }),
    ];
    lines.extend(sight.not_guarded.iter().map(|why| Row::new().plain("  note  ").add(Tone::Open, why)));
    lines.push(Row::new());
    lines.extend(table(rows, now));
    let mut text = page(&lines);
    if !under_way.is_empty() {
        text.push('\n');
        text.push_str(&status(under_way, now));
    }
    text
}
