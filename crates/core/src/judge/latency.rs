//! The latency gates: the whole distribution against the stable release's, and a quantile against a limit.

use alloc::{format, string::String, vec::Vec};

use tidegate_statistics::{
    AbsoluteTest, Histogram, LatencyTest, Layout, Margin, OnsetPrior, Pair, RatioSettings, RatioTest,
};

use super::{
    mix::mixed,
    seat::{Answer, Interval, Standing},
    settings::Settings,
    words,
};
use crate::{gate::Arm, model::Millis};

/// Slower than this is what users can notice: shorter latencies are not told apart, however much they differ.
const NOTICED_US: u64 = 10_000;

/// What was quicker and now takes longer than this is slow for users, not only longer than before.
const SLOW_US: f64 = 25_000.0;

/// Times as long as almost all requests of the stable release took that is slow, too.
const SLOWER: f64 = 1.25;

/// Share of the stable release's requests beyond an edge from which the distribution is compared there. Beyond the last of
/// these edges so few are nobody's slowness, whatever the stable release does.
const RARE: f64 = 0.002;

/// Most that one batch says of the tail, nats: a pause of one instance makes everything slow that it just answers, and is
/// over within a batch or two; a release that is slow stays slow.
const PAUSE: f64 = 2.5;

/// The tail's part of the evidence where the rest of the distribution has some, too.
const TAIL: f64 = 0.2;

/// Requests of the stable release from which edges are chosen; the test begins with the batch after.
const LEARN_MIN: u64 = 200;

/// The whole distribution against the stable release's: at the edges beyond which enough of its requests lie, and at one
/// beyond all of them, or a release would pass that is slow where the stable one never was.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    tolerated: f64,
    settings: Settings,
    onset: OnsetPrior,
    seen: Option<Histogram>,
    body: Option<LatencyTest>,
    tail: Option<Tail>,
    compared: u64,
    against: u64,
    /// Whether all traffic goes to the new release, and nobody is beside it.
    alone: bool,
}

/// Requests that are slow for users, and slower than almost all of the stable release's.
#[derive(Clone, Debug)]
struct Tail {
    edge: f64,
    test: RatioTest,
}

impl Shift {
    pub(super) fn new(settings: &Settings, ratio_max_bp: u32, onset: OnsetPrior) -> Self {
        let tolerated = f64::from(ratio_max_bp) / 10_000.0;
        let settings = settings.clone();
        Self {
            tolerated,
            settings,
            onset,
            seen: None,
            body: None,
            tail: None,
            compared: 0,
            against: 0,
            alone: false,
        }
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let noticed = |arm: &Arm| {
            histogram(&Arm { latency_us: noticed(&arm.latency_us, seen.layout), ..arm.clone() }, seen.layout)
        };
        self.alone = seen.share.is_all();
        if seen.raised {
            self.body.iter_mut().for_each(LatencyTest::raise_traffic);
            self.tail.iter_mut().for_each(|tail| tail.test.raise_traffic());
        }
        let (Some(new), Some(stable)) = (noticed(seen.new), seen.stable.and_then(noticed)) else {
            return;
        };
        if !self.compares() {
            self.learn(stable);
        } else if !seen.warming && !seen.share.is_all() {
            let body = self.body.as_mut().is_some_and(|body| body.observe(&new, &stable) > 0);
            let tail = self.tail.as_mut().is_some_and(|tail| tail.observe(&new, &stable));
            if body || tail {
                self.compared = self.compared.saturating_add(new.total());
                self.against = self.against.saturating_add(stable.total());
            }
        }
    }

    /// Whether it is known where to compare.
    const fn compares(&self) -> bool {
        self.body.is_some() || self.tail.is_some()
    }

    /// Chooses the edges, once enough of the stable release is known.
    fn learn(&mut self, stable: Histogram) {
        let all = match &self.seen {
            Some(before) => before.plus(&stable).unwrap_or(stable),
            None => stable,
        };
        if all.total() >= LEARN_MIN {
            let (margin, dispersion) = (Margin::Count(self.tolerated), self.settings.dispersion());
            self.body = LatencyTest::choose(&all, None, margin, dispersion, self.onset).ok();
            self.tail = Tail::beyond(&all, self.tolerated, &self.settings, self.onset);
        }
        self.seen = Some(all);
    }

    pub(super) fn ln_against(&self) -> f64 {
        match (&self.body, &self.tail) {
            (Some(body), Some(tail)) => mixed(body.ln_evidence(), tail.test.ln_evidence(), TAIL),
            (Some(body), None) => body.ln_evidence(),
            (None, Some(tail)) => tail.test.ln_evidence(),
            (None, None) => 0.0,
        }
    }

    pub(super) fn answer(&self, settings: &Settings, min_requests: u64) -> Answer {
        if self.alone && self.compared == 0 {
            // One switch: what is slow by any measure is the quantiles' to say.
            let reason = "all traffic goes to the release: there is nobody to compare its latencies with";
            return Answer::plain(Standing::Passed, reason.into());
        }
        let fast = !self.compares() && self.seen.as_ref().is_some_and(|seen| seen.total() >= LEARN_MIN);
        let enough = fast || self.compared >= min_requests.max(1);
        let calm = self.ln_against() < settings.nats_to_fail() / 2.0;
        let sign = if calm { "no" } else { "some" };
        let reason = match (&self.body, &self.tail) {
            (None, None) if fast => format!(
                "fewer than 1 of 500 requests of stable take longer than {}, and no bucket tells what is slow: nothing that is noticed can be compared",
                Millis(NOTICED_US / 1_000)
            ),
            (None, None) => "the stable release's latencies are not known yet".into(),
            (None, Some(tail)) => format!(
                "{}, where almost none of stable's did before; {sign} sign of more slow ones than {} x",
                tail.said(),
                words::times(self.tolerated),
            ),
            (Some(_), _) => format!(
                "{} requests compared with {} of stable at every edge; {sign} sign of more slow ones than {} x",
                words::grouped(self.compared),
                words::grouped(self.against),
                words::times(self.tolerated),
            ),
        };
        Answer::plain(if enough && calm { Standing::Passed } else { Standing::Undecided }, reason)
    }

    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        let body = self.body.as_ref().map_or(f64::NEG_INFINITY, LatencyTest::ln_evidence);
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.test.ln_evidence() > body) {
            return format!("{}; {}", tail.said(), words::rarity(ln_against, settings.false_rollback_ppm));
        }
        let edge = self.body.as_ref().and_then(LatencyTest::worst_edge).map_or(0.0, |edge| edge / 1_000.0);
        format!(
            "of {} requests more than {} x as many as on stable took longer than {edge:.1} ms; {}",
            words::grouped(self.compared),
            words::times(self.tolerated),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}

impl Tail {
    /// Behind almost all of what the stable release did; nothing where no bucket ends there.
    fn beyond(stable: &Histogram, tolerated: f64, settings: &Settings, onset: OnsetPrior) -> Option<Self> {
        let rare = |edge: &f64| {
            stable.slower_than(*edge).and_then(tidegate_statistics::Arm::rate).is_some_and(|r| r < RARE)
        };
        let usual = stable.edges().find(rare)?;
        let edge = stable.edge_from((usual * SLOWER).max(SLOW_US))?;
        let settings =
            RatioSettings { tolerated, floor: Some(RARE), dispersion: settings.dispersion(), onset };
        Some(Self { edge, test: RatioTest::new(settings).ok()? })
    }

    /// Whether both releases could be compared there.
    fn observe(&mut self, new: &Histogram, stable: &Histogram) -> bool {
        let both = new.slower_than(self.edge).zip(stable.slower_than(self.edge));
        if let Some((new, stable)) = both {
            self.test.observe_at_most(Pair::new(new, stable), PAUSE);
        }
        both.is_some()
    }

    fn said(&self) -> String {
        words::counted(self.test.total(), &format!("took longer than {:.1} ms", self.edge / 1_000.0))
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
        let test = AbsoluteTest::new(share, settings.dispersion(), onset).ok()?;
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
        if seen.raised {
            self.test.raise_traffic();
        }
        if seen.warming {
            return;
        }
        let Some(bracket) =
            histogram(seen.new, seen.layout).and_then(|all| all.bracket(self.limit_us as f64))
        else {
            return;
        };
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
        let passed = self.test.ln_pass() >= settings.nats_to_pass();
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

#[cfg(test)]
mod tests;
