//! `backtest`: gates asked about the past, before they are enabled.
//!
//! Three questions: what would they have decided about past rollouts, how often do they turn back the stable release when
//! it is compared with itself (A/A), and how did the rollbacks that really happened turn out.

mod aa;
mod past;
mod prometheus;

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tidegate_core::{
    gate::{Gate, Mode, Rule},
    judge::{Bench, Learned},
    model::{Millis, Share},
};

pub(crate) use aa::Trials;

pub(crate) use past::{Calibration, Rollout};

use super::{Common, control::known_service, out::say, print_json, project};
use crate::{
    compose, config,
    fault::{Exit, Fault},
    render,
};

/// Deployments that are looked at, newest first.
const DEPLOYMENTS_MAX: usize = 200;

/// A day of an hour each, for four weeks.
const HOURS_MAX: u64 = 672;

#[derive(Args)]
pub(super) struct BacktestArgs {
    /// Only deployments of this service; default: the only one of the configuration, else all.
    #[arg(long)]
    service: Option<String>,
    /// Only these deployments.
    #[arg(long, value_name = "ID")]
    deployment: Vec<String>,
    /// The gates to ask, as `tidegate judge` reads them; default: those of the configuration.
    #[arg(long, value_name = "FILE")]
    gates: Option<PathBuf>,
    /// Imagined rollouts of the stable release against itself.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    trials: u32,
    /// Seed of the imagined rollouts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ask a Prometheus for the past instead of the journal: its address.
    #[arg(long, value_name = "URL", requires = "requests", requires = "failures")]
    prometheus: Option<String>,
    /// Selector of the counters of all requests, such as `http_requests_total{app="shop"}`.
    #[arg(long, value_name = "SELECTOR", requires = "prometheus", value_parser = config::selector)]
    requests: Option<String>,
    /// Selector of the counters of failed ones.
    #[arg(long, value_name = "SELECTOR", requires = "prometheus", value_parser = config::selector)]
    failures: Option<String>,
    /// The label that names an instance.
    #[arg(long, value_name = "LABEL", default_value = "instance", requires = "prometheus")]
    instance_label: String,
    /// How many hours back; in every hour another instance plays the canary.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=HOURS_MAX), requires = "prometheus")]
    hours: u64,
    /// Length of one batch, seconds: not shorter than the scrape interval.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600), requires = "prometheus")]
    step: u64,
}

/// What a backtest found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// Past rollouts, newest first.
    pub(crate) past: Vec<Rollout>,
    /// The stable release against itself; nothing without enough evidence of it.
    pub(crate) against_itself: Vec<Trials>,
    /// What was learned of how the service varies by itself.
    pub(crate) learned: Option<Learned>,
    /// How the rollbacks that happened turned out.
    pub(crate) calibration: Option<Calibration>,
    /// What a reader should know.
    pub(crate) notes: Vec<String>,
}

pub(super) async fn backtest(common: &Common, args: BacktestArgs) -> Result<Exit, Fault> {
    let wanted = wanted(common, &args)?;
    if wanted.bench.as_ref().is_some_and(|bench| bench.gates.is_empty()) {
        return Err(Fault::refuse("every gate is off: nothing would be asked"));
    }
    if let (Some(service), None) = (&args.service, &args.prometheus) {
        known_service(&common.client()?, service).await?;
    }
    let found = match &args.prometheus {
        Some(url) => prometheus::hours(url, &args, &asked_always(wanted.bench)).await?,
        None => past::journal(common, &args, wanted).await?,
    };
    if common.json {
        print_json(&found)?;
    } else {
        say!("{}", render::backtest(&found));
    }
    Ok(Exit::Success)
}

/// Which deployments, and the gates that they are asked with.
struct Wanted {
    service: Option<String>,
    /// Nothing: every deployment's own.
    bench: Option<Bench>,
}

fn wanted(common: &Common, args: &BacktestArgs) -> Result<Wanted, Fault> {
    if let Some(path) = &args.gates {
        let judged =
            config::load_judged(path).map_err(|rejected| Fault::refuse(project::rejection(&rejected)))?;
        let bench = Bench {
            settings: judged.judgement.settings(),
            gates: compose::gates(&judged.gates, &judged.judgement)?,
            shares: shares(&judged.shares)?,
            instances: 1,
            horizon: None,
        };
        return Ok(Wanted { service: args.service.clone(), bench: Some(bench) });
    }
    if common.config_path()?.is_none() {
        return Ok(Wanted { service: args.service.clone(), bench: None });
    }
    let config = common.config()?;
    let named = match (&args.service, config.services.len()) {
        (Some(named), _) => Some(named.clone()),
        (None, 1) => config.services.keys().next().cloned(),
        (None, _) => None,
    };
    let service = named.as_ref().and_then(|name| config.services.get(name));
    let bench = match service {
        Some(service) => Some(Bench {
            settings: service.judgement.settings(),
            gates: compose::gates(&service.gates, &service.judgement)?,
            shares: Vec::new(),
            instances: service.run.instances,
            horizon: None,
        }),
        None => None,
    };
    Ok(Wanted { service: named, bench })
}

fn shares(points: &[u16]) -> Result<Vec<Share>, Fault> {
    points.iter().map(|points| Share::from_basis_points(*points).map_err(Fault::caller)).collect()
}

/// Without gates of one's own: the standard ones, by evidence.
fn asked_always(bench: Option<Bench>) -> Bench {
    bench.unwrap_or_else(|| {
        let usual = Bench {
            settings: tidegate_core::judge::Settings::default(),
            gates: tidegate_core::gate::standard_gates(),
            shares: Vec::new(),
            instances: 1,
            horizon: None,
        };
        usual.sequential()
    })
}

/// The gates that can be asked of a release that is compared with itself at another moment: how much traffic came then
/// says nothing.
fn of_itself(bench: &Bench, latencies: bool) -> Bench {
    let asks = |gate: &&Gate| {
        gate.metric.is_none()
            && match gate.rule {
                Rule::ErrorRate { .. } => true,
                Rule::Latency { .. } | Rule::LatencyShift { .. } | Rule::Cpu { .. } => latencies,
                Rule::Memory { .. }
                | Rule::RequestRate { .. }
                | Rule::Instances
                | Rule::Goal { .. }
                | Rule::Shadow { .. }
                | Rule::Metric(_)
                | Rule::Analysis(_) => false,
            }
    };
    let mut settings = bench.settings.clone();
    // The stable release is warm.
    settings.warmup = Millis::ZERO;
    Bench {
        gates: bench.gates.iter().filter(asks).cloned().collect(),
        settings,
        horizon: None,
        ..bench.clone()
    }
}

/// How the gates ask, in words.
fn mode(bench: &Bench) -> &'static str {
    if bench.gates.iter().all(|gate| gate.mode == Mode::Threshold) { "plain" } else { "by evidence" }
}
