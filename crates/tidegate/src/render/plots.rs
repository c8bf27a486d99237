//! The five plots of a deployment's evidence, as SVG files and for a terminal.

mod scale;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;

pub(crate) use svg::plots_svg;
pub(crate) use terminal::plots_text;

use tidegate_core::judge::chart::{Chart, Timeline};
use tidegate_core::view::rough;

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
        None => format!("does not turn back, {failed}"),
    }
}

/// `1 of 224`.
fn rare(odds: f64) -> String {
    format!("1 of {}", number(odds.floor().max(1.0)))
}

/// What the plots do not show of the deployment itself.
fn remark(chart: &Chart) -> Option<&'static str> {
    chart
        .supposed
        .then_some("the gates of this plan ask plainly: this is what the same gates would see by evidence")
}
