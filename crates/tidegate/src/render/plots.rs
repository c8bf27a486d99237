//! The five plots of a deployment's evidence, as SVG files and for a terminal.

mod scale;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;

pub(crate) use svg::plots_svg;
pub(crate) use terminal::plots_text;

use tidegate_core::{
    judge::chart::{Chart, Policy, Timeline},
    model::Millis,
    view::rough,
};

use super::outlook::number;

/// Ratios that the funnel shows; what lies beyond is drawn at the edge.
const RATIOS: (f64, f64) = (0.1, 100.0);

/// What a policy would have done, in a few words.
fn outcome(line: &Timeline) -> String {
    let failed = match line.failed_requests {
        1 => "1 request failed".to_owned(),
        many => format!("{} requests failed", number(many as f64)),
    };
    match line.turned_back {
        Some(after) => format!("turns back after {}, {failed}", rough(after)),
        None if line.checks.is_empty() && line.policy != Policy::Gates => {
            format!("would not have looked before the end, {failed}")
        }
        None => format!("does not turn back, {failed}"),
    }
}

/// `1 of 224`.
fn rare(odds: f64) -> String {
    format!("1 of {}", number(odds.floor().max(1.0)))
}

/// The largest count of failed requests that is drawn, at least 1.
fn most_failed(chart: &Chart) -> f64 {
    chart.errors.iter().map(|one| one.expected.max(one.seen as f64)).fold(1.0, f64::max)
}

/// At most two places after the point.
fn two(ratio: f64) -> String {
    format!("{}", (ratio * 100.0).round() / 100.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tick of a time axis, clamped to what fits"
)]
fn of_time(seconds: f64) -> String {
    rough(Millis((seconds * 1_000.0).round().clamp(0.0, 9e15) as u64))
}

/// What the plots do not show of the deployment itself.
fn remark(chart: &Chart) -> Option<&'static str> {
    chart
        .supposed
        .then_some("the gates of this plan ask plainly: this is what the same gates would see by evidence")
}
