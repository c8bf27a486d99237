//! The latency gates: the whole distribution against the stable release's, and a quantile against a limit.

use alloc::{format, string::String, vec::Vec};

use tidegate_statistics::{AbsoluteTest, Histogram, LatencyTest, Layout, Margin, OnsetPrior};

use super::{
    error::{dispersion, ln_inverse},
    panel::{Answer, Interval, Standing},
    settings::Settings,
    words,
};
use crate::{gate::Arm, model::Millis};

/// Slower than this is what users can notice: shorter latencies are not told apart, however much they differ.
const NOTICED_US: u64 = 10_000;

/// Requests of the stable release from which edges are chosen; the test begins with the batch after.
const LEARN_MIN: u64 = 200;

/// The whole distribution against the stable release's.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    tolerated: f64,
    settings: Settings,
    onset: OnsetPrior,
    seen: Option<Histogram>,
    test: Option<LatencyTest>,
    compared: u64,
    against: u64,
}

impl Shift {
    pub(super) fn new(settings: &Settings, ratio_max_bp: u32, onset: OnsetPrior) -> Self {
        let tolerated = f64::from(ratio_max_bp) / 10_000.0;
        Self { tolerated, settings: settings.clone(), onset, seen: None, test: None, compared: 0, against: 0 }
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let noticed = |arm: &Arm| {
            histogram(&Arm { latency_us: noticed(&arm.latency_us, seen.layout), ..arm.clone() }, seen.layout)
        };
        let (Some(new), Some(stable)) = (noticed(seen.new), seen.stable.and_then(noticed)) else {
            return;
        };
        if let Some(test) = self.test.as_mut().filter(|_| !seen.warming && !seen.share.is_all()) {
            if seen.raised {
                test.raise_traffic();
            }
            if test.observe(&new, &stable) > 0 {
                self.compared = self.compared.saturating_add(new.total());
                self.against = self.against.saturating_add(stable.total());
            }
        } else if self.test.is_none() {
            let all = match &self.seen {
                Some(before) => before.plus(&stable).unwrap_or(stable),
                None => stable,
            };
            if all.total() >= LEARN_MIN {
                let margin = Margin::Count(self.tolerated);
                self.test =
                    LatencyTest::choose(&all, None, margin, dispersion(&self.settings), self.onset).ok();
            }
            self.seen = Some(all);
        }
    }

    pub(super) fn ln_against(&self) -> f64 {
        self.test.as_ref().map_or(0.0, LatencyTest::ln_evidence)
    }

    pub(super) fn answer(&self, min_requests: u64) -> Answer {
        let fast = self.test.is_none() && self.seen.as_ref().is_some_and(|seen| seen.total() >= LEARN_MIN);
        let enough = fast || self.compared >= min_requests.max(1);
        let reason = match &self.test {
            None if fast => format!(
                "fewer than 1 of 500 requests of stable take longer than {}: nothing that is noticed can be compared",
                Millis(NOTICED_US / 1_000)
            ),
            None => "the stable release's latencies are not known yet".into(),
            Some(_) => format!(
                "{} requests compared with {} of stable at every edge; no sign of more slow ones than {} x",
                words::grouped(self.compared),
                words::grouped(self.against),
                words::times(self.tolerated),
            ),
        };
        Answer::plain(if enough { Standing::Passed } else { Standing::Undecided }, reason)
    }

    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        let edge = self.test.as_ref().and_then(LatencyTest::worst_edge).map_or(0.0, |edge| edge / 1_000.0);
        format!(
            "of {} requests more than {} x as many as on stable took longer than {edge:.1} ms; {}",
            words::grouped(self.compared),
            words::times(self.tolerated),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}

/// A quantile below a limit: at most so many requests slower than it.
#[derive(Clone, Debug)]
pub(super) struct Quantile {
    basis_points: u16,
    limit_us: u64,
    test: AbsoluteTest,
    timed: u64,
    slow: u64,
    exact: bool,
}

impl Quantile {
    /// Nothing when the quantile leaves no share to be slower.
    pub(super) fn new(
        settings: &Settings,
        quantile_bp: u16,
        limit: Millis,
        onset: OnsetPrior,
    ) -> Option<Self> {
        let share = f64::from(10_000_u16.checked_sub(quantile_bp)?) / 10_000.0;
        let test = AbsoluteTest::new(share, dispersion(settings), onset).ok()?;
        Some(Self {
            basis_points: quantile_bp,
            limit_us: limit.0.saturating_mul(1_000),
            test,
            timed: 0,
            slow: 0,
            exact: true,
        })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        if seen.warming {
            return;
        }
        let Some(bracket) =
            histogram(seen.new, seen.layout).and_then(|all| all.bracket(self.limit_us as f64))
        else {
            return;
        };
        if seen.raised {
            self.test.raise_traffic();
        }
        self.timed = self.timed.saturating_add(bracket.above.requests());
        self.slow = self.slow.saturating_add(bracket.above.failures());
        self.exact &= bracket.exact;
        self.test.observe_bracket(bracket);
    }

    pub(super) fn ln_against(&self) -> f64 {
        self.test.ln_fail()
    }

    fn seen(&self) -> String {
        let inexact = if self.exact { "" } else { " (counted at the next edges of the histogram)" };
        format!(
            "{} of {} requests took longer than {}{inexact}, {} may",
            words::grouped(self.slow),
            words::grouped(self.timed),
            Millis(self.limit_us / 1_000),
            words::percent(Some(self.test.limit())),
        )
    }

    pub(super) fn answer(&self, settings: &Settings) -> Answer {
        let passed = self.test.ln_pass() >= ln_inverse(settings.miss_ppm);
        let more = if passed { "" } else { "; too few requests to be sure" };
        let standing = if passed { Standing::Passed } else { Standing::Undecided };
        let answer = Answer::plain(standing, format!("{}{more}", self.seen()));
        let rate = (self.timed > 0).then(|| self.slow as f64 / self.timed as f64);
        Answer { value: rate, limit: Some(self.test.limit()), ln_for: self.test.ln_pass(), ..answer }
    }

    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        format!(
            "{}: P{} is above the limit; {}",
            self.seen(),
            f64::from(self.basis_points) / 100.0,
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}

/// The same buckets with those below what is noticed as one.
fn noticed(buckets: &[(u64, u64)], layout: Layout) -> Vec<(u64, u64)> {
    let (fast, slow): (Vec<_>, Vec<_>) = buckets.iter().partition(|(edge, _)| *edge <= NOTICED_US);
    // Where only listed edges exist, the highest of those that are not noticed stays what it is.
    let edge = match layout {
        Layout::Listed => fast.last().map(|(edge, _)| *edge),
        Layout::Exponential { .. } | Layout::Shared { .. } => Some(NOTICED_US),
    };
    let fast = fast.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    edge.map(|edge| (edge, fast)).into_iter().chain(slow).collect()
}

/// The arm's latencies in microseconds.
fn histogram(arm: &Arm, layout: Layout) -> Option<Histogram> {
    if arm.latency_us.is_empty() && arm.requests > 0 {
        return None;
    }
    // The largest number stands for a bucket without an upper edge.
    let edge = |edge: u64| if edge == u64::MAX { f64::INFINITY } else { edge as f64 };
    let buckets: Vec<(f64, u64)> =
        arm.latency_us.iter().map(|&(upper, count)| (edge(upper), count)).collect();
    Histogram::new(layout, buckets).ok()
}
