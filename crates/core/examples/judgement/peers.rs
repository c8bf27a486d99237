//! Failed requests of users until a bad release is turned back, beside simple models of how other tools decide: the rows of
//! the reference's table 3.3. The models follow the tools' code and documents; the tools themselves are not run.

mod models;

use tidegate_core::{judge::Settings, model::Millis};

use self::models::{MODELS, Outcome};
use crate::{
    chance::Dice,
    report::{Figure, Terms, mean, quantile, runs},
    service::{Service, Split, Stream, failed, gates, judge, warm},
};

/// Requests per second and failed share of the stable release, and failed shares of new releases; the first is healthy.
const SERVICES: [(f64, f64, &[f64]); 6] = [
    (100.0, 0.001, &[0.001, 0.002, 0.01, 0.05, 0.5]),
    (100.0, 0.01, &[0.01, 0.02, 0.05, 0.5]),
    (1_000.0, 0.001, &[0.001, 0.002, 0.01, 0.05, 0.5]),
    (1_000.0, 0.01, &[0.01, 0.02, 0.05, 0.5]),
    (10_000.0, 0.001, &[0.001, 0.002, 0.01, 0.05, 0.5]),
    (10_000.0, 0.01, &[0.01, 0.02, 0.05, 0.5]),
];
/// Part of the bad releases that a rule must turn back to be said to find them.
const FINDS: f64 = 0.95;
/// Part of the healthy releases that it may turn back to be said to tell them apart.
const APART: f64 = 0.10;

/// One policy on one row.
#[derive(Clone, Copy)]
struct Cell {
    turned_back: f64,
    median_s: f64,
    failed: f64,
    /// Standard error of `failed`.
    error: f64,
}

impl Cell {
    fn of(outcomes: &[Outcome]) -> Self {
        let found = outcomes.iter().filter_map(|outcome| outcome.after_s);
        let failed = mean(outcomes.iter().map(|outcome| outcome.failed as f64));
        let variance = mean(outcomes.iter().map(|outcome| (outcome.failed as f64 - failed).powi(2)));
        Self {
            turned_back: found.clone().count() as f64 / outcomes.len() as f64,
            median_s: quantile(found, 0.5),
            failed,
            error: (variance / outcomes.len() as f64).sqrt(),
        }
    }

    /// Whether this costs more than the other, beyond the chance of the runs: two standard errors.
    fn costs_more_than(self, other: Self) -> bool {
        self.failed - other.failed > 2.0 * self.error.hypot(other.error)
    }

    fn shown(self) -> String {
        let median = if self.median_s.is_nan() { "-".to_owned() } else { format!("{:.0}s", self.median_s) };
        format!("{:.0}% {median} {:.1}", self.turned_back * 100.0, self.failed)
    }
}

/// The tables and figures on failed requests.
pub(crate) fn figures(terms: Terms) -> Vec<Figure> {
    println!(
        "\nTurned back, median time, mean failed requests of the new release until then or until the end of the schedule"
    );
    println!("Tidegate: 3 x 10 min, warm instances, default gates; the others are models, see the guide");
    print!("    rps  base -> new   {:18}", "Tidegate");
    for (name, _) in MODELS {
        print!("{name:18}");
    }
    println!();
    let mut cheaper = Vec::new();
    for (rps, stable, new) in SERVICES {
        let mut healthy: Option<Vec<Cell>> = None;
        for new in new {
            let service = Service { rps, stable, new: *new };
            let cells = row(terms, service);
            shown(service, &cells);
            match &healthy {
                None => healthy = Some(cells),
                Some(healthy) => cheaper.extend(cheaper_peers(service, &cells, healthy)),
            }
        }
    }
    println!("rows on which a peer that finds at least 95 % has fewer failed requests:");
    for peer in &cheaper {
        println!("  {}", peer.line);
    }
    let worse = cheaper.iter().filter(|peer| peer.counts).count();
    println!(
        "of those, by a peer that tells the row apart (at most 10 % of the healthy releases), beyond chance: {worse}"
    );
    let peers = "models of the plain 1.1 x rule, Flagger, Argo Rollouts and a Kayenta-like judge, 3 x 10 min, 95 % found";
    let mut figures = failed_requests(terms);
    figures.push(Figure::at_most("worse_than_peer_rows", worse as f64, "rows", 0.0, peers));
    figures
}

fn shown(service: Service, cells: &[Cell]) {
    print!("{:7} {:5}% ->{:4}%  ", service.rps, service.stable * 100.0, service.new * 100.0);
    for cell in cells {
        print!("{:18}", cell.shown());
    }
    println!();
}

/// A model with fewer failed requests than Tidegate on a row that both find.
struct Cheaper {
    line: String,
    /// Whether it tells the row apart, and the difference is beyond chance.
    counts: bool,
}

fn cheaper_peers(service: Service, cells: &[Cell], healthy: &[Cell]) -> Vec<Cheaper> {
    let Some(ours) = cells.first().filter(|ours| ours.turned_back >= FINDS) else { return Vec::new() };
    let peers = MODELS.iter().zip(cells.iter().zip(healthy).skip(1));
    peers
        .filter(|(_, (peer, _))| peer.turned_back >= FINDS && ours.failed > peer.failed)
        .map(|((name, _), (peer, on_healthy))| Cheaper {
            line: format!(
                "{} rps {}% -> {}%: {:.1} against {:.1} of {name}, which turns back {:.0} % of the healthy releases too",
                service.rps,
                service.stable * 100.0,
                service.new * 100.0,
                ours.failed,
                peer.failed,
                on_healthy.turned_back * 100.0
            ),
            counts: on_healthy.turned_back <= APART && ours.costs_more_than(*peer),
        })
        .collect()
}

/// The two rows that have a goal of their own, with more runs, and what warming up makes of them.
fn failed_requests(terms: Terms) -> Vec<Figure> {
    let count = terms.runs(4_000, 400);
    let failing = |what, rps, new, settings: &Settings, length: u64| {
        let service = Service { rps, stable: 0.001, new };
        let outcomes =
            runs(count, |run| tidegate(Dice::new(terms.seed, what, run), service, settings, Millis(length)));
        let cell = Cell::of(&outcomes);
        let p95 = quantile(outcomes.iter().map(|outcome| outcome.after_s.unwrap_or(f64::INFINITY)), 0.95);
        println!("  {what:58} {:6.1} failed requests, median {} s, p95 {p95} s", cell.failed, cell.median_s);
        cell.failed
    };
    println!("Failed requests before a release is turned back, mean of {count} rollouts");
    let (warm, cold) = (warm(), Settings::default());
    let half = failing("50 % fail, 100 rps, warm instances", 100.0, 0.5, &warm, 1_000);
    failing("50 % fail, 100 rps, warm instances, 0.5 s batches", 100.0, 0.5, &warm, 500);
    failing("50 % fail, 100 rps, default warm-up", 100.0, 0.5, &cold, 1_000);
    failing("50 % fail, 100 rps, default warm-up, 0.5 s batches", 100.0, 0.5, &cold, 500);
    let few = failing("5 % fail, 1,000 rps, warm instances", 1_000.0, 0.05, &warm, 1_000);
    failing("5 % fail, 1,000 rps, warm instances, 0.5 s batches", 1_000.0, 0.05, &warm, 500);
    failing("5 % fail, 1,000 rps, default warm-up", 1_000.0, 0.05, &cold, 1_000);
    let timed = Settings { warmup_requests: u64::MAX, ..cold };
    failing("5 % fail, 1,000 rps, warm-up 30 s whatever the traffic", 1_000.0, 0.05, &timed, 1_000);
    let bound = "the goal; table 3.3 of the reference, 1 s batches, warm instances";
    vec![
        Figure::at_most("failed_50pct_100rps", half, "requests", 5.0, bound),
        Figure::at_most("failed_5pct_1000rps", few, "requests", 6.0, bound),
    ]
}

/// Tidegate first, then the models.
fn row(terms: Terms, service: Service) -> Vec<Cell> {
    let lane = |name: &str| format!("{name} {} {} {}", service.rps, service.stable, service.new);
    let dice = |name: &str, run| Dice::new(terms.seed, &lane(name), run);
    let quiet = service.new <= 2.0 * service.stable;
    let count = if quiet { terms.runs(300, 20) } else { terms.runs(1_000, 100) };
    let warm = warm();
    let ours = runs(count, |run| tidegate(dice("tidegate", run), service, &warm, Millis(1_000)));
    let theirs = MODELS.iter().map(|(name, model)| {
        Cell::of(&runs(terms.runs(1_000, 200), |run| model(&mut dice(name, run), service)))
    });
    std::iter::once(Cell::of(&ours)).chain(theirs).collect()
}

/// One rollout under the judge.
fn tidegate(dice: Dice, service: Service, settings: &Settings, length: Millis) -> Outcome {
    let gates = gates();
    // Only the first gate is asked at every batch: it is the one on errors. Whatever fails stays failed, so that the
    // others may be asked later.
    let first = gates.get(..1).unwrap_or_default();
    let mut judge = judge(settings, &gates, 1);
    let mut stream = Stream::new(dice, length);
    let mut lost = 0;
    let batches = 600_000 / length.0.max(1);
    for number in 0..3 * batches {
        let stage = usize::try_from(number / batches).unwrap_or(0);
        let batch = stream.next(service, stage, Split::Random, 1.0);
        lost += batch.new.failures;
        judge.take(batch);
        let asked = if number % 60 == 59 { &gates } else { first };
        if failed(&judge, asked, stage).is_some() {
            return Outcome { after_s: Some((number + 1) as f64 * length.0 as f64 / 1_000.0), failed: lost };
        }
    }
    Outcome { after_s: None, failed: lost }
}
