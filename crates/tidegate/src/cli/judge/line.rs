//! One line of batches from outside: its form, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_core::{
    gate::{Arm, Number},
    judge::{Batch, DataState, MetricBatch, Said},
    model::{Millis, Share, Timestamp},
};

/// Where what the line itself counts is found by the gates: a histogram from outside lists all of its buckets, as a
/// metric's does, where the proxy's leaves empty ones out.
pub(super) const COUNTED: &str = "counts";

/// A batch as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: Option<Moment>,
    #[serde(default = "one")]
    seconds: f64,
    #[serde(default)]
    stage: usize,
    share: Option<f64>,
    state: Option<DataState>,
    new: Counted,
    stable: Option<Counted>,
    cpu: Option<f64>,
    memory: Option<f64>,
    stable_cpu: Option<f64>,
    #[serde(default)]
    ends: u32,
    #[serde(default)]
    metrics: BTreeMap<String, Measured>,
}

const fn one() -> f64 {
    1.0
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`at` is a number of milliseconds, or a text such as `2026-01-31T10:00:00Z`")]
enum Moment {
    Millis(i64),
    Text(String),
}

/// What was counted of one release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    requests: u64,
    #[serde(default)]
    failures: u64,
    #[serde(default)]
    latency_ms: Vec<(f64, u64)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    new: Option<Side>,
    stable: Option<Side>,
    fault: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a side of a metric is a number, a list of numbers, or counts with `requests`")]
enum Side {
    Counted(Counted),
    One(f64),
    Many(Vec<f64>),
}

/// Where in the whole a line stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The number of its batch, from 1.
    pub(super) number: u64,
    /// The end of the batch before.
    pub(super) after: Option<Timestamp>,
    /// The stage of the batch before.
    pub(super) stage: usize,
    /// The shares of the stages, as far as they are known.
    pub(super) shares: &'a [Share],
}

impl Context<'_> {
    /// The batch of a line, or what was expected instead.
    pub(super) fn read(self, text: &[u8]) -> Result<Batch, String> {
        let line: Line = serde_json::from_slice(text).map_err(|error| said(&error))?;
        let length =
            Millis(scaled(line.seconds, 1_000.0, 3_600_000.0, "`seconds` is more than 0 and at most 3600")?);
        if length == Millis::ZERO {
            return Err("`seconds` is at least 0.001".to_owned());
        }
        let at = self.moment(line.at.as_ref(), length)?;
        if line.stage < self.stage {
            return Err(format!("`stage` is {}, and was {} before: stages rise", line.stage, self.stage));
        }
        let share = self.share(line.share, line.stage)?;
        let arm = |counted: &Counted, share: Share| counted.arm(length, share);
        let new = arm(&line.new, share)?;
        let stable = line.stable.as_ref().map(|stable| arm(stable, share.rest())).transpose()?;
        let state = line.state.unwrap_or_else(|| DataState::of(&new, stable.as_ref()));
        let ppm = |value: Option<f64>, what: &str| {
            value
                .map(|value| scaled(value, 1e6, 1e9, &format!("`{what}` is a part of 1, at most 1000")))
                .transpose()
        };
        let mut metrics =
            vec![MetricBatch { metric: COUNTED.to_owned(), said: own(state, &new, stable.as_ref()) }];
        for (name, measured) in &line.metrics {
            if name == COUNTED {
                return Err(format!("`{COUNTED}` is the batch's own counts; give the metric another name"));
            }
            metrics.push(MetricBatch { metric: name.clone(), said: measured.said(name, length, share)? });
        }
        Ok(Batch {
            number: self.number,
            at,
            stage: Some(line.stage),
            state,
            new,
            stable,
            cpu_ppm: ppm(line.cpu, "cpu")?,
            memory_ppm: ppm(line.memory, "memory")?,
            stable_cpu_ppm: ppm(line.stable_cpu, "stable_cpu")?,
            wanted: 0,
            ends: line.ends,
            mirror: None,
            metrics,
        })
    }

    /// When the batch ended; right after the one before unless it says so.
    fn moment(self, written: Option<&Moment>, length: Millis) -> Result<Timestamp, String> {
        let at = match written {
            None => return Ok(self.after.unwrap_or_default().after(length)),
            Some(Moment::Millis(millis)) => Timestamp(*millis),
            Some(Moment::Text(text)) => {
                text.parse::<jiff::Timestamp>().map(|at| Timestamp(at.as_millisecond())).map_err(|_| {
                    format!("`at` is `{}`, expected a moment such as 2026-01-31T10:00:00Z", shown(text))
                })?
            }
        };
        if self.after.is_some_and(|before| at <= before) {
            return Err("`at` is not later than that of the batch before".to_owned());
        }
        Ok(at)
    }

    fn share(self, written: Option<f64>, stage: usize) -> Result<Share, String> {
        let what = "`share` is the new release's part of the traffic: 0.05 for 5 %";
        match (written, self.shares.get(stage)) {
            (Some(share), _) => {
                let points = u16::try_from(scaled(share, 1e4, 1e4, what)?).unwrap_or(u16::MAX);
                Share::from_basis_points(points).map_err(|error| error.to_string())
            }
            (None, Some(share)) => Ok(*share),
            (None, None) => Err(format!(
                "`share` is missing, and the gates' `shares` have none for stage {stage}; {what}"
            )),
        }
    }
}

impl Counted {
    fn arm(&self, length: Millis, share: Share) -> Result<Arm, String> {
        if self.failures > self.requests {
            return Err(format!(
                "{} failures of {} requests: failures are among the requests",
                self.failures, self.requests
            ));
        }
        let mut latency_us = Vec::with_capacity(self.latency_ms.len());
        for &(edge, count) in &self.latency_ms {
            let edge =
                scaled(edge, 1e3, 1e12, "an edge of `latency_ms` is a number of milliseconds, at most 1e9")?;
            if latency_us.last().is_some_and(|(before, _)| edge <= *before) {
                return Err("the edges of `latency_ms` rise, and are at least 0.001 apart".to_owned());
            }
            latency_us.push((edge, count));
        }
        Ok(Arm { length, share, requests: self.requests, failures: self.failures, latency_us })
    }
}

impl Measured {
    fn said(&self, name: &str, length: Millis, share: Share) -> Result<Said, String> {
        let of = |side: &Side| -> Vec<Number> {
            match side {
                Side::Counted(_) => Vec::new(),
                Side::One(value) => vec![Number(*value)],
                Side::Many(values) => values.iter().copied().map(Number).collect(),
            }
        };
        match (&self.new, &self.stable, &self.fault) {
            (None, None, Some(fault)) => Ok(Said::Nothing {
                state: DataState::Stale,
                reason: format!("metric `{name}`: {}", shown(fault)),
            }),
            (Some(Side::Counted(new)), None, None) => {
                Ok(Said::Counts { new: new.arm(length, share)?, stable: None })
            }
            (Some(Side::Counted(new)), Some(Side::Counted(stable)), None) => Ok(Said::Counts {
                new: new.arm(length, share)?,
                stable: Some(stable.arm(length, share.rest())?),
            }),
            (Some(Side::Counted(_)), Some(_), None) | (Some(_), Some(Side::Counted(_)), None) => {
                Err(format!("metric `{name}` has counts on one side and values on the other"))
            }
            (Some(new), stable, None) => {
                Ok(Said::Values { new: of(new), stable: stable.as_ref().map(of).unwrap_or_default() })
            }
            (_, _, _) => Err(format!("metric `{name}` has either `new`, perhaps with `stable`, or `fault`")),
        }
    }
}

/// The line's own counts as the gates ask them; nothing where they may not be used.
fn own(state: DataState, new: &Arm, stable: Option<&Arm>) -> Said {
    let nothing = |reason: &str| Said::Nothing { state, reason: reason.to_owned() };
    match state {
        DataState::Live | DataState::NoTraffic | DataState::Reset => {
            Said::Counts { new: new.clone(), stable: stable.cloned() }
        }
        DataState::Stale => nothing("the newest counts are too old"),
        DataState::OneSided => nothing("only one release was counted"),
        DataState::NoSeries => nothing("nothing was ever counted"),
    }
}

/// A number from outside in a finer unit.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn scaled(value: f64, factor: f64, max: f64, what: &str) -> Result<u64, String> {
    let scaled = (value * factor).round();
    if (0.0..=max).contains(&scaled) { Ok(scaled as u64) } else { Err(format!("{what}; found {value}")) }
}

/// What serde says, without its line, which is always the first.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let cut = if error.is_eof() { " (was it cut off?)" } else { "" };
    format!("{}, at column {}{cut}", shown(text), error.column())
}

/// Short, and without anything that could move a terminal's cursor.
fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
