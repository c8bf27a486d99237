//! What judging costs, and whether it counts as the reference does.

use std::{error::Error, hint::black_box, time::Instant};

use serde::Serialize;
use tidegate_core::{
    gate::{Arm, Gate, Look, Window},
    judge::{Batch, Judge, Settings},
    model::Millis,
};
use tidegate_statistics::{
    AbsoluteTest, Dispersion, Histogram, LatencyTest, Layout, Margin, MeanTest, MirrorTest, Noise,
    OnsetPrior, Pair, RatioInterval, RatioSettings, RatioTest,
};

use crate::{
    chance::Dice,
    report::{Figure, quantile},
    service::{Service, Split, Stream, gates, judge},
};

/// A busy service that goes well: every gate has something to count, none ends early.
const BUSY: Service = Service { rps: 1_000.0, stable: 0.001, new: 0.001 };
const BATCHES: usize = 600;
const ROUNDS: usize = 40;

/// The figures on cost and on the golden vectors.
pub(crate) fn figures() -> Result<Vec<Figure>, Box<dyn Error>> {
    let usual = eval_us(&gates());
    println!(
        "One batch taken and every gate asked, full latency histograms of the proxy's, fastest tenth of {ROUNDS} rounds"
    );
    println!("  default gates: {usual:.2} us for each gate");
    let states = states()?;
    println!("Serialized state of a gate, bytes");
    for (name, bytes) in &states {
        println!("  {name:40} {bytes:6}");
    }
    let largest = states.iter().map(|(_, bytes)| *bytes).max().unwrap_or(usize::MAX);
    let worst = vectors_error()?;
    println!("Golden vectors A to D of the reference: largest relative error {worst:.1e}");
    Ok(vec![
        Figure::at_most(
            "eval_us",
            usual,
            "us",
            10.0,
            "one take and one ask for each of the default gates, the goal",
        ),
        Figure::at_most(
            "state_bytes",
            largest as f64,
            "bytes",
            8192.0,
            "largest serialized state of a gate, the goal",
        ),
        Figure::at_most(
            "vectors_max_error",
            worst,
            "ratio",
            1e-9,
            "golden vectors of the reference, section 4",
        ),
    ])
}

/// Microseconds for one gate at one batch, in the fastest tenth of the rounds: other work on the machine only adds to it.
fn eval_us(gates: &[Gate]) -> f64 {
    let mut stream = Stream::new(Dice::new(1, "cost", 0), Millis(1_000));
    let batches: Vec<Batch> = (0..BATCHES).map(|_| full(stream.next(BUSY, 0, Split::Random, 1.0))).collect();
    let round = || {
        let mut judge: Judge = judge(&Settings::default(), gates, 1);
        let started = Instant::now();
        for batch in &batches {
            judge.take(batch);
            for gate in gates {
                black_box(judge.ask(gate, &Window::default(), Some(0), Look::Early));
            }
        }
        started.elapsed().as_secs_f64() * 1e6 / (BATCHES * gates.len()) as f64
    };
    quantile((0..ROUNDS).map(|_| round()), 0.1)
}

/// The batch with latencies in as many buckets as a real service fills: both releases, 1 ms to 1.1 s.
fn full(batch: &Batch) -> Batch {
    let spread = |requests: u64| {
        let mut left = requests;
        let edges =
            (0..160_u32).map(|step| (1_000.0 * 1.045_f64.powi(i32::try_from(step).unwrap_or(0))).round());
        let mut buckets: Vec<(u64, u64)> = edges
            .map(|edge| {
                let count = left.div_ceil(40).min(left);
                left -= count;
                (crate::chance::whole(edge), count)
            })
            .collect();
        buckets.retain(|(_, count)| *count > 0);
        buckets
    };
    let arm = |arm: &Arm| Arm { latency_us: spread(arm.requests), ..arm.clone() };
    Batch { new: arm(&batch.new), stable: batch.stable.as_ref().map(arm), ..batch.clone() }
}

/// Every gate's processes after some traffic, as they are written out.
fn states() -> Result<Vec<(&'static str, usize)>, Box<dyn Error>> {
    let pair = Pair::of_counts(250, 750, 3, 7)?;
    let onset = OnsetPrior::default();
    let mut ratio = RatioTest::new(RatioSettings::default())?;
    let mut mirror = MirrorTest::new(2.0, Dispersion::NONE)?;
    let mut interval = RatioInterval::new(Dispersion::NONE);
    let mut share = AbsoluteTest::new(0.05, Dispersion::NONE, onset)?;
    let edges =
        (0..40).map(|step| (1_000.0 * 1.2_f64.powi(step), 1_000 / (1 + u64::try_from(step).unwrap_or(0))));
    let hour = Histogram::new(Layout::Shared { parts: 16 }, edges.collect())?;
    let mut latency = LatencyTest::choose(&hour, None, Margin::default(), Dispersion::NONE, onset)?;
    let mut gauge = MeanTest::new(0.8, Noise::new(0.06, 0.9)?, 0.01, 60)?;
    for _ in 0..100 {
        ratio.observe(pair);
        mirror.observe(pair);
        interval.observe(pair);
        share.observe(pair.new);
        latency.observe(&hour, &hour);
        gauge.observe(0.7)?;
    }
    let (errors, quantile) =
        (size(&ratio)? + size(&mirror)? + size(&interval)? + size(&share)?, size(&share)?);
    Ok(vec![
        ("errors (four processes)", errors),
        ("latency against stable (14 edges, tail)", size(&latency)? + size(&ratio)?),
        ("latency against a limit", quantile),
        ("CPU or memory", size(&gauge)?),
    ])
}

fn size(state: &impl Serialize) -> Result<usize, serde_json::Error> {
    serde_json::to_vec(state).map(|bytes| bytes.len())
}

/// Name, batches, evidence against health and against harm, and the largest against health where it is given.
type Vector = (&'static str, Vec<(u64, u64, u64, u64)>, f64, f64, Option<f64>);

/// Batches are requests of the new and of the stable release, then failures of each.
fn vectors() -> [Vector; 4] {
    let early = (0..30).map(|_| (50, 950, 1, 10));
    let late = (0..30).map(|i| (250, 750, 5, 7 + i % 2));
    [
        ("A", vec![(5, 95, 1, 0)], 2.091_483_563_4, -0.714_990_140_712, None),
        ("B", (0..6).map(|i| (5, 95, i % 2, 0)).collect(), 7.350_419_318_74, -2.059_465_134_99, None),
        (
            "C",
            (0..60).map(|i| (50, 950, (i + 1) % 2, 9 + i % 2)).collect(),
            -2.829_169_262_32,
            8.229_129_533_12,
            Some(-0.714_340_266_699),
        ),
        ("D", early.chain(late).collect(), 15.617_092_886_9, -20.341_317_050_3, None),
    ]
}

/// Largest relative error of the golden vectors.
fn vectors_error() -> Result<f64, Box<dyn Error>> {
    let mut worst = 0.0_f64;
    for (_, batches, bad, good, most) in vectors() {
        let mut ratio = RatioTest::new(RatioSettings::plain(1.1))?;
        let mut mirror = MirrorTest::new(2.0, Dispersion::NONE)?;
        let mut seen = f64::NEG_INFINITY;
        for (new, stable, new_failed, stable_failed) in batches {
            let pair = Pair::of_counts(new, stable, new_failed, stable_failed)?;
            ratio.observe(pair);
            mirror.observe(pair);
            seen = seen.max(ratio.ln_evidence());
        }
        let error = |mine: f64, golden: f64| (mine / golden - 1.0).abs();
        worst = worst.max(error(ratio.ln_evidence(), bad)).max(error(mirror.ln_evidence(), good));
        worst = worst.max(most.map_or(0.0, |most| error(seen, most)));
    }
    Ok(worst)
}
