//! One error gate over a simulated rollout: what was seen, what is plausible, how rare it would be for a healthy release.
//!
//! `cargo run -p tidegate-statistics --example rollout`
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use tidegate_statistics::{
    BAD_RATIO, Budget, Dispersion, Exposure, Fault, Measure, MirrorTest, OnsetPrior, Pair, Planner,
    RatioInterval, RatioSettings, RatioTest, Traffic, one_in,
};

fn main() -> Result<(), Fault> {
    plan()?;
    let budget = Budget::of_measures(Budget::ALPHA, &[Measure::ErrorRatio, Measure::Latency])?;
    let mut harm =
        RatioTest::new(RatioSettings { onset: OnsetPrior::spread(600, 1), ..RatioSettings::default() })?;
    let mut health = MirrorTest::new(BAD_RATIO, Dispersion::NONE)?;
    let mut plausible = RatioInterval::new(Dispersion::NONE);
    for second in 1..=60 {
        // 1,000 requests per second, 5 % of them to the new release; it fails 5 % of them, the stable one 0.1 %.
        let batch = Pair::of_counts(50, 950, u64::from(second % 2 == 0) * 5, 1)?;
        harm.observe(batch);
        health.observe(batch);
        plausible.observe(batch);
        let merged = budget.merge(&[harm.ln_evidence(), 0.0]);
        let bounds = plausible.bounds(0.05)?;
        println!(
            "{second:>2} s: {} of {} failed, at least {:.1} times as often; a healthy release looks this bad in 1 of {:.0}",
            harm.total().new.failures(),
            harm.total().new.requests(),
            bounds.lower,
            one_in(merged.ln_evidence),
        );
        if merged.exceeded {
            println!(
                "turned back, {:.0} % of the evidence from gate {:?}",
                100.0 * merged.largest_part,
                merged.largest
            );
            return Ok(());
        }
        if health.passes(0.05) {
            println!("not {BAD_RATIO} times as bad: may advance");
        }
    }
    Ok(())
}

fn plan() -> Result<(), Fault> {
    let traffic = Traffic::new(1_000.0, 0.001)?;
    let schedule = [Exposure::new(0.05, 300.0)?, Exposure::new(0.5, 300.0)?];
    match Planner::default().smallest_ratio(traffic, &schedule) {
        Some(ratio) => println!("plan: a release that fails {ratio:.2} times as often will be seen"),
        None => println!("plan: nothing can be seen at this traffic"),
    }
    Ok(())
}
