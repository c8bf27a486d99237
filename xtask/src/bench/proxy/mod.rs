//! `bench proxy`: our proxy beside nginx and HAProxy, doing the same 95/5 split on the same backend in the same run.
//!
//! Every proxy has one worker, alone on core 0; the backend and the load share core 1. So the rate is one divided by the
//! CPU time per request, and the proxies cannot help themselves to more. They take turns within each round, in an order
//! that rotates; a figure is the median over the rounds of the ratio within the round. A measurement during which others
//! used the machine is taken again while time allows.

mod bed;
mod ours;
mod rivals;
mod sample;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::figures::{Figure, median};
use crate::setup;
use crate::trial::{Terms, Trial};

use self::bed::{Bed, Proxy};
use self::sample::{Sample, Shape};

/// This bench.
pub(super) const TRIAL: Trial = Trial {
    name: "proxy",
    about: "the proxy against nginx and HAProxy: rate, CPU, latency, mirroring, TLS",
    run,
};

/// Requests per second in the fixed-rate part. The backend and the load need most of a core's time for 15,000: then a
/// millisecond in which that core stands still takes six to make up for, and the latency tells how busy that core is, not
/// what the proxy does. At a third of it no core is busy for more than half of the time.
const FIXED_RATE: u64 = 5_000;
const AT_FIXED_RATE: &str = "5,000/s";
/// More of the machine than this used by others, in cores, makes a measurement worth taking again. Interrupts alone make
/// up to 0.2.
const FOREIGN_CORES_MAX: f64 = 0.35;
/// Rounds of the full form.
const ROUNDS_FULL: u32 = 7;
/// Time for measuring, repeated measurements included. The short form ends within 50 s, starting everything included.
const SHORT_MAX: Duration = Duration::from_secs(43);
const FULL_MAX: Duration = Duration::from_mins(10);
/// Times that one measurement is taken at most.
const TRIES_MAX: usize = 3;
/// Share of the canary in percent, and how far from it a proxy may be before its numbers mean something else.
const CANARY_PERCENT: f64 = 5.0;
const CANARY_PERCENT_OFF_MAX: f64 = 1.5;

/// One kind of load, and who has to bear it.
struct Part {
    what: &'static str,
    shape: Shape,
    who: &'static [Proxy],
    /// Length of one measurement.
    length: Duration,
    /// Rounds that it takes part in: fewer where the figure is far from its goal.
    rounds: u32,
}

/// What was measured of one proxy in one part, a sample per round.
struct Series {
    what: &'static str,
    who: Proxy,
    samples: Vec<Sample>,
}

/// Everything that was measured.
struct Results(Vec<Series>);

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("the bench needs two cores: one for the proxy, one for the backend and the load");
    }
    setup::for_benches()?;
    let bed = Bed::open()?;
    let started = Instant::now();
    let results = measure(&bed, terms, started)?;
    results.print();
    bed.check_split()?;
    results.figures()
}

/// The loads; longer ones, and more of them, when there is time.
fn parts(short: bool) -> [Part; 4] {
    let seconds = |short_s, full_s| Duration::from_secs(if short { short_s } else { full_s });
    let rounds = |of_short| if short { of_short } else { ROUNDS_FULL };
    // Neither nginx's mirroring nor HAProxy at a fixed rate has a figure of its own.
    let (as_fast_as_it_goes, at_fixed_rate): (&[Proxy], &[Proxy]) = if short {
        (&[Proxy::Nginx, Proxy::Haproxy, Proxy::Ours, Proxy::OursMirror], &[Proxy::Nginx, Proxy::Ours])
    } else {
        (
            &[Proxy::Nginx, Proxy::Haproxy, Proxy::Ours, Proxy::NginxMirror, Proxy::OursMirror],
            &[Proxy::Nginx, Proxy::Haproxy, Proxy::Ours],
        )
    };
    [
        Part {
            what: "1 kB",
            shape: Shape::Closed { path: "/" },
            who: as_fast_as_it_goes,
            length: seconds(1, 4),
            rounds: rounds(5),
        },
        Part {
            what: AT_FIXED_RATE,
            shape: Shape::Open { rate: FIXED_RATE },
            who: at_fixed_rate,
            length: seconds(1, 4),
            rounds: rounds(7),
        },
        Part {
            what: "TLS",
            shape: Shape::Closed { path: "/" },
            who: &[Proxy::NginxTls, Proxy::OursTls],
            length: seconds(1, 4),
            rounds: rounds(2),
        },
        Part {
            what: "100 kB",
            shape: Shape::Closed { path: "/big" },
            who: &[Proxy::Nginx, Proxy::Ours],
            length: seconds(1, 4),
            rounds: rounds(1),
        },
    ]
}

fn measure(bed: &Bed, terms: &Terms, started: Instant) -> anyhow::Result<Results> {
    let time_max = if terms.short { SHORT_MAX } else { FULL_MAX };
    let parts = parts(terms.short);
    let planned: Duration =
        parts.iter().map(|part| part.length * part.rounds * u32::try_from(part.who.len()).unwrap_or(0)).sum();
    let mut spare = time_max.saturating_sub(planned);
    let mut results = Results::new(&parts);
    let rounds = parts.iter().map(|part| part.rounds).max().unwrap_or(0);
    for round in 0..rounds {
        for part in parts.iter().filter(|part| round < part.rounds) {
            let mut turn = part.who.to_vec();
            let offset = terms.seed.wrapping_add(round.into()) % turn.len() as u64;
            turn.rotate_left(usize::try_from(offset)?);
            for who in turn {
                let sample = quiet_sample(bed, part, who, &mut spare)?;
                results.add(part.what, who, sample);
            }
        }
        eprintln!("round {} of {rounds}, {} s", round + 1, started.elapsed().as_secs());
    }
    Ok(results)
}

/// Measures; and again when others used the machine, as long as there is time to spare. The quietest one counts.
fn quiet_sample(bed: &Bed, part: &Part, who: Proxy, spare: &mut Duration) -> anyhow::Result<Sample> {
    let mut best = sample::take(bed, who, part.shape, part.length)?;
    for _ in 1..TRIES_MAX {
        if best.foreign_cores <= FOREIGN_CORES_MAX || *spare < part.length {
            break;
        }
        *spare -= part.length;
        let next = sample::take(bed, who, part.shape, part.length)?;
        if next.foreign_cores < best.foreign_cores {
            best = next;
        }
    }
    Ok(best)
}

impl Results {
    fn new(parts: &[Part]) -> Self {
        let series = |part: &Part, who: &Proxy| Series { what: part.what, who: *who, samples: Vec::new() };
        Self(parts.iter().flat_map(|part| part.who.iter().map(move |who| series(part, who))).collect())
    }

    fn add(&mut self, what: &str, who: Proxy, sample: Sample) {
        let series = self.0.iter_mut().find(|series| series.what == what && series.who == who);
        if let Some(series) = series {
            series.samples.push(sample);
        }
    }

    fn of(&self, what: &str, who: Proxy) -> &[Sample] {
        let series = self.0.iter().find(|series| series.what == what && series.who == who);
        series.map_or(&[], |series| series.samples.as_slice())
    }

    /// The median over the rounds of one proxy's number divided by another's.
    fn ratio(&self, what: &str, (ours, other): (Proxy, Proxy), number: fn(&Sample) -> f64) -> f64 {
        let pairs = self.of(what, ours).iter().zip(self.of(what, other));
        median(pairs.map(|(ours, other)| number(ours) / number(other)))
    }

    fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        let rate = |what, pair| self.ratio(what, pair, |sample| sample.rate);
        let pair = (Proxy::Ours, Proxy::Nginx);
        let cpu = self.ratio("1 kB", pair, |sample| sample.cpu_us);
        let p99 = self.ratio(AT_FIXED_RATE, pair, |sample| sample.p99_us);
        let mirror_cost = 100.0 * (1.0 - rate("1 kB", (Proxy::OursMirror, Proxy::Ours)));
        if !self.of("1 kB", Proxy::NginxMirror).is_empty() {
            let mirror_nginx = 100.0 * (1.0 - rate("1 kB", (Proxy::NginxMirror, Proxy::Nginx)));
            println!("mirroring 10 % costs nginx {mirror_nginx:.1} % of its rate in the same run");
        }
        Ok(vec![
            Figure::new("rate_vs_nginx", rate("1 kB", pair), "ratio", ">= 1.0", "nginx")?,
            Figure::new(
                "rate_vs_haproxy",
                rate("1 kB", (Proxy::Ours, Proxy::Haproxy)),
                "ratio",
                ">= 0.9",
                "haproxy",
            )?,
            Figure::new("cpu_vs_nginx", cpu, "ratio", "<= 1.05", "nginx")?,
            Figure::new("p99_vs_nginx", p99, "ratio", "<= 1.1", &format!("nginx at {AT_FIXED_RATE}"))?,
            Figure::new("mirror_cost", mirror_cost, "%", "<= 12", "own rate without mirroring")?,
            Figure::new(
                "tls_vs_nginx",
                rate("TLS", (Proxy::OursTls, Proxy::NginxTls)),
                "ratio",
                ">= 1.0",
                "nginx",
            )?,
            Figure::new("body100k_vs_nginx", rate("100 kB", pair), "ratio", ">= 1.0", "nginx")?,
        ])
    }

    fn print(&self) {
        println!(
            "{:<9} {:<13} {:>9} {:>8} {:>8} {:>8} {:>9}",
            "load", "proxy", "req/s", "p50 us", "p99 us", "of all", "CPU us"
        );
        for Series { what, who, samples } in &self.0 {
            let middle = |number: fn(&Sample) -> f64| median(samples.iter().map(number));
            println!(
                "{what:<9} {:<13} {:>9.0} {:>8.0} {:>8.0} {:>8.0} {:>9.2}",
                who.name(),
                middle(|sample| sample.rate),
                middle(|sample| sample.p50_us),
                middle(|sample| sample.p99_us),
                middle(|sample| sample.p99_of_all_us),
                middle(|sample| sample.cpu_us)
            );
        }
        let all = || self.0.iter().flat_map(|series| &series.samples);
        let disturbed = all().filter(|sample| sample.foreign_cores > FOREIGN_CORES_MAX).count();
        let worst = all().map(|sample| sample.foreign_cores).fold(0.0, f64::max);
        println!(
            "others used more than {FOREIGN_CORES_MAX} cores during {disturbed} of {} measurements, at worst {worst:.2}",
            all().count()
        );
    }
}

/// Whether a canary's share of the answers is what was asked for.
fn share_is_right(canary: u64, all: u64) -> anyhow::Result<()> {
    if all == 0 {
        bail!("no answers");
    }
    let percent = 100.0 * canary as f64 / all as f64;
    if (percent - CANARY_PERCENT).abs() > CANARY_PERCENT_OFF_MAX {
        bail!("the canary got {percent:.2} % of the answers instead of {CANARY_PERCENT} %");
    }
    Ok(())
}

impl Bed {
    /// Our own counters say the same as the answers: the split is right, and copies really went to the shadow.
    fn check_split(&self) -> anyhow::Result<()> {
        let report = self.ours.counters()?;
        let requests = |release| {
            let releases = named(report.get("services")?, "service", "plain")?.get("releases")?;
            named(releases, "release", release)?.get("requests")?.as_u64()
        };
        let canary = requests("canary").context("the proxy counted no canary")?;
        let stable = requests("stable").context("the proxy counted no stable release")?;
        share_is_right(canary, canary + stable).context("our proxy's own counters")?;
        let mirrored = || {
            let service = named(report.get("services")?, "service", "mirror")?;
            service.get("mirror")?.get("answered")?.as_u64()
        };
        if mirrored().unwrap_or(0) == 0 {
            bail!("the proxy mirrored nothing: {report}");
        }
        Ok(())
    }
}

/// The object in a list whose field has this value.
fn named<'a>(list: &'a Value, field: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|one| one.get(field).is_some_and(|found| found == value))
}
