//! What users got before and after a deployment, in numbers.

use serde::Serialize;

use crate::{
    deployment::{Event, Recorded},
    gate::{Arm, Reading, ReleaseReading},
    model::{Millis, Share},
};

/// One period of one release with all the traffic that it had then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Period {
    /// Length, milliseconds.
    pub length_ms: Millis,
    /// Requests.
    pub requests: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Failed requests per request, 0 to 1; null without requests.
    pub error_rate: Option<f64>,
    /// Median time to answer, milliseconds; null without answers.
    pub latency_p50_ms: Option<f64>,
    /// 95th percentile.
    pub latency_p95_ms: Option<f64>,
    /// 99th percentile.
    pub latency_p99_ms: Option<f64>,
}

/// What users got from the stable release before the first exposure, and from the new one during the watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BeforeAndAfter {
    /// The stable release from the first reading to the first exposure; null when it had no traffic, or there was none.
    pub before: Option<Period>,
    /// The new release during the watch; null when there was no watch, or it did not end well.
    pub after: Option<Period>,
}

/// Both periods of a history.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other events carry no reading that opens or ends a period"
)]
pub(super) fn before_and_after(history: &[Recorded]) -> BeforeAndAfter {
    let mut found = BeforeAndAfter::default();
    let (mut initial, mut opened): (Option<&Reading>, Option<&Reading>) = (None, None);
    for recorded in history {
        match &recorded.event {
            Event::Initialised { reading } => initial = Some(reading),
            Event::Exposed { reading, .. } if found.before.is_none() => {
                found.before = initial
                    .and_then(|from| period(from, reading, from.stable.as_ref()?, reading.stable.as_ref()?));
                initial = None;
            }
            Event::WatchOpened { reading, .. } => opened = Some(reading),
            Event::WatchPassed { reading: Some(reading) } => {
                found.after = opened.and_then(|from| period(from, reading, &from.new, &reading.new));
            }
            _ => {}
        }
    }
    found
}

fn period(from: &Reading, to: &Reading, before: &ReleaseReading, after: &ReleaseReading) -> Option<Period> {
    let length = to.at.since(from.at);
    let arm = Arm::between(before, after, length, Share::ALL).ok().filter(|_| from.boot == to.boot)?;
    let quantile = |basis_points| arm.quantile_us(basis_points).map(|us| us as f64 / 1_000.0);
    (arm.requests > 0 && length > Millis::ZERO).then(|| Period {
        length_ms: length,
        requests: arm.requests,
        requests_per_second: arm.requests as f64 * 1_000.0 / length.0 as f64,
        error_rate: Some(arm.failures as f64 / arm.requests as f64),
        latency_p50_ms: quantile(5_000),
        latency_p95_ms: quantile(9_500),
        latency_p99_ms: quantile(9_900),
    })
}
