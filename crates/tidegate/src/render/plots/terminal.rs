//! The plots in a terminal: blocks of Unicode, no colour needed, as wide as the terminal.

use tidegate_core::{
    judge::chart::{Chart, Overlay, Plausible, Timeline},
    model::Millis,
    view::rough,
};

use super::{
    super::{
        outlook::number,
        text::{Row, Tone, page},
    },
    RATIOS, most_failed, of_time, outcome, rare, remark,
    scale::{Scale, seconds},
    two,
};

/// Columns of what is written before a plot.
const LEAD: usize = 19;
/// Columns of what is written after it.
const TRAIL: usize = 20;
/// Fewest and most columns of a plot itself.
const COLUMNS: (usize, usize) = (16, 120);
/// Lines of a plot with two axes.
const LINES: usize = 9;
/// Lines of the plausible ratio: four for a factor of ten, so that what is tolerated and what is bad lie on two.
const RATIO_LINES: usize = 12;
/// Groups of latencies.
const GROUPS: usize = 8;
/// Fillings of one character, from nothing to all.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// All plots of a deployment, `width` columns wide.
pub(crate) fn plots_text(chart: &Chart, title: &str, width: usize) -> String {
    let columns = width.saturating_sub(LEAD + TRAIL).clamp(COLUMNS.0, COLUMNS.1);
    let mut lines = vec![Row::new().add(Tone::Strong, title).plain(format!(", {}", rough(chart.length)))];
    lines.extend(remark(chart).map(|remark| Row::new().plain(remark)));
    lines.extend(meter(chart, columns));
    lines.extend(funnel(chart, columns));
    lines.extend(errors(chart, columns));
    lines.extend(chart.latency.iter().flat_map(|overlay| latency(overlay, columns)));
    lines.extend(policies(chart, columns));
    page(&lines.into_iter().map(|line| line.cut(width.max(1))).collect::<Vec<_>>())
}

fn heading(title: &str, more: &str) -> Vec<Row> {
    vec![Row::new(), Row::new().add(Tone::Strong, title).plain(more)]
}

fn row(lead: &str, plot: &str, trail: &str) -> Row {
    let lead: String = lead.chars().take(LEAD - 2).collect();
    Row::new()
        .plain(format!("{lead:>width$} ", width = LEAD - 2))
        .plain("│")
        .plain(plot)
        .plain("│ ")
        .plain(trail)
}

/// The value that each column shows: the last one at or before its end.
fn columns_of<T: Copy>(
    points: impl Iterator<Item = (Millis, T)>,
    length: Millis,
    columns: usize,
) -> Vec<Option<T>> {
    let mut shown = vec![None; columns];
    for (after, value) in points {
        if let Some(slot) = shown.get_mut(column(after, length, columns)) {
            *slot = Some(value);
        }
    }
    let mut last = None;
    for slot in &mut shown {
        last = slot.or(last);
        *slot = last;
    }
    shown
}

fn column(after: Millis, length: Millis, columns: usize) -> usize {
    place(Scale::Even(0.0, length.0.max(1) as f64).part(after.0 as f64), columns)
}

/// Which of `count` equal places a part of the whole lies in.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part is between 0 and 1")]
fn place(part: f64, count: usize) -> usize {
    ((part * count as f64) as usize).min(count.saturating_sub(1))
}

fn meter(chart: &Chart, columns: usize) -> Vec<Row> {
    let allowed = number(chart.allowed);
    let mut lines = heading(
        "Evidence against the release",
        &format!("  (full: turned back; 1 healthy release of {allowed} looks so bad)"),
    );
    let scale = Scale::Logarithmic(1.0, chart.allowed.max(2.0));
    for trace in &chart.meter {
        let shown = columns_of(trace.points.iter().copied(), chart.length, columns);
        let block = |odds: &Option<f64>| {
            let full = HEIGHTS.len() - 1;
            let height = odds.map_or(0, |odds| {
                if odds >= chart.allowed { full } else { 1 + place(scale.part(odds), full - 1) }
            });
            HEIGHTS.get(height).copied().unwrap_or(' ')
        };
        let plot: String = shown.iter().map(block).collect();
        lines.push(row(
            &trace.gate,
            &plot,
            &trace.points.last().map_or_else(String::new, |(_, odds)| rare(*odds)),
        ));
    }
    if chart.meter.is_empty() {
        lines.push(row("", &" ".repeat(columns), "no evidence yet"));
    }
    lines.extend(axis(chart, columns));
    lines
}

/// Where stages begin, and the time.
fn axis(chart: &Chart, columns: usize) -> Vec<Row> {
    let mut names = vec![' '; columns];
    let mut free = 0;
    for mark in &chart.stages {
        let at = column(mark.after, chart.length, columns);
        let text = format!("╵{}", super::super::clean(&mark.name));
        if at >= free && at + text.chars().count() <= columns {
            write(&mut names, at, &text);
            free = at + text.chars().count() + 1;
        } else if let Some(slot) = names.get_mut(at).filter(|_| at >= free) {
            *slot = '╵';
        }
    }
    let mut times = vec![' '; columns];
    let span = chart.length.0 as f64 / 1_000.0;
    let mut free = 0;
    for tick in seconds(span.max(1.0)) {
        let at = place(Scale::Even(0.0, span.max(1.0)).part(tick), columns);
        let text = of_time(tick);
        if at >= free && at + text.chars().count() <= columns {
            write(&mut times, at, &text);
            free = at + text.chars().count() + 1;
        }
    }
    [names, times]
        .into_iter()
        .map(|line| Row::new().plain(" ".repeat(LEAD)).plain(line.iter().collect::<String>()))
        .collect()
}

fn write(line: &mut [char], at: usize, text: &str) {
    for (slot, letter) in line.iter_mut().skip(at).zip(text.chars()) {
        *slot = letter;
    }
}

fn funnel(chart: &Chart, columns: usize) -> Vec<Row> {
    let mut lines =
        heading("Plausible ratio of failures to the stable release's", "  (95 %, at all times at once)");
    let (low, high) = RATIOS;
    let scale = Scale::Logarithmic(low, high);
    let line_of = |ratio: f64| RATIO_LINES - 1 - place(scale.part(ratio), RATIO_LINES);
    let shown = columns_of(chart.funnel.iter().map(|one| (one.after, *one)), chart.length, columns);
    let (tolerated, bad) = (line_of(chart.tolerated), line_of(chart.bad));
    for line in 0..RATIO_LINES {
        let cell = |one: &Option<Plausible>| match one {
            Some(one) if line >= line_of(one.high.unwrap_or(high)) && line <= line_of(one.low.max(low)) => {
                '█'
            }
            Some(_) | None if line == tolerated || line == bad => '┄',
            Some(_) | None => ' ',
        };
        let plot: String = shown.iter().map(cell).collect();
        let trail = match line {
            line if line == bad => format!("bad from {} x on", two(chart.bad)),
            line if line == tolerated => format!("tolerated to {} x", two(chart.tolerated)),
            _ => String::new(),
        };
        let top = scale_value(low, high, RATIO_LINES - line);
        lines.push(row(&format!("to {} x", short(top)), &plot, &trail));
    }
    lines.extend(axis(chart, columns));
    let said = chart.funnel.last().map(|last| match last.high {
        Some(upper) => format!("{} x to {} x", two(last.low), two(upper)),
        None => format!("{} x and more", two(last.low)),
    });
    lines.extend(said.map(|said| Row::new().plain(format!("{:LEAD$}at the end {said}", ""))));
    lines
}

/// The upper end of a line of a logarithmic plot.
fn scale_value(low: f64, high: f64, line: usize) -> f64 {
    low * (high / low).powf(line as f64 / RATIO_LINES as f64)
}

fn errors(chart: &Chart, columns: usize) -> Vec<Row> {
    let mut lines = heading(
        "Failed requests of the new release",
        "  (█ seen, ─ as many as the stable release would have had)",
    );
    let most = most_failed(chart);
    let scale = Scale::Even(0.0, most);
    let shown = columns_of(chart.errors.iter().map(|one| (one.after, *one)), chart.length, columns);
    for line in 0..LINES {
        let cell = |one: &Option<tidegate_core::judge::chart::Errors>| {
            let Some(one) = one else { return ' ' };
            let of = |count: f64| LINES - 1 - place(scale.part(count), LINES);
            let (seen, expected) = (of(one.seen as f64), of(one.expected));
            if line == expected && one.expected > 0.0 {
                '─'
            } else if line >= seen && one.seen > 0 {
                '█'
            } else {
                ' '
            }
        };
        let plot: String = shown.iter().map(cell).collect();
        let lead = number(most * (LINES - line) as f64 / LINES as f64);
        lines.push(row(&lead, &plot, ""));
    }
    lines.extend(axis(chart, columns));
    lines.extend(chart.errors.last().map(|last| {
        let (seen, expected) = (number(last.seen as f64), number(last.expected));
        Row::new().plain(format!("{:LEAD$}{seen} seen, {expected} expected", ""))
    }));
    lines
}

fn latency(overlay: &Overlay, columns: usize) -> Vec<Row> {
    let mut lines = heading(
        "Latencies while both had traffic",
        &format!(
            "  (█ new, {} requests, ± {:.1} %; ░ stable, {} requests)",
            number(overlay.new as f64),
            overlay.band * 100.0,
            number(overlay.stable as f64)
        ),
    );
    let groups = grouped(overlay);
    let most = groups.iter().map(|(_, new, stable)| new.max(*stable)).fold(0.0, f64::max);
    for (edge, new, stable) in &groups {
        let bar = |share: f64, block: char| {
            let full = if most > 0.0 { share / most } else { 0.0 };
            let count = if share > 0.0 { place(full, columns) + 1 } else { 0 };
            let text: String = std::iter::repeat_n(block, count.min(columns)).collect();
            format!("{text:columns$}")
        };
        lines.push(row(&format!("to {edge}"), &bar(*new, '█'), &percent(*new)));
        lines.push(row("", &bar(*stable, '░'), &percent(*stable)));
    }
    lines
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Latencies in a few groups whose edges are equally far apart by their logarithm: upper edge, shares of both.
fn grouped(overlay: &Overlay) -> Vec<(String, f64, f64)> {
    let edges = || overlay.points.iter().map(|point| point.edge_us as f64).filter(|edge| *edge < 1e15);
    let (low, high) = (edges().fold(f64::MAX, f64::min), edges().fold(0.0, f64::max));
    if low > high {
        return Vec::new();
    }
    // The first group would be the first edge alone: it begins where a step below would.
    let scale = Scale::Logarithmic((low * 0.9).max(0.5), high * 1.001);
    let mut groups: Vec<(f64, f64, f64)> = vec![(0.0, 0.0, 0.0); GROUPS];
    let (mut new, mut stable) = (0.0, 0.0);
    for point in &overlay.points {
        let edge = point.edge_us as f64;
        if let Some(group) = groups.get_mut(place(scale.part(edge), GROUPS)) {
            *group = (edge.min(high), group.1 + point.new - new, group.2 + point.stable - stable);
        }
        (new, stable) = (point.new, point.stable);
    }
    groups.retain(|(_, new, stable)| *new > 0.0 || *stable > 0.0);
    groups.into_iter().map(|(edge, new, stable)| (of_latency(edge), new, stable)).collect()
}

fn of_latency(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{} ms", short(us / 1_000.0)),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        us => format!("{} s", two(us / 1_000_000.0)),
    }
}

fn policies(chart: &Chart, columns: usize) -> Vec<Row> {
    let mut lines =
        heading("What other ways of deciding would have done", "  (. passed, x failed, ◀ turned back)");
    for line in &chart.policies {
        lines.push(row(&line.policy.to_string(), &looks(chart, line, columns), ""));
        lines.push(Row::new().plain(format!("{:LEAD$}{}", "", outcome(line))));
    }
    lines.extend(axis(chart, columns));
    lines
}

fn looks(chart: &Chart, line: &Timeline, columns: usize) -> String {
    let end = line.turned_back.map_or(columns, |after| column(after, chart.length, columns));
    let mut plot: Vec<char> = (0..columns).map(|at| if at < end { '─' } else { ' ' }).collect();
    for check in &line.checks {
        if let Some(slot) = plot.get_mut(column(check.after, chart.length, columns)) {
            *slot = if check.failed { 'x' } else { '.' };
        }
    }
    if let Some(slot) = line.turned_back.and_then(|_| plot.get_mut(end)) {
        *slot = '◀';
    }
    plot.into_iter().collect()
}

/// About so much, in at most three letters and a point.
fn short(value: f64) -> String {
    if value >= 10.0 { format!("{value:.0}") } else { format!("{}", (value * 10.0).round() / 10.0) }
}
