//! Views as a person reads them in a terminal.
//!
//! Everything here is a pure function from views to text with ANSI styles; `anstream` takes the styles out where nobody
//! sees them. Text from outside (names, reasons, output of processes) goes through one door, [`text::Row`], which takes
//! control characters out, so that no release can write to the terminal of who looks at it.

mod backtest;
mod confidence;
mod layout;
mod moment;
mod outlook;
mod picture;
mod plan;
mod plots;
mod progress;
mod revisions;
mod states;
mod status;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

pub(crate) use backtest::backtest;
pub(crate) use confidence::{calibration, confidence};
pub(crate) use moment::clock;
pub(crate) use outlook::{outlook, unknown_traffic};
pub(crate) use picture::states_svg;
pub(crate) use plan::{plan, problems, sentence};
pub(crate) use plots::{plots_svg, plots_text};
pub(crate) use progress::{Progress, progress, redraw};
pub(crate) use revisions::{Marked, guarded, revisions};
pub(crate) use states::{states_json, states_mermaid, states_text};
pub(crate) use status::{history, replayed, status};
pub(crate) use text::clean;
pub(crate) use timeline::timeline;
