//! Properties (i) to (iii), (vi) and the state's own: what must hold for every batch.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;
use tidegate_statistics::{
    AbsoluteTest, Arm, Budget, Dispersion, Histogram, LatencyTest, Layout, Margin, MeanTest, Measure,
    MirrorTest, Noise, OnsetPrior, Pair, RateRule, RatioInterval, RatioSettings, RatioTest, RatioWatch,
    SplitTest,
};

fn arm(most: u64) -> impl Strategy<Value = Arm> {
    (0..=most)
        .prop_flat_map(|requests| (Just(requests), 0..=requests))
        .prop_map(|(n, k)| Arm::new(n, k).unwrap())
}

fn batch() -> impl Strategy<Value = Pair> {
    (arm(3_000), arm(50_000)).prop_map(|(new, stable)| Pair::new(new, stable))
}

fn evidence(settings: RatioSettings, batches: &[Pair]) -> f64 {
    let mut test = RatioTest::new(settings).unwrap();
    for batch in batches {
        test.observe(*batch);
    }
    test.ln_evidence()
}

fn plain(batches: &[Pair]) -> f64 {
    evidence(RatioSettings::plain(1.1), batches)
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn splitting_a_batch_at_equal_shares_changes_nothing(
        new in 1_u64..500, stable in 1_u64..9_000, failed in prop::array::uniform4(0_u64..200),
    ) {
        let of = |a: u64, b: u64, c: u64, d: u64| Pair::of_counts(a, b, c, d).unwrap();
        let (new, stable) = (new + 200, stable + 200);
        let first = of(new, stable, failed[0], failed[1]);
        let second = of(2 * new, 2 * stable, failed[2], failed[3]);
        prop_assert!(near(plain(&[first, second]), plain(&[first.plus(second)])));
    }

    #[test]
    fn a_batch_without_failures_changes_nothing(batches in prop::collection::vec(batch(), 0..6), new in 0_u64..5_000, stable in 0_u64..5_000) {
        let quiet = Pair::of_counts(new, stable, 0, 0).unwrap();
        let more: Vec<Pair> = batches.iter().copied().chain([quiet]).collect();
        prop_assert!(near(plain(&batches), plain(&more)));
    }

    #[test]
    fn a_failure_of_the_new_release_never_speaks_for_it_and_one_of_the_stable_never_against_it(batch in batch()) {
        let (new, stable) = (batch.new, batch.stable);
        let settings = RatioSettings::default();
        if let Ok(worse) = Arm::new(new.requests(), new.failures() + 1) {
            prop_assert!(evidence(settings, &[Pair::new(worse, stable)]) >= evidence(settings, &[batch]) - 1e-9);
        }
        if let Ok(worse) = Arm::new(stable.requests(), stable.failures() + 1) {
            prop_assert!(evidence(settings, &[Pair::new(new, worse)]) <= evidence(settings, &[batch]) + 1e-9);
        }
    }

    #[test]
    fn a_replay_from_a_stored_state_is_the_same_to_the_last_bit(
        batches in prop::collection::vec(batch(), 2..12), cut in 0_usize..12, phi in 1.0..20.0_f64, tolerated in 0.5..3.0_f64,
    ) {
        let settings = RatioSettings { tolerated, dispersion: Dispersion::new(phi).unwrap(), ..RatioSettings::default() };
        let around = RatioInterval::around(0.95, settings.dispersion).unwrap();
        let mut straight =
            (RatioTest::new(settings).unwrap(), RatioInterval::new(settings.dispersion), around);
        let mut stored = straight.clone();
        for (at, batch) in batches.iter().enumerate() {
            if at == cut {
                stored.0 = reread(&stored.0);
                stored.1 = reread(&stored.1);
                stored.2 = reread(&stored.2);
            }
            for tests in [&mut straight, &mut stored] {
                tests.0.raise_traffic();
                tests.0.observe(*batch);
                tests.1.observe(*batch);
                tests.2.observe(*batch);
            }
        }
        prop_assert_eq!(straight.0.ln_evidence().to_bits(), stored.0.ln_evidence().to_bits());
        prop_assert!(straight == stored);
    }

    #[test]
    fn no_plausible_ratio_lies_outside_of_the_ends(
        batches in prop::collection::vec(batch(), 1..6), ln in -2.9..6.8_f64, near in 0.9..1.1_f64,
        alpha in 0.001..0.5_f64, phi in 1.0..20.0_f64, around in prop::option::of(0.3..3.0_f64),
    ) {
        let dispersion = Dispersion::new(phi).unwrap();
        let wide = RatioInterval::new(dispersion);
        let mut interval = around.map_or(wide, |ratio| RatioInterval::around(ratio, dispersion).unwrap());
        for batch in &batches {
            interval.observe(*batch);
        }
        // The same sum as the interval keeps, for any ratio.
        let at = |ratio: f64| -> f64 {
            let of = |batch: &Pair| {
                let [(new, hits), (stable, others)] = [batch.new, batch.stable]
                    .map(|arm| (arm.requests() as f64, arm.failures() as f64));
                if new == 0.0 || stable == 0.0 {
                    return 0.0;
                }
                (hits * ratio.ln() - (hits + others) * ((ratio - 1.0) * new / (new + stable)).ln_1p()) / phi
            };
            batches.iter().map(of).sum()
        };
        let most = interval.likelihoods().map(|(_, ln)| ln).fold(f64::NEG_INFINITY, f64::max);
        let mean = interval.likelihoods().map(|(_, ln)| (ln - most).exp()).sum::<f64>();
        let mean = mean / interval.likelihoods().count() as f64;
        let level = most + mean.ln() + alpha.ln();
        let bounds = interval.bounds(alpha).unwrap();
        let seen = bounds.upper.unwrap_or(1.0);
        let mut ends = interval.likelihoods().map(|(ratio, _)| ratio);
        let (first, last) = (ends.next().unwrap(), ends.next_back().unwrap());
        for ratio in [ln.exp(), seen * near, bounds.lower.max(first) * near] {
            let inside = bounds.lower <= ratio && bounds.upper.is_none_or(|upper| ratio <= upper);
            let plausible = (first..=last).contains(&ratio) && at(ratio) > level + 1e-6 * level.abs().max(1.0);
            prop_assert!(inside || !plausible, "{} {:?} {} {}", ratio, bounds, at(ratio), level);
        }
    }

    #[test]
    fn no_count_breaks_a_test(new in arm(u64::MAX), stable in arm(u64::MAX), times in 1_usize..5) {
        let mut states = States::new();
        (0..times).for_each(|_| states.observe(Pair::new(new, stable)));
        for nats in states.nats() {
            prop_assert!(!nats.is_nan());
        }
        prop_assert!(states.interval.bounds(0.05).is_ok());
    }
}

fn reread<T: serde::Serialize + serde::de::DeserializeOwned>(state: &T) -> T {
    serde_json::from_str(&serde_json::to_string(state).unwrap()).unwrap()
}

struct States {
    ratio: RatioTest,
    watch: RatioWatch,
    mirror: MirrorTest,
    interval: RatioInterval,
    absolute: AbsoluteTest,
    split: SplitTest,
}

impl States {
    fn new() -> Self {
        Self {
            ratio: RatioTest::new(RatioSettings::default()).unwrap(),
            watch: RatioWatch::new(1.1, Dispersion::NONE).unwrap(),
            mirror: MirrorTest::new(2.0, Dispersion::NONE).unwrap(),
            interval: RatioInterval::new(Dispersion::NONE),
            absolute: AbsoluteTest::new(0.05, Dispersion::NONE, OnsetPrior::default()).unwrap(),
            split: SplitTest::new(Dispersion::NONE).unwrap(),
        }
    }

    fn observe(&mut self, pair: Pair) {
        self.ratio.observe(pair);
        self.watch.observe(pair);
        self.mirror.observe(pair);
        self.interval.observe(pair);
        self.absolute.observe(pair.new);
        self.split.observe(pair.new.requests(), pair.stable.requests(), 0.05).unwrap();
    }

    fn nats(&self) -> [f64; 7] {
        [
            self.ratio.ln_evidence(),
            self.watch.ln_detector(),
            self.mirror.ln_evidence(),
            self.interval.ln_bayes_factor(),
            self.absolute.ln_fail(),
            self.absolute.ln_pass(),
            self.split.ln_evidence(),
        ]
    }
}

/// A classic histogram with more usable edges than are watched.
fn histogram() -> Histogram {
    let buckets = (1..=40).map(|edge| (f64::from(edge) / 10.0, 25)).chain([(f64::INFINITY, 10)]).collect();
    Histogram::new(Layout::Listed, buckets).unwrap()
}

#[test]
fn every_stored_state_stays_below_eight_kibibytes_and_is_read_back_equal() {
    fn size<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        state: &T,
    ) -> usize {
        assert_eq!(&reread(state), state);
        serde_json::to_string(state).unwrap().len()
    }
    let mut states = States::new();
    states.observe(Pair::of_counts(60, 1_140, 3, 1).unwrap());
    let (prior, none) = (OnsetPrior::default(), Dispersion::NONE);
    let mut latency = LatencyTest::choose(&histogram(), None, Margin::default(), none, prior).unwrap();
    assert_eq!(latency.observe(&histogram(), &histogram()), tidegate_statistics::EDGES_MAX);
    let mut gauge = MeanTest::new(80.0, Noise::new(6.0, 0.9).unwrap(), 0.01, 60).unwrap();
    gauge.observe(0.1).unwrap();
    let budget = Budget::of_measures(Budget::ALPHA, &[Measure::ErrorRatio, Measure::Cpu]).unwrap();
    let sizes = [
        ("ratio", size(&states.ratio)),
        ("watch", size(&states.watch)),
        ("mirror", size(&states.mirror)),
        ("interval", size(&states.interval)),
        ("absolute", size(&states.absolute)),
        ("split", size(&states.split)),
        ("latency", size(&latency)),
        ("gauge", size(&gauge)),
        ("rate", size(&RateRule::new(0.5).unwrap())),
        ("budget", size(&budget)),
    ];
    println!("{sizes:?}");
    for (name, bytes) in sizes {
        assert!(bytes <= 8 * 1024, "{name}: {bytes}");
    }
}

#[test]
fn a_damaged_state_is_refused_in_words() {
    let text = serde_json::to_string(&RatioInterval::new(Dispersion::NONE)).unwrap();
    for (from, to) in
        [("0000000000000000\"", "\""), ("0000000000000000\"", "7ff8000000000000\""), ("\"ln", "\"l")]
    {
        assert!(serde_json::from_str::<RatioInterval>(&text.replacen(from, to, 1)).is_err(), "{from} {to}");
    }
    let text = serde_json::to_string(&RatioTest::new(RatioSettings::default()).unwrap()).unwrap();
    let told = serde_json::from_str::<RatioTest>(&text.replacen("fff0000000000000\"", "\"", 1))
        .unwrap_err()
        .to_string();
    assert!(told.contains("evidence does not fit its settings"), "{told}");
    assert!(serde_json::from_str::<Arm>(r#"{"requests": 3, "failures": 4}"#).is_err());
}

#[test]
fn strata_undo_a_mix_that_differs_between_the_releases() {
    // The new release serves mostly the route that fails more; on each route it is no worse.
    let light = Pair::of_counts(1_000, 90_000, 1, 90).unwrap();
    let heavy = Pair::of_counts(9_000, 10_000, 450, 500).unwrap();
    let mut split = RatioTest::new(RatioSettings::plain(1.1)).unwrap();
    split.observe_strata(&[light, heavy]);
    assert!(split.ln_evidence() < 0.0 && plain(&[light.plus(heavy)]) > 100.0);
    assert_eq!(split.total(), light.plus(heavy));
}

#[test]
fn below_the_floor_nothing_is_an_outage() {
    let pair = Pair::of_counts(1_000_000, 20_000_000, 60, 200).unwrap();
    assert!(plain(&[pair]) > 20.0 && evidence(RatioSettings::default(), &[pair]) < 0.0);
}

#[test]
fn a_dispersion_of_three_counts_as_a_third_of_the_requests() {
    let of = |phi: f64, times: u64| {
        let phi = Dispersion::new(phi).unwrap();
        let pair = Pair::of_counts(60 * times, 1_140 * times, 3 * times, times).unwrap();
        let (mut states, prior) = (States::new(), OnsetPrior::default());
        states.ratio = RatioTest::new(RatioSettings { dispersion: phi, ..RatioSettings::default() }).unwrap();
        states.watch = RatioWatch::new(1.1, phi).unwrap();
        states.mirror = MirrorTest::new(2.0, phi).unwrap();
        states.interval = RatioInterval::new(phi);
        states.absolute = AbsoluteTest::new(0.05, phi, prior).unwrap();
        states.split = SplitTest::new(phi).unwrap();
        states.observe(pair);
        states.nats()
    };
    for (tempered, fewer) in of(3.0, 3).into_iter().zip(of(1.0, 1)) {
        assert!(near(tempered, fewer) && fewer.abs() > 1e-3, "{tempered} {fewer}");
    }
}

#[test]
fn a_release_that_looked_good_and_then_turned_bad_does_not_pass_on_its_past() {
    let mut test = MirrorTest::new(2.0, Dispersion::NONE).unwrap();
    test.observe(Pair::of_counts(3_000, 57_000, 30, 570).unwrap());
    assert!(test.passes(0.05));
    test.observe(Pair::of_counts(3_000, 57_000, 90, 570).unwrap());
    assert!(!test.passes(0.05) && test.ln_evidence_max() > 3.0);
}

#[test]
fn mass_that_is_not_given_out_yet_stays_in_the_evidence() {
    let settings = RatioSettings { floor: None, ..RatioSettings::default() };
    let quiet = Pair::of_counts(50, 950, 0, 0).unwrap();
    assert!(evidence(settings, &[quiet; 20]).abs() < 1e-12);
    // However good the past, the rest of the mass remains: a late regression is not held against the whole past.
    let good = Pair::of_counts(50_000, 950_000, 0, 9_500).unwrap();
    assert!(evidence(settings, &[good; 5]) > f64::ln(0.25) && plain(&[good; 5]) < -300.0);
}

#[test]
fn the_budget_is_shared_by_weight_and_names_the_largest_part() {
    let all = [
        Measure::ErrorRatio,
        Measure::Latency,
        Measure::P95,
        Measure::P99,
        Measure::Cpu,
        Measure::Memory,
        Measure::RequestRate,
        Measure::WarmUp,
    ];
    let budget = Budget::of_measures(Budget::ALPHA, &all).unwrap();
    assert!(near(budget.ln_threshold_alone(0).unwrap(), f64::ln(250.0)));
    let two = Budget::of_measures(0.05, &all[..2]).unwrap();
    let merged = two.merge(&[3.0, 4.0]);
    let (first, second) = (3.0_f64.exp() * 2.0 / 3.0, 4.0_f64.exp() / 3.0);
    assert!(
        near(merged.ln_evidence, (first + second).ln())
            && near(merged.largest_part, second / (first + second))
    );
    assert_eq!((merged.largest, merged.exceeded), (Some(1), true));
    // A gate without data counts as one; not-a-number is no data.
    assert!(near(two.merge(&[]).ln_evidence, 0.0) && near(two.merge(&[f64::NAN, 0.0]).ln_evidence, 0.0));
    assert!(!Budget::new(0.05, &[]).unwrap().merge(&[9.0]).exceeded);
    assert!(Budget::new(0.0, &[1.0]).is_err() && Budget::new(0.05, &[1.0, -1.0]).is_err());
}
