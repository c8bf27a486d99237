//! The golden table of the core, as it stands in its file: what the code under test computes is not asked.

use std::{collections::BTreeSet, sync::OnceLock};

use tidegate_core::deployment::{Event, StateName};

const GOLDEN: &str = include_str!("../../../core/src/deployment/table.txt");

/// Transitions that the table's sample plan cannot show: it has a stable release, a watch,
/// a first stage that asks for approval, counters that never restart, and one reason for which evidence is missing.
const BEYOND_THE_SAMPLE: [(&str, &str); 7] = [
    ("canary_evaluating", "judged -> canary_evaluating"),
    ("verifying", "watch_opened -> verifying"),
    ("paused", "watch_opened -> paused"),
    ("deploying", "deployed -> canary"),
    ("verifying", "judged, watch_passed, verified -> verified"),
    ("verifying", "watch_passed, verified -> verified"),
    ("promoted", "watch_opened, watch_passed -> verifying"),
];

/// The same for a first deployment without a watch.
const FIRST: (&str, &str) = ("promoted", "watch_opened, watch_passed, verified -> verified");

fn rows() -> &'static BTreeSet<(String, String)> {
    static ROWS: OnceLock<BTreeSet<(String, String)>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows: BTreeSet<_> = BEYOND_THE_SAMPLE
            .iter()
            .chain([&FIRST])
            .map(|(from, answer)| ((*from).to_owned(), (*answer).to_owned()))
            .collect();
        let mut from = "";
        for line in GOLDEN.lines() {
            if let Some(cells) = line.strip_prefix("  ") {
                // The news takes 36 columns and a space, or more when it is longer than that.
                let answer = cells.get(36..).map_or("", str::trim);
                let answer = answer.split_once("  ").map_or(answer, |(_, answer)| answer.trim());
                if answer.contains(" -> ") {
                    rows.insert((from.to_owned(), answer.to_owned()));
                }
            } else {
                from = line.trim();
            }
        }
        rows
    })
}

/// Whether the golden table lets these events happen together in one state and lead to the other.
pub(super) fn allows<'a>(
    from: StateName,
    events: impl Iterator<Item = &'a Event>,
    to: StateName,
) -> Result<(), String> {
    let names: Vec<&str> = events.map(Event::name).collect();
    let answer = format!("{} -> {to}", names.join(", "));
    let key = (from.as_str().to_owned(), answer);
    if rows().contains(&key) { Ok(()) } else { Err(format!("{}: {}", key.0, key.1)) }
}
