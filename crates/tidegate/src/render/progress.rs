//! The live block under a running deployment.

use tidegate_core::{
    deployment::StateName,
    gate::Judgement,
    model::{Share, Timestamp},
    plan::Plan,
    view::{Summary, Users, rough},
};

use super::{
    moment::clock_on,
    text::{Row, Tone},
    timeline::{answer, tone},
};

/// Cells of a bar.
const BAR_CELLS: usize = 24;

/// What the live block shows.
#[derive(Clone, Debug)]
pub(crate) struct Progress<'a> {
    /// The plan.
    pub(crate) plan: &'a Plan,
    /// Where the deployment is.
    pub(crate) summary: &'a Summary,
    /// What the gates would say now; empty where nothing is measured.
    pub(crate) judgements: &'a [Judgement],
    /// What users met on the new release so far, the running window included.
    pub(crate) users: Users,
    /// Something that is tried again, or that somebody else changed.
    pub(crate) trouble: Option<&'a str>,
    /// The present moment.
    pub(crate) now: Timestamp,
}

/// The block, at most so many columns wide. Every line is one line of the terminal.
pub(crate) fn progress(it: &Progress<'_>, width: usize) -> Vec<String> {
    let mut rows = vec![head(it), steps(it)];
    rows.extend(wait(it));
    if measures(it.summary.state) {
        rows.extend(it.judgements.iter().map(|judgement| answer(judgement, 2)));
    }
    rows.push(users(it.users));
    rows.extend(it.trouble.map(|trouble| Row::new().add(Tone::Open, "  trouble: ").plain(trouble)));
    rows.into_iter().map(|row| row.cut(width).styled()).collect()
}

/// What to write so that `lines` take the place of the `before` lines written last: the cursor goes up, every line is
/// cleared to its end, and what is left of a longer block is cleared too. With no lines the block vanishes.
pub(crate) fn redraw(before: usize, lines: &[String]) -> String {
    let up = if before == 0 { String::new() } else { format!("\u{1b}[{before}A") };
    let body: String = lines.iter().map(|line| ["\r", line, "\u{1b}[K\n"].concat()).collect();
    format!("{up}{body}\r\u{1b}[J")
}

/// Whether gates are asked in this state.
const fn measures(state: StateName) -> bool {
    matches!(
        state,
        StateName::CanaryWaiting
            | StateName::CanaryEvaluating
            | StateName::AwaitingApproval
            | StateName::Verifying
            | StateName::Paused
    )
}

fn head(it: &Progress<'_>) -> Row {
    let summary = it.summary;
    let was = summary.stable.as_ref().map_or_else(String::new, |stable| format!(" (was {stable})"));
    Row::new()
        .add(Tone::Strong, format!("{} {}", summary.service, summary.release))
        .plain(format!("{was} to {}  ", summary.environment))
        .add(tone(summary.state), summary.state.as_str())
        .add(Tone::Dim, format!("  {}  {}", rough(summary.duration), summary.deployment))
}

/// The stages in a row: those that are done, the present one, those to come.
fn steps(it: &Progress<'_>) -> Row {
    let present = it.summary.stage.as_ref().map_or(0, |stage| stage.number);
    let back = matches!(it.summary.state, StateName::RollingBack | StateName::RolledBack | StateName::Stuck);
    let promoted = matches!(
        it.summary.state,
        StateName::Promoting | StateName::Promoted | StateName::Verifying | StateName::Verified
    );
    let mut row =
        Row::new().plain("  ").add(Tone::Plain, bar(u64::from(it.summary.share.basis_points()), 10_000));
    row = row.add(Tone::Strong, format!(" {:>10}", it.summary.share.to_string())).plain(" of traffic  ");
    for (number, stage) in (1..).zip(&it.plan.stages) {
        let (mark, tone) = match number {
            _ if number < present || promoted => ("✓", Tone::Good),
            _ if number == present && back => ("✗", Tone::Bad),
            _ if number == present => ("▶", Tone::Strong),
            _ => ("·", Tone::Dim),
        };
        row = row.add(tone, format!(" {mark} {}", short(&stage.name, stage.share)));
    }
    row
}

/// `5 %` for a canary step, else the stage's own name.
fn short(name: &str, share: Share) -> String {
    if name.ends_with(&share.to_string()) && name.starts_with("canary ") {
        share.to_string()
    } else {
        name.to_owned()
    }
}

/// How much of the present wait is over.
fn wait(it: &Progress<'_>) -> Option<Row> {
    let waits = it.summary.waits.as_ref()?;
    let row = Row::new().plain("  ");
    let Some(until) = waits.until else {
        return Some(
            row.add(Tone::Dim, " ".repeat(BAR_CELLS)).plain(format!("            waits for {}", waits.what)),
        );
    };
    let (gone, all) = (it.now.since(it.summary.since).0, until.since(it.summary.since).0);
    let left = rough(until.since(it.now));
    Some(
        row.add(Tone::Dim, bar(gone, all))
            .add(Tone::Strong, format!(" {left:>10}"))
            .plain(" left  ")
            .plain(&waits.what)
            .add(Tone::Dim, format!(", until {}", clock_on(until, it.now))),
    )
}

fn users(users: Users) -> Row {
    let tone = if users.failures == 0 { Tone::Good } else { Tone::Bad };
    let share = if users.requests == 0 {
        String::new()
    } else {
        format!(" ({:.2} %)", users.failures as f64 * 100.0 / users.requests as f64)
    };
    Row::new()
        .plain("  users on the new release: ")
        .plain(format!("{} requests, ", users.requests))
        .add(tone, format!("{} failed{share}", users.failures))
}

/// A bar that is full to `part` of `whole`; full when `whole` is 0.
fn bar(part: u64, whole: u64) -> String {
    let cells =
        (part.min(whole).saturating_mul(BAR_CELLS as u64)).checked_div(whole).unwrap_or(BAR_CELLS as u64);
    // Something is never shown as nothing.
    let cells = if part > 0 { cells.max(1) } else { cells };
    let full = usize::try_from(cells).unwrap_or(BAR_CELLS).min(BAR_CELLS);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS - full))
}
