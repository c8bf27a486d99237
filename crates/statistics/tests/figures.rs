//! Figures that the reference gives in passing, section by section.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use tidegate_statistics::{
    Arm, Comparison, Dispersion, Exposure, Pair, Planner, RatioInterval, RatioRule, RatioSettings, RatioTest,
    Traffic, monthly_error_budget, requests_to_decide, share_rule_failing, wald_nats, worst_damage,
};

fn after(new: u64, stable: u64, new_failed: u64, stable_failed: u64) -> RatioInterval {
    let mut interval = RatioInterval::new(Dispersion::NONE);
    interval.observe(Pair::of_counts(new, stable, new_failed, stable_failed).unwrap());
    interval
}

fn stages(seconds: f64) -> [Exposure; 3] {
    [0.05, 0.25, 0.5].map(|share| Exposure::new(share, seconds).unwrap())
}

/// Whether `mine` is what the reference prints, to half of its last digit.
fn prints(mine: f64, printed: f64, half_digit: f64) -> bool {
    (mine - printed).abs() <= half_digit * 1.000_001
}

#[test]
fn posteriors_and_plausible_ratios_are_those_of_the_reference() {
    for (counts, percent, half_digit) in [
        ((60, 1140, 3, 1), 98.8, 0.05),
        ((3_000, 57_000, 30, 570), 0.03, 0.005),
        ((300, 5_700, 1, 6), 5.6, 0.05),
        ((20_000, 380_000, 40, 380), 94.0, 0.5),
        // Printed as 0.9; the formula gives 0.848.
        ((20_000, 380_000, 25, 380), 0.9, 0.1),
    ] {
        let interval = after(counts.0, counts.1, counts.2, counts.3);
        let mine = 100.0 * interval.bad_probability(0.1).unwrap();
        assert!(prints(mine, percent, half_digit), "{counts:?} {mine} {percent}");
    }
    // The reference prints the outermost plausible ones of the 120 ratios; the ends lie beyond them, by less than a step.
    let beyond = |inner: f64, end: f64| (1.0..1.0868 * 1.01).contains(&(inner / end).max(end / inner));
    let seen = after(60, 1_140, 3, 1).bounds(0.05).unwrap();
    assert!(seen.lower <= 2.7 && beyond(2.7, seen.lower) && seen.upper.is_none(), "{seen:?}");
    let seen = after(3_000, 57_000, 30, 570).bounds(0.05).unwrap();
    let upper = seen.upper.unwrap();
    assert!(seen.lower <= 0.515 && beyond(0.51, seen.lower), "{seen:?}");
    assert!(upper >= 1.785 && beyond(1.79, upper), "{seen:?}");
    let seen = after(300, 5_700, 0, 6).bounds(0.05).unwrap();
    assert!(
        seen.lower == 0.0 && seen.upper.is_some_and(|upper| upper > 16.5 && beyond(17.0, upper)),
        "{seen:?}"
    );
}

#[test]
fn three_of_60_against_one_of_1140_is_as_rare_as_one_in_224() {
    let mut test = RatioTest::new(RatioSettings::plain(1.1)).unwrap();
    test.observe(Pair::of_counts(60, 1_140, 3, 1).unwrap());
    assert!(prints(tidegate_statistics::one_in(test.ln_evidence()), 224.0, 0.5), "{}", test.ln_evidence());
}

#[test]
fn the_bounds_in_failed_requests_are_those_of_table_3_6() {
    let ratios = [1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0, 50.0, 500.0];
    for (share, row) in [
        (0.05, [1203.0, 336.0, 102.0, 30.0, 12.0, 6.3, 3.7, 2.0, 1.5]),
        (0.25, [1564.0, 439.0, 135.0, 41.0, 17.0, 9.4, 5.9, 3.8, 3.3]),
        (0.5, [2422.0, 684.0, 214.0, 66.0, 29.0, 16.0, 11.0, 7.4, 6.6]),
    ] {
        let (traffic, long) = (Traffic::new(1000.0, 1e-5).unwrap(), [Exposure::new(share, 1e12).unwrap()]);
        for (ratio, printed) in ratios.into_iter().zip(row) {
            let mine = Planner::BOUND.detection(traffic, ratio, &long).unwrap().failed_requests;
            assert!(
                prints(mine, printed, if printed < 10.0 { 0.05 } else { 0.55 }),
                "{share} {ratio} {mine} {printed}"
            );
        }
    }
}

#[test]
fn the_bounds_of_tables_3_3_and_3_5_are_met() {
    for (rps, stable, new, at_wald, at_power_one) in [
        (100.0, 0.001, 0.05, (7.8, 0.05), (8.6, 0.05)),
        (100.0, 0.001, 0.5, (0.55, 0.005), (0.61, 0.005)),
        (1_000.0, 0.001, 0.002, (302.0, 0.5), (333.0, 0.5)),
        (1_000.0, 0.001, 0.01, (7.3, 0.05), (8.0, 0.05)),
        (1_000.0, 0.01, 0.02, (30.0, 0.5), (33.0, 0.5)),
        (10_000.0, 0.01, 0.02, (3.0, 0.05), (3.3, 0.05)),
        (100.0, 0.01, 0.05, (25.0, 0.5), (27.0, 0.5)),
    ] {
        let limit = Traffic::new(rps, stable).unwrap().information_limit_per_s(0.05, new / stable, 1.1);
        for (nats, (printed, half_digit)) in
            [(wald_nats(0.01, 0.05), at_wald), (wald_nats(0.01, 0.0), at_power_one)]
        {
            assert!(
                prints(nats / limit, printed, half_digit),
                "{rps} {stable} {new}: {} {printed}",
                nats / limit
            );
        }
    }
    let slow = Planner::BOUND.detection(Traffic::new(100.0, 0.001).unwrap(), 2.0, &stages(600.0)).unwrap();
    assert!(prints(slow.seconds, 1247.0, 0.5) && slow.stage == 2, "{slow:?}");
}

#[test]
fn the_smallest_visible_ratios_are_those_of_table_3_7() {
    for (rps, share, row) in [
        (10.0, 0.001, [14.0, 5.1, 3.6, 1.95]),
        (100.0, 0.001, [3.6, 2.05, 1.74, 1.34]),
        (1_000.0, 0.001, [1.74, 1.37, 1.29, 1.17]),
        (10_000.0, 0.001, [1.29, 1.18, 1.16, 1.12]),
        (10_000.0, 0.01, [1.16, 1.13, 1.12, 1.11]),
    ] {
        for (seconds, printed) in [60.0, 300.0, 600.0, 3600.0].into_iter().zip(row) {
            let mine =
                Planner::BOUND.smallest_ratio(Traffic::new(rps, share).unwrap(), &stages(seconds)).unwrap();
            let half_digit = if printed > 10.0 {
                0.5
            } else if printed > 3.0 {
                0.05
            } else {
                0.005
            };
            assert!(prints(mine, printed, half_digit), "{rps} {share} {seconds}: {mine} {printed}");
        }
    }
}

#[test]
fn the_plain_rule_fails_healthy_releases_as_often_as_table_3_2_says() {
    let failing = |rps, share, comparison| {
        let rule = RatioRule { tolerated: 1.1, comparison };
        100.0 * rule.failing(Traffic::new(rps, share).unwrap(), 1.0, &stages(60.0))
    };
    for (rps, row) in [
        (10.0, [5.0, 33.0, 75.0, 79.0]),
        (100.0, [33.0, 75.0, 75.0, 59.0]),
        (1_000.0, [75.0, 75.0, 47.0, 12.0]),
        (10_000.0, [75.0, 47.0, 4.8, 0.0]),
        (100_000.0, [47.0, 4.9, 0.0, 0.0]),
    ] {
        for (share, printed) in [0.0001, 0.001, 0.01, 0.05].into_iter().zip(row) {
            let mine = failing(rps, share, Comparison::BelowOrNone);
            let half_digit = if printed < 4.95 { 0.05 } else { 0.5 };
            assert!(prints(mine, printed, half_digit), "{rps} {share}: {mine} {printed}");
        }
    }
    for (rps, share, printed) in
        [(10.0, 0.0001, 100.0), (10.0, 0.001, 97.0), (100.0, 0.0001, 97.0), (100.0, 0.001, 75.0)]
    {
        assert!(prints(failing(rps, share, Comparison::Below), printed, 0.5), "{rps} {share}");
    }
}

#[test]
fn one_stage_has_one_percent_false_alarms_at_the_failures_of_section_0() {
    for (share, failures) in [(0.05, 575.0), (0.25, 759.0), (0.5, 1196.0)] {
        let exposure = Exposure::new(share, failures / share / 1e-4 / 1000.0).unwrap();
        let rule = RatioRule { tolerated: 1.1, comparison: Comparison::BelowOrNone };
        let mine = rule.failing_stage(Traffic::new(1000.0, 1e-4).unwrap(), 1.0, exposure);
        assert!(prints(mine, 0.01, 0.001), "{share} {mine}");
    }
}

#[test]
fn the_normal_approximation_takes_over_where_exact_sums_are_too_long() {
    let rule = RatioRule { tolerated: 1.001, comparison: Comparison::Below };
    let failing =
        |rps| rule.failing_stage(Traffic::new(rps, 0.3).unwrap(), 1.0, Exposure::new(0.5, 1e5).unwrap());
    let (exact, approximate) = (failing(5_800.0), failing(6_800.0));
    assert!(approximate < exact && exact - approximate < 0.003, "{exact} {approximate}");
}

#[test]
fn a_point_rule_on_latency_is_wrong_as_often_as_section_2_3_says() {
    assert!(prints(share_rule_failing(300, 0.04, 0.05).unwrap(), 0.22, 0.005));
    assert!(prints(1.0 - share_rule_failing(300, 0.055, 0.05).unwrap(), 0.32, 0.005));
    for (slow, printed) in [(0.06, 4_210.0), (0.07, 1_109.0), (0.1, 202.0), (0.2, 30.0), (0.5, 5.0)] {
        assert!(prints(requests_to_decide(slow, 0.05, 0.01, 0.05).unwrap(), printed, 0.5), "{slow}");
    }
    for (slow, printed) in [(0.04, 2_352.0), (0.03, 543.0), (0.02, 218.0), (0.01, 107.0)] {
        assert!(prints(requests_to_decide(slow, 0.05, 0.05, 0.05).unwrap(), printed, 0.5), "{slow}");
    }
}

#[test]
fn ruling_out_a_twofold_ratio_takes_what_section_3_9_says() {
    for (rps, share, printed) in [(100.0, 0.001, 1875.0), (1_000.0, 0.001, 187.5), (10_000.0, 0.01, 1.9)] {
        let mine = Planner::BOUND.seconds_to_rule_out(Traffic::new(rps, share).unwrap(), 0.05, 2.0);
        assert!((mine / printed - 1.0).abs() < 0.015, "{mine} {printed}");
    }
    assert!(prints(wald_nats(0.01, 0.05), 4.177, 0.0005));
}

#[test]
fn the_worst_plausible_damage_is_that_of_section_5() {
    let (interval, stable) = (after(300, 5_700, 0, 6), Arm::new(5_700, 6).unwrap());
    let next = Exposure::new(0.25, 600.0).unwrap();
    let damage = worst_damage(&interval, 0.05, stable, 100.0, next, &Planner::BOUND).unwrap().unwrap();
    // "About 20 failed requests, 0.01 % of this month's error budget".
    assert!(prints(damage, 20.0, 5.0), "{damage}");
    assert!(prints(100.0 * damage / monthly_error_budget(100.0, 0.999).unwrap(), 0.01, 0.005));
}
