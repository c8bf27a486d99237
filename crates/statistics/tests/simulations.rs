//! Properties (iv) and (vii) in a small form, and spot checks of the measured tables. All seeded.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test reports")]

mod chance;

use chance::{batch, bursts, failures};
use fastrand::Rng;
use tidegate_statistics::{
    AbsoluteTest, Arm, Budget, Dispersion, FloorTest, Histogram, InstanceSpread, LatencyTest, Layout, Margin,
    MeanTest, Measure, MirrorTest, Noise, OnsetPrior, RateReading, RateRule, RatioInterval, RatioSettings,
    RatioTest, RatioWatch, SplitTest, Traffic, slope, time_to_limit,
};

#[test]
fn a_release_at_the_tolerated_limit_is_turned_back_no_more_often_than_the_budget_says() {
    let (mut rng, alpha, rollouts) = (Rng::with_seed(4), 0.05, 500);
    let mut turned_back = 0;
    for _ in 0..rollouts {
        let onset = if rng.bool() { OnsetPrior::AT_START } else { OnsetPrior::spread(120, 2) };
        let settings = RatioSettings { onset, floor: None, ..RatioSettings::default() };
        let mut test = RatioTest::new(settings).unwrap();
        let mut stable = 0.01;
        for second in 0..120 {
            if second % 40 == 0 {
                test.raise_traffic();
            }
            stable = (stable * (0.8 + 0.45 * rng.f64())).clamp(0.001, 0.3);
            let share = if rng.bool() { 0.05 } else { 0.5 * rng.f64() + 0.01 };
            test.observe(batch(&mut rng, 400, share, 1.1 * stable, stable));
        }
        turned_back += u32::from(test.ln_evidence_max() >= -f64::ln(alpha));
    }
    // Three standard errors above the budget.
    assert!(turned_back <= 25 + 15, "{turned_back} of {rollouts}");
}

#[test]
fn a_bad_release_passes_no_more_often_than_is_said_and_a_good_one_does() {
    let (mut rng, rollouts) = (Rng::with_seed(12), 1_000);
    let mut passed = |ratio: f64| {
        let passing = (0..rollouts).filter(|_| {
            let mut test = MirrorTest::new(2.0, Dispersion::NONE).unwrap();
            (0..60).any(|_| {
                test.observe(batch(&mut rng, 2_000, 0.25, 0.01 * ratio, 0.01));
                test.passes(0.05)
            })
        });
        passing.count()
    };
    let (bad, good) = (passed(2.0), passed(1.0));
    // 5 %, and three standard errors.
    assert!(bad <= 71 && good >= 950, "{bad} {good}");
}

#[test]
fn the_true_ratio_stays_among_the_plausible_ones_at_all_times() {
    let (mut rng, rollouts) = (Rng::with_seed(13), 300);
    let left = (0..rollouts).filter(|_| {
        let mut interval = RatioInterval::new(Dispersion::NONE);
        let mut around = RatioInterval::around(2.8, Dispersion::NONE).unwrap();
        (0..60).any(|_| {
            let batch = batch(&mut rng, 2_000, 0.25, 0.03, 0.01);
            [&mut interval, &mut around].into_iter().any(|interval| {
                interval.observe(batch);
                let bounds = interval.bounds(0.1).unwrap();
                bounds.lower > 3.0 || bounds.upper.is_some_and(|upper| upper < 3.0)
            })
        })
    });
    let left = left.count();
    assert!(left <= 30 + 15, "{left} of {rollouts}");
}

#[test]
fn detection_takes_at_most_the_promised_multiple_of_the_bound() {
    let mut rng = Rng::with_seed(5);
    for (rps, stable, new) in [
        (100, 0.001, 0.05),
        (100, 0.001, 0.5),
        (1_000, 0.001, 0.002),
        (1_000, 0.001, 0.01),
        (1_000, 0.01, 0.02),
        (10_000, 0.01, 0.02),
        (100, 0.01, 0.05),
    ] {
        let traffic = Traffic::new(f64::from(rps), stable).unwrap();
        let bound = -f64::ln(0.01) / traffic.information_limit_per_s(0.05, new / stable, 1.1);
        for (settings, most) in [(RatioSettings::plain(1.1), 2.1), (RatioSettings::default(), 2.7)] {
            let runs = if bound > 100.0 { 30 } else { 250 };
            let mut seconds = 0_u32;
            for _ in 0..runs {
                let mut test = RatioTest::new(settings).unwrap();
                while test.ln_evidence() < -f64::ln(0.01) {
                    test.observe(batch(&mut rng, rps, 0.05, new, stable));
                    seconds += 1;
                }
            }
            let multiple = f64::from(seconds) / f64::from(runs) / bound;
            println!("{rps} {stable} {new}: {multiple:.2} of at most {most}");
            assert!(multiple <= most, "{rps} {stable} {new}: {multiple}");
        }
    }
}

#[test]
fn a_regression_that_starts_late_is_found_sooner_with_the_mass_spread() {
    let mut rng = Rng::with_seed(6);
    let mut mean = |onset| {
        let mut seconds = 0;
        for _ in 0..30 {
            let mut test = RatioTest::new(RatioSettings { onset, ..RatioSettings::plain(1.1) }).unwrap();
            (0..300).for_each(|_| test.observe(batch(&mut rng, 1_000, 0.05, 0.001, 0.001)));
            while test.ln_evidence() < -f64::ln(0.01) {
                test.observe(batch(&mut rng, 1_000, 0.05, 0.02, 0.001));
                seconds += 1;
            }
        }
        f64::from(seconds) / 30.0
    };
    let (plain, spread) = (mean(OnsetPrior::AT_START), mean(OnsetPrior::spread(1800, 2)));
    println!("late: {plain} {spread}");
    assert!(spread < 0.7 * plain, "{plain} {spread}");
}

#[test]
fn the_watch_finds_a_regression_after_a_long_quiet_time_and_is_quiet_before() {
    let (mut rng, mut watch) = (Rng::with_seed(7), RatioWatch::new(1.1, Dispersion::NONE).unwrap());
    (0..2_000).for_each(|_| watch.observe(batch(&mut rng, 1_000, 0.5, 0.001, 0.001)));
    assert!(!watch.alarms_at(1e6) && watch.ln_detector_max() < f64::ln(1e6));
    let late = (1..60).find(|_| {
        watch.observe(batch(&mut rng, 1_000, 0.5, 0.05, 0.001));
        watch.alarms_at(1e6)
    });
    assert!(late.is_some_and(|seconds| seconds <= 4), "{late:?}");
}

#[test]
fn bursts_are_measured_and_tempering_makes_them_harmless() {
    let mut rng = Rng::with_seed(8);
    for (mean, truth) in [(3.0, 5.0), (10.0, 19.0)] {
        let batches: Vec<[Arm; 4]> =
            (0..3_000).map(|_| [(); 4].map(|()| bursts(&mut rng, 250, 0.01, mean))).collect();
        let phi = Dispersion::estimate(&batches).unwrap();
        assert!((phi.phi() / truth - 1.0).abs() < 0.2, "{mean}: {phi:?}");
        let mut crossed = |dispersion| {
            let settings = RatioSettings { dispersion, ..RatioSettings::default() };
            let healthy = (0..60).filter(|_| {
                let mut test = RatioTest::new(settings).unwrap();
                for _ in 0..300 {
                    let (new, stable) = (bursts(&mut rng, 50, 0.01, mean), bursts(&mut rng, 950, 0.01, mean));
                    test.observe(tidegate_statistics::Pair::new(new, stable));
                }
                test.ln_evidence_max() >= -f64::ln(0.01)
            });
            healthy.count()
        };
        assert!(crossed(Dispersion::NONE) >= 6 && crossed(phi) <= 3, "{mean}");
    }
}

#[test]
fn lasting_differences_between_instances_widen_the_margin_and_are_not_taken_for_bursts() {
    let mut rng = Rng::with_seed(9);
    let factors: [f64; 8] = [0.75, 1.3, 0.9, 1.1, 0.7, 1.4, 1.0, 0.85];
    let batches: Vec<[Arm; 8]> = (0..1_000)
        .map(|_| factors.map(|factor| Arm::new(500, failures(&mut rng, 500, 0.01 * factor)).unwrap()))
        .collect();
    let phi = Dispersion::estimate(&batches).unwrap();
    let spread = InstanceSpread::estimate(&batches, phi).unwrap();
    assert!(phi.phi() < 1.3, "{phi:?}");
    assert!((spread.tau() - 0.25).abs() < 0.05, "{spread:?}");
    assert!((spread.widened(1.1, 4) - f64::exp(2.33 * spread.tau() / 2.0)).abs() < 1e-12);
    let alike: Vec<[Arm; 8]> =
        (0..200).map(|_| [(); 8].map(|()| Arm::new(500, failures(&mut rng, 500, 0.01)).unwrap())).collect();
    let none = InstanceSpread::estimate(&alike, Dispersion::estimate(&alike).unwrap()).unwrap();
    assert!(none.tau() < 0.05 && (none.widened(1.1, 1) - 1.1).abs() < 1e-12, "{none:?}");
    assert!(Dispersion::estimate(&alike[..19]).is_err());
}

#[test]
fn the_warm_up_guard_catches_an_outage_in_its_first_second() {
    let budget = Budget::of_measures(
        0.01,
        &[
            Measure::ErrorRatio,
            Measure::Latency,
            Measure::P95,
            Measure::P99,
            Measure::Cpu,
            Measure::Memory,
            Measure::RequestRate,
            Measure::WarmUp,
        ],
    )
    .unwrap();
    let mut guard = AbsoluteTest::warm_up(Dispersion::NONE).unwrap();
    guard.observe(Arm::new(50, 25).unwrap());
    assert!(guard.ln_fail() > budget.ln_threshold_alone(7).unwrap(), "{}", guard.ln_fail());
    let mut cold = AbsoluteTest::warm_up(Dispersion::NONE).unwrap();
    (0..20).for_each(|_| cold.observe(Arm::new(50, 1).unwrap()));
    assert!(cold.ln_fail() < 0.0 && cold.ln_pass() > 3.0);
    let mut floor = FloorTest::new(1e-4, Dispersion::NONE, OnsetPrior::AT_START).unwrap();
    floor.observe(Arm::new(5, 2).unwrap());
    assert!(floor.ln_evidence() > 4.6);
}

/// Log-normal latencies with the reference's median 120 ms and P95 385 ms, in seconds.
fn latencies(rng: &mut Rng, requests: u64, scale: f64, late: f64) -> Histogram {
    const EDGES: [f64; 13] = [0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.5, 2.5];
    let mut counts = [0; EDGES.len() + 1];
    for _ in 0..requests {
        let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
        let slow = if rng.f64() < late { 1.5 } else { 0.0 };
        let latency = 0.12 * (0.7087 * normal).exp() * scale + slow;
        counts[EDGES.iter().filter(|edge| **edge < latency).count()] += 1;
    }
    Histogram::new(Layout::Listed, EDGES.into_iter().chain([f64::INFINITY]).zip(counts).collect()).unwrap()
}

#[test]
fn slow_tails_are_found_when_section_2_2_says() {
    let mut rng = Rng::with_seed(10);
    let hour = latencies(&mut rng, 100_000, 1.0, 0.0);
    let mut median = |scale: f64, late: f64, runs: usize, tolerated: f64| {
        let mut times: Vec<u32> = (0..runs)
            .map(|_| {
                let margin = Margin::Count(tolerated);
                let onset = OnsetPrior::AT_START;
                let mut test = LatencyTest::choose(&hour, None, margin, Dispersion::NONE, onset).unwrap();
                let found = (1..=300).find(|_| {
                    let new = latencies(&mut rng, 5, scale, late);
                    test.observe(&new, &latencies(&mut rng, 95, 1.0, 0.0));
                    test.ln_evidence() >= -f64::ln(0.01)
                });
                found.unwrap_or(999)
            })
            .collect();
        times.sort_unstable();
        times[runs / 2]
    };
    let (tail, twice, same) =
        (median(1.0, 0.02, 15, 1.1), median(2.0, 0.0, 15, 1.1), median(1.0, 0.0, 3, 1.1));
    println!("latency: tail {tail} (91), twice {twice} (7), same {same}");
    assert!((50..=160).contains(&tail) && (4..=14).contains(&twice) && same == 999, "{tail} {twice} {same}");
}

/// AR(1) with a standard deviation of 6 points and a correlation of 0.9.
fn gauge(rng: &mut Rng, at: &mut f64, mean: f64) -> f64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    *at = 0.9 * *at + 6.0 * (1.0_f64 - 0.81).sqrt() * normal;
    mean + *at
}

#[test]
fn a_gauge_below_its_limit_is_left_alone_and_one_above_is_found() {
    let mut rng = Rng::with_seed(11);
    let past: Vec<Vec<f64>> = (0..4)
        .map(|_| {
            let mut at = 0.0;
            (0..2_000).map(|_| gauge(&mut rng, &mut at, 60.0)).collect()
        })
        .collect();
    let noise = Noise::estimate(&past).unwrap();
    assert!((noise.deviation() / 6.0 - 1.0).abs() < 0.1 && (noise.lag() - 0.9).abs() < 0.02, "{noise:?}");
    let mut found = |mean: f64| {
        let mut times: Vec<u32> = (0..100)
            .map(|_| {
                let (mut test, mut at) =
                    (MeanTest::new(80.0, Noise::new(6.0, 0.9).unwrap(), 0.01, 60).unwrap(), 0.0);
                let crossed = (1..=360).find(|_| {
                    test.observe(gauge(&mut rng, &mut at, mean)).unwrap();
                    test.ln_above() >= -f64::ln(0.01)
                });
                crossed.unwrap_or(9_999) * 5
            })
            .collect();
        times.sort_unstable();
        times
    };
    let (near, far, between) = (found(79.0), found(90.0), found(85.0));
    let within = |times: &[u32]| times.iter().filter(|time| **time <= 1_800).count();
    println!("gauge: 79 {}, 85 {} (63), 90 median {} (375)", within(&near), within(&between), far[50]);
    assert!(
        within(&near) <= 2 && (45..=80).contains(&within(&between)),
        "{} {}",
        within(&near),
        within(&between)
    );
    assert!((250..=500).contains(&far[50]), "{}", far[50]);
}

#[test]
fn requests_are_compared_with_the_share_that_was_promised() {
    let mut rule = RateRule::new(0.5).unwrap();
    assert_eq!(rule.reading(), RateReading::Unknown);
    rule.observe(50, 950, 0.05).unwrap();
    assert_eq!(rule.reading(), RateReading::Enough { part: 1.0 });
    rule.observe(10, 950, 0.05).unwrap();
    assert!(matches!(rule.reading(), RateReading::Doubtful { .. }));
    (0..4).for_each(|_| rule.observe(2, 300, 0.05).unwrap());
    assert!(matches!(rule.reading(), RateReading::TooFew { part } if part < 0.2));
    assert!(rule.observe(1, 1, 1.0).is_err());
    let (mut right, mut wrong) =
        (SplitTest::new(Dispersion::NONE).unwrap(), SplitTest::new(Dispersion::NONE).unwrap());
    for (new, share) in [(50, 0.05), (250, 0.25), (500, 0.5)] {
        right.observe(new, 1_000 - new, share).unwrap();
        wrong.observe(20, 980, share).unwrap();
    }
    assert!(right.ln_evidence() < 0.0 && wrong.ln_evidence() > 50.0);
}

#[test]
fn the_part_of_the_requests_that_came_is_among_the_plausible_ones() {
    let (mut rng, windows) = (Rng::with_seed(21), 1_000);
    let left = (0..windows).filter(|_| {
        let mut rule = RateRule::new(0.5).unwrap();
        let new = failures(&mut rng, 2_000, 0.05);
        rule.observe(new, 2_000 - new, 0.05).unwrap();
        let (least, most) = rule.plausible().unwrap();
        least > 1.0 || most < 1.0
    });
    let left = left.count();
    assert!(left <= 50 + 21, "{left} of {windows}");
}

#[test]
fn the_mean_of_a_gauge_stays_among_the_plausible_ones_at_all_times() {
    let (mut rng, rollouts) = (Rng::with_seed(22), 300);
    let left = (0..rollouts).filter(|_| {
        let (mut test, mut at) = (MeanTest::new(80.0, Noise::new(6.0, 0.9).unwrap(), 0.01, 60).unwrap(), 0.0);
        (0..200).any(|_| {
            test.observe(gauge(&mut rng, &mut at, 70.0)).unwrap();
            let (least, most) = test.plausible(0.1).unwrap().unwrap();
            least > 70.0 || most < 70.0
        })
    });
    let left = left.count();
    assert!(left <= 30 + 16, "{left} of {rollouts}");
}

#[test]
fn a_leak_is_seen_through_outliers_and_its_end_is_foretold() {
    let points: Vec<(f64, f64)> = (0..400)
        .map(|at| {
            (f64::from(at) * 15.0, 500.0 + f64::from(at) * 0.3 + if at % 10 == 0 { 200.0 } else { 0.0 })
        })
        .collect();
    let grows = slope(&points).unwrap();
    assert!((grows / 0.02 - 1.0).abs() < 0.05, "{grows}");
    assert_eq!(time_to_limit(0.02, 0.0, 620.0, 900.0), Some(14_000.0));
    assert_eq!(time_to_limit(0.02, 0.03, 620.0, 900.0), None);
    assert!(slope(&points[..3]).is_err() && slope(&[(1.0, f64::NAN); 9]).is_err());
}
