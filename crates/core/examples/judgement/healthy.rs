//! How often a release that is healthy, or exactly at the tolerated limit, is turned back within three stages of ten minutes.

use std::collections::BTreeMap;

use tidegate_core::{judge::Settings, model::Millis};
use tidegate_statistics::{Arm, Dispersion, InstanceSpread};

use crate::{
    chance::{Dice, whole},
    report::{Figure, Terms, runs},
    service::{Service, Split, Stream, failed, gates, judge},
};

/// Seconds of a stage.
const STAGE_S: u64 = 600;
/// Stable instances of a service whose instances differ.
const INSTANCES: u32 = 20;
/// New instances in each stage of such a service.
const NEW_INSTANCES: [usize; 3] = [1, 5, 10];
/// Seconds of the stable release's own past that dispersion and spread are learned from.
const LEARNED_S: u64 = 600;
/// How many times as much as the stable release the new one may fail.
const TOLERATED: f64 = 1.1;

/// What happens to a healthy release.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// Nothing.
    None,
    /// Failures come in bursts of this mean size; their dispersion is learned before, or not.
    Bursts { mean: f64, learned: bool },
    /// Instances differ by this standard deviation of the logarithm of their failed share. The margin is widened by so many
    /// times the shipped rule's; 0 not at all.
    Spread { tau: f64, widened: f64 },
    /// Both releases fail a fifth of their requests for two minutes.
    Outage,
    /// The new instances fail 2 % in the first 20 seconds of the first stage. Warming up ends after 30 s, or after the
    /// default number of requests too.
    Cold { requests: bool },
    /// As `Cold` by time only, and in every stage, for the part of the instances that is new in it.
    ColdEveryStage,
}

/// One kind of rollout.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    service: Service,
    trouble: Trouble,
}

/// How a rollout ended.
type Ending = Option<String>;

const fn case(name: &'static str, rps: f64, stable: f64, ratio: f64, trouble: Trouble) -> Case {
    Case { name, service: Service { rps, stable, new: stable * ratio }, trouble }
}

const PLAIN: [Case; 6] = [
    case("100 rps, 0.1 %", 100.0, 0.001, 1.0, Trouble::None),
    case("100 rps, 1 %", 100.0, 0.01, 1.0, Trouble::None),
    case("1,000 rps, 0.1 %", 1_000.0, 0.001, 1.0, Trouble::None),
    case("1,000 rps, 1 %", 1_000.0, 0.01, 1.0, Trouble::None),
    case("100 rps, 0.1 %, at 1.1 x", 100.0, 0.001, TOLERATED, Trouble::None),
    case("1,000 rps, 0.1 %, at 1.1 x", 1_000.0, 0.001, TOLERATED, Trouble::None),
];

const fn bursts(name: &'static str, mean: f64, learned: bool) -> Case {
    case(name, 1_000.0, 0.01, 1.0, Trouble::Bursts { mean, learned })
}

const fn spread(name: &'static str, tau: f64, widened: f64) -> Case {
    case(name, 10_000.0, 0.001, 1.0, Trouble::Spread { tau, widened })
}

const fn early(name: &'static str, trouble: Trouble) -> Case {
    case(name, 1_000.0, 0.001, 1.0, trouble)
}

const BURSTS: [Case; 2] =
    [bursts("bursts of 3 on average", 3.0, true), bursts("bursts of 10 on average", 10.0, true)];
const SPREAD: [Case; 2] =
    [spread("instances differ, tau 0.1", 0.1, 1.0), spread("instances differ, tau 0.2", 0.2, 1.0)];
const SPREAD_WIDE: [Case; 1] = [spread("instances differ, tau 0.3", 0.3, 1.0)];
const OUTAGE: [Case; 1] = [early("both fail 20 % for 2 min", Trouble::Outage)];
const COLD: [Case; 1] = [early("cold start, defaults", Trouble::Cold { requests: true })];
/// Shown beside the figures: what the remedies are for, and where they end.
const BESIDE: [Case; 4] = [
    bursts("bursts of 3, nothing learned", 3.0, false),
    spread("tau 0.2, nothing learned", 0.2, 0.0),
    early("cold start, warm-up 30 s whatever the traffic", Trouble::Cold { requests: false }),
    early("the same, cold again in every stage", Trouble::ColdEveryStage),
];

/// The tables and figures on healthy releases.
pub(crate) fn figures(terms: Terms) -> Vec<Figure> {
    println!(
        "\nHealthy releases turned back: default gates and settings, 3 x 600 s at 5/25/50 %, every second looked at"
    );
    let plain = rate(terms, &PLAIN, terms.runs(2_000, 100));
    println!("pooled: {:.2} %", plain.pooled);
    let few = terms.runs(1_000, 100);
    let figure = |id, found: Found| {
        Figure::at_most(id, found.worst, "%", 1.0, "healthy releases turned back, the budget")
    };
    let mut figures = vec![Figure::at_most(
        "false_rollback",
        plain.pooled,
        "%",
        1.0,
        "healthy or at 1.1 x, six rows pooled, the budget",
    )];
    figures.push(figure("false_rollback_bursts", rate(terms, &BURSTS, few)));
    figures.push(figure("false_rollback_spread", rate(terms, &SPREAD, few)));
    figures.push(figure("false_rollback_spread_wide", rate(terms, &SPREAD_WIDE, few)));
    figures.push(figure("false_rollback_outage", rate(terms, &OUTAGE, few)));
    figures.push(figure("false_rollback_cold", rate(terms, &COLD, few)));
    println!("beside them, without a goal:");
    rate(terms, &BESIDE, terms.runs(500, 20));
    figures
}

/// Per cent turned back.
struct Found {
    pooled: f64,
    worst: f64,
}

fn rate(terms: Terms, cases: &[Case], count: u64) -> Found {
    let (mut all, mut worst) = (0, 0.0_f64);
    for case in cases {
        let endings = runs(count, |run| rollout(terms, case, run));
        let mut by_gate: BTreeMap<String, usize> = BTreeMap::new();
        for gate in endings.into_iter().flatten() {
            *by_gate.entry(gate).or_default() += 1;
        }
        let turned_back: usize = by_gate.values().sum();
        let percent = 100.0 * turned_back as f64 / count as f64;
        let gates: Vec<String> = by_gate.iter().map(|(gate, count)| format!("{gate} {count}")).collect();
        println!("{:46} {percent:6.2} %  {turned_back} of {count}  {}", case.name, gates.join(", "));
        all += turned_back;
        worst = worst.max(percent);
    }
    Found { pooled: 100.0 * all as f64 / (count * cases.len() as u64) as f64, worst }
}

/// One rollout; the gate that turned it back.
fn rollout(terms: Terms, case: &Case, run: u64) -> Ending {
    let mut dice = Dice::new(terms.seed, case.name, run);
    let factors = Factors::of(&mut dice, case.trouble);
    let settings = settings(&mut dice, case, &factors);
    let outage_from = whole(dice.unit() * (3 * STAGE_S - 120) as f64);
    let gates = gates();
    let mut judge = judge(&settings, &gates, 1);
    let mut stream = Stream::new(dice, Millis(1_000));
    let burst = if let Trouble::Bursts { mean, .. } = case.trouble { mean } else { 1.0 };
    for stage in 0..3 {
        for second in 0..STAGE_S {
            let at = stage as u64 * STAGE_S + second;
            let now = moment(case, &factors, stage, second, (outage_from..outage_from + 120).contains(&at));
            judge.take(stream.next(now, stage, Split::Random, burst));
        }
        if let Some(gate) = failed(&judge, &gates, stage) {
            return Some(gate.to_owned());
        }
    }
    None
}

/// Failed shares at one moment.
fn moment(case: &Case, factors: &Factors, stage: usize, second: u64, outage: bool) -> Service {
    let Service { new, stable, .. } = case.service;
    let cold = second < 20;
    match case.trouble {
        Trouble::Spread { .. } => {
            case.service.failing(new * factors.new_mean(stage), stable * factors.stable_mean)
        }
        Trouble::Outage if outage => case.service.failing(0.2, 0.2),
        Trouble::Cold { .. } if cold && stage == 0 => case.service.failing(0.02, stable),
        Trouble::ColdEveryStage if cold => {
            let kept =
                stage.checked_sub(1).and_then(|before| NEW_INSTANCES.get(before)).copied().unwrap_or(0);
            let fresh = 1.0 - kept as f64 / NEW_INSTANCES.get(stage).copied().unwrap_or(1) as f64;
            case.service.failing(new + fresh * (0.02 - new), stable)
        }
        Trouble::None
        | Trouble::Bursts { .. }
        | Trouble::Outage
        | Trouble::Cold { .. }
        | Trouble::ColdEveryStage => case.service,
    }
}

/// By how much each instance's failed share differs from the service's.
struct Factors {
    new: Vec<f64>,
    stable: Vec<f64>,
    stable_mean: f64,
}

impl Factors {
    fn of(dice: &mut Dice, trouble: Trouble) -> Self {
        let tau = if let Trouble::Spread { tau, .. } = trouble { tau } else { 0.0 };
        let mut some =
            |count: usize| -> Vec<f64> { (0..count).map(|_| (tau * dice.normal()).exp()).collect() };
        let stable = some(INSTANCES as usize);
        let stable_mean = stable.iter().sum::<f64>() / f64::from(INSTANCES);
        Self { new: some(10), stable, stable_mean }
    }

    /// Mean of the new instances of a stage.
    fn new_mean(&self, stage: usize) -> f64 {
        let count = NEW_INSTANCES.get(stage).copied().unwrap_or(1);
        self.new.iter().take(count).sum::<f64>() / count as f64
    }
}

/// The settings after what the stable release's past taught.
fn settings(dice: &mut Dice, case: &Case, factors: &Factors) -> Settings {
    let usual = Settings::default();
    let milli = |value: f64| u32::try_from(whole(value * 1_000.0)).unwrap_or(u32::MAX);
    match case.trouble {
        Trouble::Bursts { mean, learned: true } => {
            let (dispersion, spread) = learned(dice, case.service, factors, mean);
            Settings { dispersion_milli: milli(dispersion.phi()), spread_milli: milli(spread.tau()), ..usual }
        }
        Trouble::Spread { widened, .. } if widened > 0.0 => {
            let (dispersion, spread) = learned(dice, case.service, factors, 1.0);
            let spread_milli = milli(widened * spread.tau());
            Settings { dispersion_milli: milli(dispersion.phi()), spread_milli, ..usual }
        }
        Trouble::Cold { requests: false } | Trouble::ColdEveryStage => {
            Settings { warmup_requests: u64::MAX, ..usual }
        }
        Trouble::None
        | Trouble::Bursts { .. }
        | Trouble::Spread { .. }
        | Trouble::Outage
        | Trouble::Cold { .. } => usual,
    }
}

/// Dispersion and spread of the stable instances over ten minutes before the rollout.
fn learned(dice: &mut Dice, service: Service, factors: &Factors, burst: f64) -> (Dispersion, InstanceSpread) {
    let part = 1.0 / f64::from(INSTANCES);
    let batches: Vec<Vec<Arm>> = (0..LEARNED_S)
        .map(|_| {
            let arm = |factor: &f64| {
                let own = service.failing(service.stable * factor, 0.0);
                let (requests, failures) = own.counts(dice, part, 1.0, Split::Random, burst).new;
                Arm::new(requests, failures).unwrap_or(Arm::EMPTY)
            };
            factors.stable.iter().map(arm).collect()
        })
        .collect();
    let dispersion = Dispersion::estimate(&batches).unwrap_or(Dispersion::NONE);
    (dispersion, InstanceSpread::estimate(&batches, dispersion).unwrap_or(InstanceSpread::NONE))
}
