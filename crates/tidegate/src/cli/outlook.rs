//! What `plan` says can be seen: the traffic that it is worked out for, and where its numbers come from.

use std::time::Duration;

use clap::Args;
use tidegate_core::{
    judge::{
        Batch,
        outlook::{Load, Outlook},
    },
    plan::Plan,
};
use tidegate_engine::{
    evidence,
    journal::{Filter, History, SqliteReader},
};
use tidegate_proxy::protocol::{CountersReport, ReleaseCounters};

use super::{Common, process::node};
use crate::{fault::Fault, render};

/// Deployments of the service that are looked through for evidence, newest first.
const LOOKED_AT: usize = 20;

/// The proxy is asked twice, so long apart.
const APART: Duration = Duration::from_secs(1);

/// Failed share that is assumed when nobody says one, and nothing was measured.
const FAILED_USUAL: f64 = 0.001;

/// Traffics that a plan is shown for when the real one is not known.
const EXAMPLES: [f64; 4] = [10.0, 100.0, 1_000.0, 10_000.0];

/// The traffic, where it is not to be measured.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct TrafficArgs {
    /// Requests per second of all users; default: as measured.
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    rps: Option<f64>,
    /// Share of the stable release's requests that fail, such as 0.1% or 0.001; default: as measured.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    error_rate: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        Ok(_) | Err(_) => Err("a number above 0 is needed".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) =
        text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |percent| (percent.trim(), 0.01));
    match number.parse::<f64>().map(|number| number * scale) {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share from 0 to below 1 is needed, such as 0.001 or 0.1%".to_owned()),
    }
}

/// What a plan can see, with where its traffic comes from.
pub(super) enum Sight {
    /// The plan asks nothing of errors.
    Nothing,
    /// At the traffic that was given or measured.
    Known(Box<Outlook>, String),
    /// At several, because the traffic is not known.
    Unknown(f64, Vec<Outlook>),
}

impl Sight {
    pub(super) fn text(&self, plan: &Plan) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Known(outlook, from) => render::outlook(plan, outlook, from),
            Self::Unknown(failed, outlooks) => render::unknown_traffic(*failed, outlooks),
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Nothing => serde_json::Value::Null,
            Self::Known(outlook, from) => serde_json::json!({ "traffic": from, "seen": outlook }),
            Self::Unknown(_, outlooks) => serde_json::json!({ "traffic": "unknown", "examples": outlooks }),
        }
    }
}

/// What this plan can see.
pub(super) async fn sight(common: &Common, plan: &Plan, given: &TrafficArgs) -> Result<Sight, Fault> {
    if plan.way_back {
        return Ok(Sight::Nothing);
    }
    let measured = match (given.rps, given.error_rate) {
        // Latencies are worth a look at the journal, not a second of waiting.
        (Some(_), Some(_)) => journal(common, plan).await?,
        _ => measure(common, plan).await?,
    };
    let Some((load, from)) = loaded(given, measured) else {
        let failed_share = given.error_rate.unwrap_or(FAILED_USUAL);
        let at = |requests_per_s| Load { requests_per_s, failed_share, latency_us: Vec::new() };
        let outlooks: Vec<Outlook> = EXAMPLES.iter().filter_map(|rps| Outlook::of(plan, &at(*rps))).collect();
        return Ok(if outlooks.is_empty() { Sight::Nothing } else { Sight::Unknown(failed_share, outlooks) });
    };
    Ok(Outlook::of(plan, &load).map_or(Sight::Nothing, |outlook| Sight::Known(Box::new(outlook), from)))
}

/// What was given goes before what was measured.
fn loaded(given: &TrafficArgs, measured: Option<(Load, String)>) -> Option<(Load, String)> {
    let (load, from) = measured.map_or((None, None), |(load, from)| (Some(load), Some(from)));
    let requests_per_s = given.rps.or(load.as_ref().map(|load| load.requests_per_s))?;
    let failed = given.error_rate.or(load.as_ref().map(|load| load.failed_share));
    let said = match (given.rps.is_some(), given.error_rate.is_some(), from) {
        (true, true, _) => "as given".to_owned(),
        (true, false, Some(from)) => format!("requests as given, failures {from}"),
        (true, false, None) => "requests as given, failures assumed: give --error-rate".to_owned(),
        (false, true, Some(from)) => format!("failures as given, requests {from}"),
        (false, _, from) => from.unwrap_or_default(),
    };
    let failed_share = failed.unwrap_or(FAILED_USUAL);
    Some((
        Load { requests_per_s, failed_share, latency_us: load.map_or_else(Vec::new, |l| l.latency_us) },
        said,
    ))
}

async fn measure(common: &Common, plan: &Plan) -> Result<Option<(Load, String)>, Fault> {
    match journal(common, plan).await? {
        Some(found) => Ok(Some(found)),
        None => Ok(proxy(common, plan).await),
    }
}

/// The traffic of the newest deployment whose evidence is kept.
async fn journal(common: &Common, plan: &Plan) -> Result<Option<(Load, String)>, Fault> {
    let Some(reader) = common.client()?.journal()? else { return Ok(None) };
    let filter = Filter { service: Some(plan.service.clone()), limit: Some(LOOKED_AT), ..Filter::default() };
    for kept in reader.deployments(filter).await.map_err(Fault::world)? {
        if kept.row.environment != plan.environment {
            continue;
        }
        if let Some(load) = Load::of(&batches(&reader, &kept.deployment).await) {
            return Ok(Some((load, format!("as measured in {}", kept.deployment))));
        }
    }
    Ok(None)
}

/// Every batch of a deployment that is kept; none when they cannot be read: a plan does not need them.
async fn batches(reader: &SqliteReader, deployment: &str) -> Vec<Batch> {
    let chunks = evidence::chunks(reader, deployment).await.unwrap_or_default();
    chunks.into_iter().flat_map(|(_, chunk)| chunk.batches).collect()
}

/// What the proxy carries now, when one runs.
async fn proxy(common: &Common, plan: &Plan) -> Option<(Load, String)> {
    let node = node(&common.place().ok()?).ok()?;
    let first = node.counters(&plan.service).await.ok()?;
    tokio::time::sleep(APART).await;
    let second = node.counters(&plan.service).await.ok()?;
    let load = between(&first, &second, plan)?;
    Some((load, "as the proxy carries it now".to_owned()))
}

/// Requests of the second between two reports; failures and latencies of the stable release since the proxy's start.
fn between(first: &CountersReport, second: &CountersReport, plan: &Plan) -> Option<Load> {
    let all = |report: &CountersReport| -> u64 { releases(report, plan).map(|one| one.requests).sum() };
    let requests = all(second).checked_sub(all(first)).filter(|_| first.boot == second.boot)?;
    let ms = u64::try_from(second.at_unix_ms.saturating_sub(first.at_unix_ms)).ok()?;
    let stable = plan
        .stable
        .as_ref()
        .and_then(|stable| releases(second, plan).find(|one| one.release == stable.tag))?;
    let failures = &stable.failures;
    let failed =
        [failures.server_error, failures.connect, failures.reset, failures.timeout, failures.unavailable];
    (requests > 0 && ms > 0).then(|| Load {
        requests_per_s: requests as f64 * 1_000.0 / ms as f64,
        failed_share: failed.iter().sum::<u64>() as f64 / stable.requests.max(1) as f64,
        latency_us: stable.latency_us.clone(),
    })
}

fn releases<'a>(report: &'a CountersReport, plan: &'a Plan) -> impl Iterator<Item = &'a ReleaseCounters> {
    report.services.iter().filter(|one| one.service == plan.service).flat_map(|one| &one.releases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(rps: Option<f64>, error_rate: Option<f64>) -> TrafficArgs {
        TrafficArgs { rps, error_rate }
    }

    #[test]
    fn what_was_given_goes_before_what_was_measured() {
        let measured = || {
            let load = Load { requests_per_s: 50.0, failed_share: 0.2, latency_us: vec![(1_000, 7)] };
            Some((load, "as measured in shop-1".to_owned()))
        };
        let (load, from) = loaded(&given(Some(400.0), None), measured()).unwrap();
        assert_eq!((load.requests_per_s, load.failed_share, load.latency_us.len()), (400.0, 0.2, 1));
        assert_eq!(from, "requests as given, failures as measured in shop-1");
        let (load, from) = loaded(&given(None, None), measured()).unwrap();
        assert_eq!((load.requests_per_s, from.as_str()), (50.0, "as measured in shop-1"));
        let (load, from) = loaded(&given(Some(9.0), None), None).unwrap();
        assert!((load.failed_share - FAILED_USUAL).abs() < 1e-12 && from.contains("assumed"), "{from}");
        assert_eq!(loaded(&given(None, Some(0.1)), None), None);
    }

    #[test]
    fn shares_are_read_as_parts_or_percent() {
        assert_eq!(share("0.25"), Ok(0.25));
        assert!(share("0.1%").is_ok_and(|share| (share - 0.001).abs() < 1e-12));
        for bad in ["1", "-0.1", "NaN", "150%", "x", "inf"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert!(positive("0").is_err() && positive("inf").is_err() && positive("2.5").is_ok());
    }
}
