//! One line of batches from outside: its form, and what is wrong with it.

use std::collections::BTreeMap;

use tidegate_core::{
    gate::{Arm, Number},
    judge::{Batch, DataState, MetricBatch, STRATA_MAX, Said, Stratum},
    model::{Millis, Share, Timestamp},
};

use super::form::{self, Counted, Line, Measured, Moment, Object, Side, Tally, Told, shown};

/// Where what the line itself counts is found by the gates: a histogram from outside lists all of its buckets, as a
/// metric's does, where the proxy's leaves empty ones out.
pub(super) const COUNTED: &str = "counts";

/// Where the gates on latency find it: the same, unless the line has no latencies.
pub(super) const TIMED: &str = "counts.latency_ms";

/// The last moment of the year 9999: what is later was not meant in milliseconds.
const AT_MAX: i64 = 253_402_300_799_999;

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
        let line = form::read(text)?;
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
        let new = line.new.0.arm(length, share)?;
        let stable = line.stable.as_ref().map(|stable| stable.0.arm(length, share.rest())).transpose()?;
        let state = line.state.unwrap_or_else(|| DataState::of(&new, stable.as_ref()));
        let ppm = |value: Option<f64>, what: &str| {
            value
                .map(|value| scaled(value, 1e6, 1e9, &format!("`{what}` is a part of 1, at most 1000")))
                .transpose()
        };
        let metrics = metrics(&line, state, &new, stable.as_ref(), (length, share))?;
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
            ends: line.ends,
            metrics,
            ..Batch::default()
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
        if !(0..=AT_MAX).contains(&at.0) {
            return Err(format!("`at` is {}, expected milliseconds since 1970, up to the year 9999", at.0));
        }
        let Some(before) = self.after else { return Ok(at) };
        if at <= before {
            return Err("`at` is not later than that of the batch before".to_owned());
        }
        // Clocks are not that exact; counts that overlap more are counted twice.
        if at.since(before).0 < length.0 / 2 {
            return Err(format!(
                "`at` is {} after the batch before, and the batch is {length} long: batches follow each other; `at` is in \
                 milliseconds, `seconds` is 1 unless it is there",
                at.since(before)
            ));
        }
        Ok(at)
    }

    fn share(self, written: Option<f64>, stage: usize) -> Result<Share, String> {
        let what = "`share` is the new release's part of the traffic: 0.05 for 5 %";
        match (written, self.shares.get(stage)) {
            (Some(share), _) if share > 0.0 && share < 1e-4 => {
                Err(format!("{what}; found {share:?}, and the smallest is 0.0001"))
            }
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
        let timed = latency_us.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        if timed > self.requests {
            return Err(format!(
                "`latency_ms` has {timed} of {} requests: each bucket has its own count, without those before it",
                self.requests
            ));
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
        let counts = |new: Arm, stable: Option<Arm>| {
            let strata = strata(&self.strata, &new, stable.as_ref())
                .map_err(|why| format!("metric `{name}`: {why}"))?;
            Ok(Said::Counts { new, stable, strata })
        };
        let counted = matches!((&self.new, &self.fault), (Some(Side::Counted(_)), None));
        if !counted && !self.strata.is_empty() {
            return Err(format!("metric `{name}` has `strata`, which are of counts, and no counts"));
        }
        match (&self.new, &self.stable, &self.fault) {
            (None, None, Some(fault)) => Ok(Said::Nothing {
                state: DataState::Stale,
                reason: format!("metric `{name}`: {}", shown(fault)),
            }),
            (Some(Side::Counted(Object(new))), None, None) => counts(new.arm(length, share)?, None),
            (Some(Side::Counted(Object(new))), Some(Side::Counted(Object(stable))), None) => {
                counts(new.arm(length, share)?, Some(stable.arm(length, share.rest())?))
            }
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

/// What the gates are told: the line's own counts, and every metric.
fn metrics(
    line: &Line,
    state: DataState,
    new: &Arm,
    stable: Option<&Arm>,
    (length, share): (Millis, Share),
) -> Result<Vec<MetricBatch>, String> {
    let batch = |metric: &str, said: Said| MetricBatch { metric: metric.to_owned(), said };
    let strata = strata(&line.strata, new, stable)?;
    let mut all =
        vec![batch(COUNTED, own(state, new, stable, strata)), batch(TIMED, timed(state, new, stable))];
    for (name, Object(measured)) in &line.metrics {
        if [COUNTED, TIMED].contains(&name.as_str()) {
            return Err(format!("`{name}` is the batch's own counts; give the metric another name"));
        }
        all.push(batch(name, measured.said(name, length, share)?));
    }
    Ok(all)
}

/// The line's own latencies. Requests without any are no evidence that they were fast.
fn timed(state: DataState, new: &Arm, stable: Option<&Arm>) -> Said {
    let untimed = |arm: &Arm| arm.requests > 0 && arm.latency_us.is_empty();
    if untimed(new) {
        let reason = "the batch has no `latency_ms` of the new release".to_owned();
        return Said::Nothing { state: DataState::NoSeries, reason };
    }
    own(state, new, stable.filter(|stable| !untimed(stable)), Vec::new())
}

/// The strata of counts, each among them and all together no more than they are.
fn strata(
    told: &BTreeMap<String, Object<Told>>,
    new: &Arm,
    stable: Option<&Arm>,
) -> Result<Vec<Stratum>, String> {
    if told.len() > STRATA_MAX {
        return Err(format!("`strata` are {}, and {STRATA_MAX} at most; leave out the smallest", told.len()));
    }
    let mut all = Vec::with_capacity(told.len());
    for (name, Object(told)) in told {
        let counts = |tally: Tally| (tally.requests, tally.failures);
        let theirs = told.stable.as_ref().map(|Object(tally)| *tally).unwrap_or_default();
        let Some(stratum) = Stratum::new(name, counts(told.new.0), counts(theirs)) else {
            return Err(format!(
                "stratum `{}` has more failures than requests: failures are among the requests",
                shown(name)
            ));
        };
        all.push(stratum);
    }
    if Stratum::are_among(&all, new, stable) {
        return Ok(all);
    }
    Err("`strata` have more than the release together: each request belongs to one stratum at most"
        .to_owned())
}

/// The line's own counts as the gates ask them; nothing where they may not be used.
fn own(state: DataState, new: &Arm, stable: Option<&Arm>, strata: Vec<Stratum>) -> Said {
    let nothing = |reason: &str| Said::Nothing { state, reason: reason.to_owned() };
    match state {
        DataState::Live | DataState::NoTraffic | DataState::Reset => {
            Said::Counts { new: new.clone(), stable: stable.cloned(), strata }
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
    if (0.0..=max).contains(&scaled) { Ok(scaled as u64) } else { Err(format!("{what}; found {value:?}")) }
}
