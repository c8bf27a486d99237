//! Counts by route, zone or method: where the mix of requests differs between the releases, like is compared with like.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use tidegate_statistics::{Arm, Pair};

use crate::gate::Arm as Counted;

/// Strata of one interval at most; what comes after these counts as one.
pub const STRATA_MAX: usize = 16;

/// Requests of both releases over an interval that have one property in common: a route, a zone, a method.
///
/// The gate on errors then asks whether the release is worse *within* each of them, and adds up what speaks against it. A
/// release that gets more of the requests that fail anyway is not turned back for it, and one that is worse everywhere is
/// not saved by getting fewer. All requests that belong to none are one more stratum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stratum {
    /// What they have in common, in the words of the source. The same from batch to batch is not needed.
    pub name: String,
    /// Counts of both releases, each among those of the whole interval.
    #[serde(flatten)]
    pub pair: Pair,
}

impl Stratum {
    /// Requests of each release, and of those the failed ones; nothing where more failed than there are.
    pub fn new(name: &str, new: (u64, u64), stable: (u64, u64)) -> Option<Self> {
        Some(Self { name: name.to_owned(), pair: Pair::of_counts(new.0, stable.0, new.1, stable.1).ok()? })
    }

    /// Whether these are parts of what was counted of the releases, none of which shares a request with another.
    pub fn are_among(strata: &[Self], new: &Counted, stable: Option<&Counted>) -> bool {
        let stable = stable.map_or((0, 0), |stable| (stable.requests, stable.failures));
        let all = Pair::of_counts(new.requests, stable.0, new.failures, stable.1).ok();
        let left = |all| strata.iter().try_fold(all, |rest, stratum| minus(rest, stratum.pair));
        all.and_then(left).is_some()
    }

    /// `all` by stratum, and what is left; `all` as it is where the strata have more than there is.
    pub(super) fn split(strata: &[Self], all: Pair) -> Vec<Pair> {
        if strata.is_empty() {
            return Vec::from([all]);
        }
        let strata = strata.get(..STRATA_MAX).unwrap_or(strata);
        let mut rest = all;
        let mut pairs = Vec::with_capacity(strata.len() + 1);
        for stratum in strata {
            let Some(left) = minus(rest, stratum.pair) else { return Vec::from([all]) };
            rest = left;
            pairs.push(stratum.pair);
        }
        // Where nothing failed nothing is said of the ratio: those are counted together, at the price of one.
        let fails = |pair: &Pair| pair.new.failures() > 0 || pair.stable.failures() > 0;
        let (mut failed, calm): (Vec<Pair>, Vec<Pair>) = pairs.into_iter().chain([rest]).partition(fails);
        failed.push(calm.into_iter().fold(Pair::default(), Pair::plus));
        failed
    }
}

/// What is left of both releases' counts.
fn minus(all: Pair, part: Pair) -> Option<Pair> {
    let of = |all: Arm, part: Arm| {
        let requests = all.requests().checked_sub(part.requests())?;
        Arm::new(requests, all.failures().checked_sub(part.failures())?).ok()
    };
    Some(Pair::new(of(all.new, part.new)?, of(all.stable, part.stable)?))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{
        gate::{Gate, Judgement, Look, Mode, Rule, Verdict, Window},
        judge::{Batch, Judge, MetricBatch, Said, Settings},
        model::{Millis, Share, Timestamp},
    };

    fn stratum(name: &str, counts: [u64; 4]) -> Stratum {
        Stratum { name: name.into(), pair: pair(counts) }
    }

    fn pair([new, stable, new_failed, stable_failed]: [u64; 4]) -> Pair {
        Pair::of_counts(new, stable, new_failed, stable_failed).unwrap()
    }

    #[test]
    fn every_request_is_in_exactly_one_part() {
        let all = pair([100, 900, 5, 9]);
        let strata =
            [stratum("a", [10, 200, 3, 2]), stratum("b", [20, 20, 0, 0]), stratum("c", [0, 1, 0, 1])];
        let parts = Stratum::split(&strata, all);
        assert_eq!(
            parts,
            [pair([10, 200, 3, 2]), pair([0, 1, 0, 1]), pair([70, 679, 2, 6]), pair([20, 20, 0, 0])]
        );
        assert_eq!(parts.into_iter().fold(Pair::default(), Pair::plus), all);
        let many: Vec<Stratum> = (0..40).map(|_| stratum("one", [2, 2, 1, 0])).collect();
        let parts = Stratum::split(&many, pair([100, 900, 40, 9]));
        assert_eq!(parts.len(), STRATA_MAX + 2);
        assert_eq!(parts.into_iter().fold(Pair::default(), Pair::plus), pair([100, 900, 40, 9]));
    }

    /// What the gate on errors says after a minute of such seconds at 10 %, with the strata told apart or not.
    fn after_a_minute(strata: &[Stratum], told: bool) -> Judgement {
        let rule = Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE };
        let gate =
            Gate { mode: Mode::Sequential, metric: Some("app".into()), ..Gate::new("error_rate", rule) };
        let settings = Settings { warmup: Millis::ZERO, ..Settings::default() };
        let mut judge = Judge::with(&settings, [&gate], &[Share::percent(10)], 1, 60);
        let all = strata.iter().fold(Pair::default(), |sum, stratum| sum.plus(stratum.pair));
        let counted = |arm: Arm, percent| Counted {
            length: Millis::secs(1),
            share: Share::percent(percent),
            requests: arm.requests(),
            failures: arm.failures(),
            latency_us: Vec::new(),
        };
        let (new, stable) = (counted(all.new, 10), counted(all.stable, 90));
        let strata = if told { strata.to_vec() } else { Vec::new() };
        for number in 1..=60 {
            let said =
                Said::Counts { new: new.clone(), stable: Some(stable.clone()), strata: strata.clone() };
            judge.take(&Batch {
                number,
                at: Timestamp(i64::try_from(number).unwrap() * 1_000),
                stage: Some(0),
                new: new.clone(),
                stable: Some(stable.clone()),
                metrics: vec![MetricBatch { metric: "app".into(), said }],
                ..Batch::default()
            });
        }
        judge.ask(&gate, &Window::default(), Some(0), Look::Final)
    }

    #[test]
    fn a_release_that_gets_more_of_what_fails_anyway_is_not_turned_back_for_it() {
        // Searches fail in one of ten cases, everything else in one of a hundred, whatever the release.
        let mix = [stratum("/search", [80, 90, 8, 9]), stratum("/cart", [100, 1_600, 1, 16])];
        assert_eq!(after_a_minute(&mix, false).verdict, Verdict::Fail);
        let told = after_a_minute(&mix, true);
        assert_eq!(told.verdict, Verdict::Pass, "{}", told.reason);
        assert!(told.reason.contains("within each of 2 strata"), "{}", told.reason);
    }

    #[test]
    fn a_release_that_is_worse_everywhere_is_not_saved_by_an_easier_mix() {
        let mix = [stratum("/search", [10, 900, 3, 90]), stratum("/cart", [200, 900, 6, 9])];
        assert_ne!(after_a_minute(&mix, false).verdict, Verdict::Fail);
        let told = after_a_minute(&mix, true);
        assert_eq!(told.verdict, Verdict::Fail, "{}", told.reason);
    }

    #[test]
    fn batches_of_before_strata_are_read_as_they_were_and_strata_come_back_as_written() {
        let old = r#"{"counts":{"new":{"length":1000,"share":500,"requests":5,"failures":1,"latency_us":[]},"stable":null}}"#;
        let said: Said = serde_json::from_str(old).unwrap();
        assert!(matches!(&said, Said::Counts { strata, .. } if strata.is_empty()));
        assert_eq!(serde_json::to_string(&said).unwrap(), old);
        let Said::Counts { new, stable, .. } = said else { panic!("counts") };
        let said = Said::Counts { new, stable, strata: vec![stratum("/search", [3, 7, 1, 2])] };
        let text = serde_json::to_string(&said).unwrap();
        assert_eq!(serde_json::from_str::<Said>(&text).unwrap(), said, "{text}");
    }

    #[test]
    fn strata_with_more_than_there_is_are_not_believed() {
        let all = pair([100, 900, 5, 9]);
        for strata in [
            [stratum("a", [60, 0, 0, 0]), stratum("b", [41, 0, 0, 0])],
            [stratum("a", [60, 0, 0, 0]), stratum("b", [6, 0, 6, 0])],
            [stratum("a", [95, 0, 0, 0]), stratum("b", [5, 0, 0, 0])],
        ] {
            assert_eq!(Stratum::split(&strata, all), [all]);
        }
    }
}
