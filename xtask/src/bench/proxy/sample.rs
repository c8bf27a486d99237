//! One measurement: load on one proxy for a while, and what it cost.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::bench::load::LoadReport;
use crate::bench::machine::{self, pinned};
use crate::{package, step};

use super::bed::{Bed, OTHER_CORE, Proxy};
use super::share_is_right;

/// Connections of the load.
const CONNECTIONS: u64 = 64;

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// As fast as they are answered, by wrk.
    Closed {
        /// What is asked for.
        path: &'static str,
    },
    /// At fixed times, by our own generator.
    Open {
        /// Requests per second.
        rate: u64,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Requests answered per second.
    pub(super) rate: f64,
    /// Median latency, microseconds.
    pub(super) p50_us: f64,
    /// 99th percentile, microseconds; at a fixed rate that of the usual tenth of a second.
    pub(super) p99_us: f64,
    /// 99th percentile of all requests together, microseconds.
    pub(super) p99_of_all_us: f64,
    /// CPU time of the proxy per request, microseconds.
    pub(super) cpu_us: f64,
    /// Cores that others used meanwhile, interrupts included.
    pub(super) foreign_cores: f64,
}

/// What the load itself reports.
#[derive(Debug, PartialEq)]
struct Load {
    requests: f64,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    p99_of_all_us: f64,
}

/// CPU time used so far: by the proxy, by the rest of the bench; and by nobody.
struct Used {
    proxy: Duration,
    bench: Duration,
    idle: Duration,
}

/// Measures.
pub(super) fn take(bed: &Bed, who: Proxy, shape: Shape, length: Duration) -> anyhow::Result<Sample> {
    let before = Used::so_far(bed, who)?;
    let started = Instant::now();
    let load = match shape {
        Shape::Closed { path } => closed(bed, who, path, length),
        Shape::Open { rate } => open(bed, who, rate, length),
    };
    let load = load.with_context(|| format!("load on {}", who.name()))?;
    let elapsed = started.elapsed();
    let used = Used::so_far(bed, who)?.since(&before);
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let foreign = (elapsed * cores).saturating_sub(used.idle + used.proxy + used.bench);
    Ok(Sample {
        rate: load.rate,
        p50_us: load.p50_us,
        p99_us: load.p99_us,
        p99_of_all_us: load.p99_of_all_us,
        cpu_us: used.proxy.as_secs_f64() * 1e6 / load.requests,
        foreign_cores: foreign.as_secs_f64() / elapsed.as_secs_f64(),
    })
}

impl Used {
    fn so_far(bed: &Bed, who: Proxy) -> anyhow::Result<Self> {
        Ok(Self {
            proxy: bed.server(who).cpu()?,
            bench: bed.backend.cpu()? + machine::own()?,
            idle: machine::idle()?,
        })
    }

    fn since(self, before: &Self) -> Self {
        Self {
            proxy: self.proxy.saturating_sub(before.proxy),
            bench: self.bench.saturating_sub(before.bench),
            idle: self.idle.saturating_sub(before.idle),
        }
    }
}

fn closed(bed: &Bed, who: Proxy, path: &str, length: Duration) -> anyhow::Result<Load> {
    let scheme = if who.is_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{}{path}", bed.addresses.of(who));
    let mut command = pinned(OTHER_CORE, &machine::installed("wrk")?);
    command.args([
        "-t1",
        &format!("-c{CONNECTIONS}"),
        &format!("-d{}s", length.as_secs()),
        "--latency",
        &url,
    ]);
    let said = step::capture(&mut command)?;
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        bail!("not every request was answered with 2xx:\n{said}");
    }
    wrk_report(&said).with_context(|| format!("could not understand wrk:\n{said}"))
}

/// Reads what wrk prints with `--latency`.
fn wrk_report(said: &str) -> Option<Load> {
    let value = |label: &str| {
        said.lines().find_map(|line| line.trim().strip_prefix(label).map(|rest| rest.trim().to_owned()))
    };
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let p99_us = microseconds(&value("99%")?)?;
    Some(Load {
        requests,
        rate: value("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(&value("50%")?)?,
        p99_us,
        p99_of_all_us: p99_us,
    })
}

/// Reads `812.00us`, `1.77ms`, `1.02s`.
fn microseconds(text: &str) -> Option<f64> {
    let scales = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    scales.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
}

fn open(bed: &Bed, who: Proxy, rate: u64, length: Duration) -> anyhow::Result<Load> {
    let mut command = pinned(OTHER_CORE, &package::built("release", "xtask")?);
    command.args(["load", "--address", &bed.addresses.of(who).to_string()]);
    command.args(["--rate", &rate.to_string(), "--connections", &CONNECTIONS.to_string()]);
    command.args(["--milliseconds", &length.as_millis().to_string()]);
    let report: LoadReport = serde_json::from_str(&step::capture(&mut command)?)?;
    if report.failed > 0 {
        bail!("{} requests of {rate}/s had no good answer", report.failed);
    }
    share_is_right(report.canary, report.answered)?;
    let requests = rate as f64 * length.as_secs_f64();
    Ok(Load {
        requests,
        rate: requests / length.as_secs_f64(),
        p50_us: report.p50_us.into(),
        p99_us: report.p99_us.into(),
        p99_of_all_us: report.p99_of_all_us.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_wrk_is_read() {
        let said = "Running 2s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   401.77us    1.02ms  22.72ms   98.92%
    Req/Sec   190.51k    11.29k  213.51k    85.00%
  Latency Distribution
     50%  314.00us
     75%  350.00us
     90%  423.00us
     99%    1.77ms
  379124 requests in 2.00s, 418.61MB read
Requests/sec: 189443.52
Transfer/sec:    209.17MB
";
        let wanted = Load {
            requests: 379_124.0,
            rate: 189_443.52,
            p50_us: 314.0,
            p99_us: 1_770.0,
            p99_of_all_us: 1_770.0,
        };
        assert_eq!(wrk_report(said), Some(wanted));
        assert_eq!(wrk_report("unable to connect"), None);
    }
}
