//! What must hold of the question whether requests are split as was asked.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use proptest::prelude::*;
use tidegate_statistics::{Dispersion, ShareReading, ShareRule};

fn rule() -> ShareRule {
    ShareRule::new(0.5, Dispersion::NONE).unwrap()
}

/// Requests that come one by one, each to the new release with this probability.
fn drawn(requests: u32, share: f64, dice: &mut u64) -> (u64, u64) {
    let mut new = 0;
    for _ in 0..requests {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (*dice >> 11) as f64 / (1_u64 << 53) as f64;
        new += u64::from(uniform < share);
    }
    (new, u64::from(requests) - new)
}

const fn missed(reading: ShareReading) -> bool {
    matches!(reading, ShareReading::Missed(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_that_are_split_as_asked_are_never_called_otherwise(
        percent in 1_u32..=100, requests in 1_u32..400, samples in 1_usize..60, seed in any::<u64>(),
    ) {
        let (share, mut dice) = (f64::from(percent) / 100.0, seed);
        let mut rule = rule();
        for _ in 0..samples {
            let (new, stable) = drawn(requests, share, &mut dice);
            rule.observe(new, stable, share).unwrap();
            // What is near enough leaves so much room that not one of all these looks errs.
            prop_assert!(!missed(rule.reading()), "{:?}", rule.reading());
        }
    }

    #[test]
    fn a_release_that_gets_nothing_is_found_as_soon_as_it_is_said_to_show(percent in 1_u32..100, sample in 1_u64..5_000) {
        let share = f64::from(percent) / 100.0;
        // Five points more are never too many: a stable release that should get so few is not missed.
        for absent in [true, false].into_iter().filter(|absent| *absent || percent < 95) {
            let mut rule = rule();
            let mut seen = 0;
            loop {
                let (new, stable) = if absent { (0, sample) } else { (sample, 0) };
                rule.observe(new, stable, share).unwrap();
                seen += sample;
                match rule.reading() {
                    // None that came is forgotten before the answer.
                    ShareReading::TooFew { seen: counted, needed } => prop_assert!(counted == seen && seen < needed),
                    reading @ (ShareReading::Reached(_) | ShareReading::Missed(_)) => {
                        prop_assert!(missed(reading), "{absent}: {reading:?}");
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_plausible_holds_what_was_observed_and_more_requests_leave_less_of_it(
        new in 0_u64..100_000, stable in 1_u64..100_000, percent in 1_u32..=100,
    ) {
        let share = f64::from(percent) / 100.0;
        let read = |times: u64| {
            let mut rule = rule();
            rule.observe(new * times, stable * times, share).unwrap();
            match rule.reading() {
                ShareReading::Reached(split) | ShareReading::Missed(split) => Some(split),
                ShareReading::TooFew { .. } => None,
            }
        };
        if let (Some(few), Some(many)) = (read(1), read(10)) {
            for split in [few, many] {
                prop_assert!(split.low <= split.observed() + 1e-12 && split.observed() <= split.high + 1e-12);
            }
            prop_assert!(few.low <= many.low && many.high <= few.high);
        }
    }

    #[test]
    fn the_order_of_what_came_long_ago_and_counts_without_bound_change_nothing(
        old in prop::collection::vec((0_u64..u64::MAX, 0_u64..u64::MAX), 0..80), share in 1_u32..=100,
    ) {
        let share = f64::from(share) / 100.0;
        let mut rule = rule();
        for (new, stable) in old {
            rule.observe(new, stable, share).unwrap();
        }
        // As many new samples as a window has at least, each of them with requests enough for it.
        for _ in 0..4 {
            rule.observe(share_of(10_000_000, share), 10_000_000 - share_of(10_000_000, share), share).unwrap();
        }
        let split_as_asked = matches!(rule.reading(), ShareReading::Reached(_) | ShareReading::Missed(_));
        prop_assert!(split_as_asked, "{:?}", rule.reading());
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn share_of(all: u64, share: f64) -> u64 {
    (all as f64 * share) as u64
}
