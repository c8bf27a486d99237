//! Are the requests split as was asked?

use alloc::collections::VecDeque;

use crate::dispersion::Dispersion;
use crate::fault::{Fault, check};

/// Standard normal quantile of the two-sided 99.9 % interval: asked after every sample of a step, a split that is as it should be
/// looks wrong now and then, and the next sample puts it right.
const Z: f64 = 3.290_526_731_491_895;
/// So many more of all requests are never too many for a small share: probes of instances and testers are counted, too.
const MORE: f64 = 0.05;
/// A release that was promised everything is not denied it by less than this: probes of the other, and connections that it keeps.
const LEFT: f64 = 0.25;
/// Samples that a window has at least: the releases are not sampled at the same moment, and one sample of the two may be missing.
const SAMPLES_MIN: usize = 4;
/// Samples that are kept; older ones are taken together.
const SAMPLES_MAX: usize = 32;
/// A window has so many times the requests that a complete absence shows in; older ones are forgotten.
const WINDOW: f64 = 4.0;

/// What the newest requests say of the split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ShareReading {
    /// So few requests that even a release that gets none of them would not show.
    TooFew {
        /// Requests of both releases so far.
        seen: u64,
        /// Requests that are needed.
        needed: u64,
    },
    /// The asked share is plausible.
    Reached(Split),
    /// It is not: the requests are surely split otherwise.
    Missed(Split),
}

/// Requests of both releases, and what they say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Of the new release.
    pub new: u64,
    /// Of both.
    pub all: u64,
    /// Smallest plausible share of the new release; two-sided, 99.9 %.
    pub low: f64,
    /// Largest plausible share.
    pub high: f64,
}

impl Split {
    /// The observed share.
    pub fn observed(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.new as f64 / self.all as f64 }
    }
}

/// A step's share counts as reached while the newest requests do not refute it.
///
/// With `k` of the `n` newest requests at the new release, the plausible shares are Wilson's score interval of `k/φ` hits in `n/φ`
/// trials, two-sided 99.9 % (E. B. Wilson, JASA 22, 1927; φ is the [`Dispersion`]). The asked share `s` is refuted when none of
/// them lies within `l ..= h`, where each release gets at least a part `m` of what its share promises beside the other:
///
/// ```text
/// l = m·s/(m·s + 1 − s), at most 1 − LEFT        h = s/(s + m·(1 − s)), at least s + MORE
/// ```
///
/// Nothing is said before a complete absence of either release would show: `n/φ > z²·(1/l − 1)` and `n/φ > z²·h/(1 − h)`. Only the
/// newest samples count, so that a split that was late is found to be there soon after it is.
///
/// Holds for requests that come one by one, or in bursts as large as φ says. It is no test over time: asked again and again it
/// errs now and then for one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ShareRule {
    part: f64,
    /// Whether more than the share is none either.
    two_sided: bool,
    phi: f64,
    /// The asked share that the samples were taken at.
    share: f64,
    /// New and all requests of each sample, the newest last.
    samples: VecDeque<(u64, u64)>,
    new: u64,
    all: u64,
}

impl ShareRule {
    /// `part`: what each release gets at least of what its share promises, more than 0 and at most 1; usually 0.5.
    pub fn new(part: f64, dispersion: Dispersion) -> Result<Self, Fault> {
        check("the part", part, "more than 0 and at most 1", part > 0.0 && part <= 1.0)?;
        let (phi, samples) = (dispersion.phi(), VecDeque::new());
        Ok(Self { part, two_sided: true, phi, share: 0.0, samples, new: 0, all: 0 })
    }

    /// The same where the new release may get more than its share, as by requests that are marked for it.
    #[must_use]
    pub fn or_more(self) -> Self {
        Self { two_sided: false, ..self }
    }

    /// Takes the requests of one sample while the new release had been given `share` (more than 0, at most 1). Another share than
    /// before begins anew. One without requests says nothing.
    pub fn observe(&mut self, new: u64, stable: u64, share: f64) -> Result<(), Fault> {
        check("the share", share, "more than 0 and at most 1", share > 0.0 && share <= 1.0)?;
        if share.to_bits() != self.share.to_bits() {
            self.begin(share);
        }
        let all = new.saturating_add(stable);
        if all == 0 {
            return Ok(());
        }
        self.samples.push_back((new, all));
        self.new = self.new.saturating_add(new);
        self.all = self.all.saturating_add(all);
        self.forget();
        Ok(())
    }

    /// What the newest requests say.
    pub fn reading(&self) -> ShareReading {
        let (least, most) = self.plausible();
        let needed = self.needed();
        let (hits, trials) = (self.new as f64 / self.phi, self.all as f64 / self.phi);
        if trials <= needed {
            return ShareReading::TooFew {
                seen: self.all,
                needed: whole(libm::floor(needed * self.phi)).saturating_add(1),
            };
        }
        let (low, high) = wilson(hits, trials);
        let split = Split { new: self.new, all: self.all, low, high };
        if high < least || low > most { ShareReading::Missed(split) } else { ShareReading::Reached(split) }
    }

    /// The shares that are near enough to the asked one.
    fn plausible(&self) -> (f64, f64) {
        let (s, m) = (self.share, self.part);
        let least = m * s / (m * s + 1.0 - s);
        let most = s / (s + m * (1.0 - s));
        let most = if self.two_sided { most.max(s + MORE).min(1.0) } else { 1.0 };
        (least.clamp(f64::MIN_POSITIVE, 1.0 - LEFT), most)
    }

    /// Trials in which a complete absence of either release shows, and more than that.
    fn needed(&self) -> f64 {
        let (least, most) = self.plausible();
        Z * Z * (1.0 / least - 1.0).max(if most < 1.0 { most / (1.0 - most) } else { 0.0 })
    }

    fn begin(&mut self, share: f64) {
        self.share = share;
        self.samples.clear();
        (self.new, self.all) = (0, 0);
    }

    /// Forgets the oldest samples that are not needed, and keeps the rest in bounded space.
    fn forget(&mut self) {
        let enough = whole(WINDOW * self.phi * self.needed().max(Z * Z));
        while self.samples.len() > SAMPLES_MIN
            && let Some((new, all)) = self.samples.front().copied()
            && self.all.saturating_sub(all) >= enough
        {
            self.samples.pop_front();
            (self.new, self.all) = (self.new.saturating_sub(new), self.all.saturating_sub(all));
        }
        if self.samples.len() > SAMPLES_MAX
            && let Some((new, all)) = self.samples.pop_front()
            && let Some(next) = self.samples.front_mut()
        {
            *next = (next.0.saturating_add(new), next.1.saturating_add(all));
        }
    }
}

/// Wilson's score interval for `hits` of `trials`, more than none.
fn wilson(hits: f64, trials: f64) -> (f64, f64) {
    let (p, z2) = ((hits / trials).min(1.0), Z * Z);
    let middle = p + z2 / (2.0 * trials);
    let spread = Z * libm::sqrt(p * (1.0 - p) / trials + z2 / (4.0 * trials * trials));
    let scale = 1.0 + z2 / trials;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn whole(number: f64) -> u64 {
    if number.is_nan() { 0 } else { libm::ceil(number).clamp(0.0, 9e15) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(share: f64, samples: &[(u64, u64)]) -> ShareReading {
        let mut rule = ShareRule::new(0.5, Dispersion::NONE).unwrap();
        for &(new, stable) in samples {
            rule.observe(new, stable, share).unwrap();
        }
        rule.reading()
    }

    #[test]
    fn the_shares_that_are_near_enough_are_worked_out_by_hand() {
        // Asked 20 %: half of it beside four fifths is 1 of 9, all of it beside two fifths is 1 of 3.
        let mut rule = ShareRule::new(0.5, Dispersion::NONE).unwrap();
        rule.observe(1, 4, 0.2).unwrap();
        let (least, most) = rule.plausible();
        assert!((least - 1.0 / 9.0).abs() < 1e-12 && (most - 1.0 / 3.0).abs() < 1e-12, "{least} {most}");
        // Complete absence shows from 3.29² × 8 requests on: 86.6.
        assert_eq!(after(0.2, &[(0, 86)]), ShareReading::TooFew { seen: 86, needed: 87 });
        assert!(matches!(after(0.2, &[(0, 87)]), ShareReading::Missed(split) if split.high < 1.0 / 9.0));
        assert!(matches!(after(0.2, &[(18, 70)]), ShareReading::Reached(_)));
    }

    #[test]
    fn a_share_is_missed_on_both_sides_and_at_the_end() {
        for (share, samples, reached) in [
            (0.2, &[(15, 4_985)][..], false),
            (0.2, &[(1_000, 4_000)], true),
            (0.2, &[(4_000, 1_000)], false),
            (0.05, &[(40, 960)], true),
            (0.05, &[(0, 1_000)], false),
            (0.5, &[(100, 900)], false),
            (1.0, &[(500, 500)], false),
            (1.0, &[(950, 50)], true),
            (1.0, &[(0, 1_000)], false),
        ] {
            let reading = after(share, samples);
            assert_eq!(
                matches!(reading, ShareReading::Reached(_)),
                reached,
                "{share} {samples:?}: {reading:?}"
            );
            assert_eq!(
                matches!(reading, ShareReading::Missed(_)),
                !reached,
                "{share} {samples:?}: {reading:?}"
            );
        }
    }

    #[test]
    fn a_split_that_was_late_is_found_to_be_there_soon_after() {
        let mut rule = ShareRule::new(0.5, Dispersion::NONE).unwrap();
        for _ in 0..50 {
            rule.observe(0, 500, 0.2).unwrap();
        }
        assert!(matches!(rule.reading(), ShareReading::Missed(_)));
        let late = (1..20).find(|_| {
            rule.observe(100, 400, 0.2).unwrap();
            matches!(rule.reading(), ShareReading::Reached(_))
        });
        assert!(late.is_some_and(|samples| samples <= SAMPLES_MIN), "{late:?}");
        // Another share is another question.
        rule.observe(1, 1, 0.5).unwrap();
        assert!(matches!(rule.reading(), ShareReading::TooFew { seen: 2, .. }));
    }

    #[test]
    fn a_large_share_is_answered_at_a_trickle_of_requests_too() {
        for percent in [67, 80, 90, 94] {
            let mut rule = ShareRule::new(0.5, Dispersion::NONE).unwrap();
            let share = f64::from(percent) / 100.0;
            let answered = (1..=200).find(|_| {
                rule.observe(10, 0, share).unwrap();
                matches!(rule.reading(), ShareReading::Missed(_))
            });
            assert!(answered.is_some(), "{percent}: {:?}", rule.reading());
        }
    }

    #[test]
    fn where_marked_requests_reach_the_release_more_than_its_share_is_no_fault() {
        for (marked, missed) in [(false, true), (true, false)] {
            let rule = ShareRule::new(0.5, Dispersion::NONE).unwrap();
            let mut rule = if marked { rule.or_more() } else { rule };
            rule.observe(600, 400, 0.05).unwrap();
            assert_eq!(matches!(rule.reading(), ShareReading::Missed(_)), missed);
            rule.observe(0, 100_000, 0.05).unwrap();
            assert!(matches!(rule.reading(), ShareReading::Missed(_)), "fewer is one");
        }
    }

    #[test]
    fn bursts_need_more_requests() {
        let mut rule = ShareRule::new(0.5, Dispersion::new(10.0).unwrap()).unwrap();
        rule.observe(0, 500, 0.2).unwrap();
        assert_eq!(rule.reading(), ShareReading::TooFew { seen: 500, needed: 867 });
    }
}
