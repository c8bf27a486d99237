//! What a plan will be able to see, before it runs: at this traffic, in what time, at what price.
//!
//! Section 2.3 and formula (5) of the statistics say how fast evidence can come at all; the shipped tests take 1.6 times
//! as long, and longer still by the dispersion that was learned. Everything here is an expectation, not a promise.

mod plain;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};

use serde::{Serialize, Serializer};
use tidegate_statistics::{Exposure, Planner, SHIPPED_SLOWDOWN, Traffic, requests_to_decide};

use super::{
    batch::Batch,
    error::{AFTER, bad_after, ratio_max_bp},
    words,
};
use crate::{
    gate::{Arm, Mode},
    model::{Millis, Share},
    plan::{Plan, Stage},
};

/// Failed share that is assumed where none was ever seen: the floor of the error gate.
const FAILED_MIN: f64 = 1e-4;

/// Halvings that find the smallest ratio to a thousandth.
const HALVINGS: u32 = 40;

/// Times longer than this are as good as never.
const NEVER_S: f64 = 30.0 * 86_400.0;

/// The traffic that a plan is looked at with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Requests per second of both releases together.
    pub requests_per_s: f64,
    /// Share of the stable release's requests that fail, 0 to 1.
    pub failed_share: f64,
    /// The stable release's latencies, `(upper edge in microseconds, count)`, edges rising; empty when unknown.
    #[serde(skip)]
    pub latency_us: Vec<(u64, u64)>,
}

/// What is known of a plan before it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// The traffic that it is worked out for.
    pub load: Load,
    /// Ratio to the stable release's failures that is tolerated, learned spread of instances included.
    pub tolerated: f64,
    /// Ratio that must be ruled out.
    pub bad: f64,
    /// Learned dispersion: all times are so many times longer than for independent requests.
    pub dispersion: f64,
    /// Every stage.
    pub stages: Vec<StageOutlook>,
    /// When each regression is found over the whole rollout, while undecided stages last as long as they may.
    pub found: Vec<Found>,
    /// The gates that ask plainly, with how often they turn back a release that is as good as the stable one.
    pub plain: Vec<PlainGate>,
}

/// What one stage can see.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageOutlook {
    /// Its name in the plan.
    pub name: String,
    /// The new release's share of traffic.
    pub share: Share,
    /// How long it lasts at least.
    pub bake: Millis,
    /// How long it lasts at most, when nothing is decided.
    pub at_most: Millis,
    /// What the new release is compared with.
    pub against: Against,
    /// Smallest ratio that is seen by its end, with the evidence of the stages before, when all of them end after their
    /// bakes; nothing when not even a thousandfold one is.
    pub smallest: Option<f64>,
    /// The same when all of them last as long as they may.
    pub smallest_at_most: Option<f64>,
    /// Time at this share until a healthy release is proven not to be bad.
    pub rule_out: Option<Millis>,
    /// When each regression would be found at this share alone, however long it takes.
    pub found: Vec<Found>,
}

/// What the new release of a stage is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// It answers no user.
    Nothing,
    /// The stable release in the same moments.
    Stable,
    /// The stable release before: it has no traffic any more.
    Before,
}

/// A way in which a release may be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regression {
    /// It fails so many times as often as the stable release.
    Times(u8),
    /// So many percent of its requests fail.
    Failing(u8),
}

/// When a regression is found, on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The regression.
    pub regression: Regression,
    /// So long after the first user was answered; nothing when not before the end, or not within 30 days.
    pub after: Option<Millis>,
    /// Users' requests that the new release fails until then.
    pub failed_requests: Option<f64>,
    /// The stage in which it happens, from 0.
    pub stage: Option<usize>,
}

/// A gate in threshold mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlainGate {
    /// Its name.
    pub gate: String,
    /// Probability that it turns back a release that is exactly as good as the stable one, in any stage of the rollout.
    /// Nothing when it depends on what is not known.
    pub false_alarm: Option<f64>,
    /// Probability that it turns back one that fails twice as often; only for gates on errors.
    pub catches_double: Option<f64>,
    /// Stages whose traffic is less than the gate needs: it waits there for evidence.
    pub silent_stages: usize,
}

/// The regressions that every plan is looked at with.
pub const REGRESSIONS: [Regression; 3] =
    [Regression::Times(2), Regression::Times(5), Regression::Failing(50)];

impl Regression {
    /// The ratio to a stable release that fails this share of its requests; nothing when the stable release is as bad.
    fn ratio(self, failed_share: f64) -> Option<f64> {
        let ratio = match self {
            Self::Times(times) => f64::from(times),
            Self::Failing(percent) => f64::from(percent) / 100.0 / failed_share,
        };
        (ratio > 1.0 && ratio * failed_share <= 1.0).then_some(ratio)
    }
}

impl core::fmt::Display for Regression {
    /// `2 x`, `50 % failing`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times} x"),
            Self::Failing(percent) => write!(f, "{percent} % failing"),
        }
    }
}

impl Serialize for Regression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Load {
    /// The traffic of a deployment that was watched: all requests over all its time, and what the stable release failed.
    /// Nothing without a request.
    pub fn of(batches: &[Batch]) -> Option<Self> {
        let mut sums = (Arm::default(), Arm::default());
        let mut length_ms = 0_u64;
        for batch in batches {
            length_ms = length_ms.saturating_add(batch.new.length.0);
            sums.0.add(&batch.new);
            if let Some(stable) = &batch.stable {
                sums.1.add(stable);
            }
        }
        let (new, stable) = sums;
        let all = new.requests.saturating_add(stable.requests);
        // Where the stable release had no traffic, its successor that was promoted is what is stable now.
        let base = if stable.requests > 0 { stable } else { new };
        (all > 0 && length_ms > 0).then(|| Self {
            requests_per_s: all as f64 * 1_000.0 / length_ms as f64,
            failed_share: base.failures as f64 / base.requests.max(1) as f64,
            latency_us: base.latency_us,
        })
    }

    /// The failed share that a plan can be worked out with: never nothing.
    fn assumed(&self) -> f64 {
        self.failed_share.clamp(FAILED_MIN, 0.999)
    }
}

impl Outlook {
    /// What this plan can see at this traffic; nothing when the traffic is none, or no gate asks for errors.
    pub fn of(plan: &Plan, load: &Load) -> Option<Self> {
        let traffic = Traffic::new(load.requests_per_s, load.assumed()).ok()?;
        let ratio_max_bp = ratio_max_bp(plan.stages.iter().flat_map(|stage| &stage.gates))?;
        let sight = Sight::of(plan, traffic, ratio_max_bp);
        let mut stages: Vec<StageOutlook> = Vec::with_capacity(plan.stages.len());
        let (mut bakes, mut longest) = (Vec::new(), Vec::new());
        for (number, stage) in plan.stages.iter().enumerate() {
            bakes.extend(sight.exposure(number, stage, stage.bake));
            longest.extend(sight.exposure(number, stage, sight.at_most(stage)));
            stages.push(sight.stage(number, stage, &bakes, &longest));
        }
        Some(Self {
            load: load.clone(),
            tolerated: sight.planner.tolerated,
            bad: sight.bad,
            dispersion: sight.dispersion,
            found: REGRESSIONS.iter().map(|regression| sight.found(plan, *regression)).collect(),
            stages,
            plain: plain::plain(plan, load, traffic),
        })
    }

    /// The smallest ratio that the rollout sees before its end: when every stage ends after its bake, and when every
    /// undecided one lasts as long as it may.
    pub fn smallest(&self) -> (Option<f64>, Option<f64>) {
        let least = |of: fn(&StageOutlook) -> Option<f64>| self.stages.iter().filter_map(of).reduce(f64::min);
        (least(|stage| stage.smallest), least(|stage| stage.smallest_at_most))
    }
}

/// One traffic and the settings of one plan.
struct Sight {
    planner: Planner,
    traffic: Traffic,
    bad: f64,
    dispersion: f64,
    max_dwell: Millis,
    /// Seconds between two looks: nothing is found sooner.
    look_s: f64,
    warm_up: WarmUp,
}

/// Stages that bring instances begin with time that does not count.
struct WarmUp {
    /// For each stage, how long.
    seconds: Vec<f64>,
    /// A share of failures above it counts all the same.
    failing: f64,
}

impl Sight {
    fn of(plan: &Plan, traffic: Traffic, ratio_max_bp: u32) -> Self {
        let settings = &plan.judge;
        let dispersion = settings.dispersion().phi();
        let instances = plan.stages.first().map_or(1, |stage| stage.instances);
        let tolerated = settings.tolerated(ratio_max_bp, instances);
        Self {
            planner: Planner {
                tolerated,
                alpha: settings.alpha(),
                beta: settings.beta(),
                slowdown: SHIPPED_SLOWDOWN * dispersion,
            },
            traffic,
            bad: settings.bad(tolerated),
            dispersion,
            max_dwell: settings.max_dwell,
            look_s: plan.limits.look_every.0 as f64 / 1_000.0,
            warm_up: WarmUp::of(plan, traffic),
        }
    }

    /// Seconds at the beginning of a stage that do not count for a release that fails `ratio` times as often.
    fn warming(&self, number: usize, ratio: f64) -> f64 {
        let counts = ratio * self.traffic.failed_share() > self.warm_up.failing;
        self.warm_up.seconds.get(number).copied().filter(|_| !counts).unwrap_or(0.0)
    }

    /// A stage that asks plainly ends with its bake; another stays while nothing is decided.
    fn at_most(&self, stage: &Stage) -> Millis {
        let waits = stage.gates.iter().any(|gate| gate.mode == Mode::Sequential);
        if waits { stage.bake.max(self.max_dwell) } else { stage.bake }
    }

    /// The stage as time in which both releases have traffic.
    fn exposure(&self, number: usize, stage: &Stage, length: Millis) -> Option<Exposure> {
        if against(stage) != Against::Stable {
            return None;
        }
        Exposure::new(share(stage.share), length.0 as f64 / 1_000.0 - self.warming(number, 1.0)).ok()
    }

    fn stage(&self, number: usize, stage: &Stage, bakes: &[Exposure], longest: &[Exposure]) -> StageOutlook {
        let against = against(stage);
        let smallest = |schedule: &[Exposure], length: Millis| match against {
            Against::Nothing => None,
            Against::Stable => self.planner.smallest_ratio(self.traffic, schedule),
            Against::Before => self.smallest_after(number, length),
        };
        let rule_out = match against {
            Against::Stable => {
                let seconds = self.planner.seconds_to_rule_out(self.traffic, share(stage.share), self.bad);
                time(seconds * self.dispersion + self.warming(number, 1.0))
            }
            Against::Nothing | Against::Before => None,
        };
        StageOutlook {
            name: stage.name.clone(),
            share: stage.share,
            bake: stage.bake,
            at_most: self.at_most(stage),
            against,
            smallest: smallest(bakes, stage.bake),
            smallest_at_most: smallest(longest, self.at_most(stage)),
            rule_out,
            found: REGRESSIONS.iter().map(|regression| self.found_at(number, stage, *regression)).collect(),
        }
    }

    /// Seconds after all traffic was shifted until `ratio` is found: an absolute test against what was before.
    fn seconds_after(&self, ratio: f64) -> Option<f64> {
        let base = self.traffic.failed_share();
        let (truth, limit) = ((base * ratio).min(0.999), bad_after(base, self.bad));
        if truth <= limit {
            return None;
        }
        let needed = requests_to_decide(truth, limit, self.planner.alpha * AFTER, self.planner.beta).ok()?;
        Some(needed * self.planner.slowdown / self.traffic.requests_per_s())
    }

    fn smallest_after(&self, number: usize, length: Millis) -> Option<f64> {
        let seen = |ratio| {
            let seconds = self.seconds_after(ratio).map(|seconds| seconds + self.warming(number, ratio));
            seconds.is_some_and(|seconds| seconds * 1_000.0 <= length.0 as f64)
        };
        let (mut low, mut high) = (1.0, (1.0 / self.traffic.failed_share()).min(1_000.0));
        if !seen(high) {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = libm::sqrt(low * high);
            if seen(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// At the share of one stage alone, however long it takes.
    fn found_at(&self, number: usize, stage: &Stage, regression: Regression) -> Found {
        let nothing = Found { regression, after: None, failed_requests: None, stage: None };
        let Some(ratio) = regression.ratio(self.traffic.failed_share()) else { return nothing };
        let share = share(stage.share);
        let counted = match against(stage) {
            Against::Nothing => None,
            Against::Stable => Exposure::new(share, NEVER_S)
                .ok()
                .and_then(|ever| self.planner.detection(self.traffic, ratio, &[ever]))
                .map(|found| found.seconds),
            Against::Before => self.seconds_after(ratio),
        };
        let Some(counted) = counted else { return nothing };
        let seconds = (counted + self.warming(number, ratio)).max(self.look_s);
        let failed = seconds * self.traffic.failed_per_s(share, ratio);
        Found { after: time(seconds), failed_requests: Some(failed), ..nothing }
    }

    /// Over the whole rollout: stages in which both have traffic first, then the time after.
    fn found(&self, plan: &Plan, regression: Regression) -> Found {
        let nothing = Found { regression, after: None, failed_requests: None, stage: None };
        let Some(ratio) = regression.ratio(self.traffic.failed_share()) else { return nothing };
        let (mut seconds, mut failed, mut nats) = (0.0, 0.0, self.planner.nats() * self.planner.slowdown);
        for (number, stage) in plan.stages.iter().enumerate() {
            let (share, length) = (share(stage.share), self.at_most(stage).0 as f64 / 1_000.0);
            let warming = self.warming(number, ratio);
            let needed = match against(stage) {
                Against::Nothing => None,
                Against::Stable => {
                    let rate = self.rate(share, ratio);
                    let missing = warming + nats / rate;
                    nats -= rate * (length - warming).max(0.0);
                    Some(missing)
                }
                Against::Before => self.seconds_after(ratio).map(|seconds| seconds + warming),
            };
            let within = if share >= 1.0 { length + plan.watch.0 as f64 / 1_000.0 } else { length };
            if let Some(needed) =
                needed.map(|needed| needed.max(self.look_s)).filter(|needed| *needed <= within)
            {
                seconds += needed;
                failed += needed * self.traffic.failed_per_s(share, ratio);
                return Found {
                    after: time(seconds),
                    failed_requests: Some(failed),
                    stage: Some(number),
                    ..nothing
                };
            }
            // What happens before the first user is answered is nobody's price.
            seconds += if share > 0.0 { length } else { 0.0 };
            failed += length * self.traffic.failed_per_s(share, ratio);
        }
        nothing
    }

    /// Nats per second against the tolerated ratio; 0 at and below it.
    fn rate(&self, share: f64, ratio: f64) -> f64 {
        let tolerated = self.planner.tolerated;
        if ratio > tolerated { self.traffic.information_per_s(share, ratio, tolerated) } else { 0.0 }
    }
}

impl WarmUp {
    /// The first stage in which users are answered, and every later one that brings instances; none where no gate is asked
    /// by evidence.
    fn of(plan: &Plan, traffic: Traffic) -> Self {
        let settings = &plan.judge;
        let sequential =
            plan.stages.iter().flat_map(|stage| &stage.gates).any(|gate| gate.mode == Mode::Sequential);
        let mut warm = 0;
        let seconds = plan.stages.iter().map(|stage| {
            if !sequential || against(stage) == Against::Nothing || stage.instances <= warm {
                return 0.0;
            }
            warm = stage.instances;
            let enough = settings.warmup_requests as f64 / (traffic.requests_per_s() * share(stage.share));
            (settings.warmup.0 as f64 / 1_000.0).min(enough)
        });
        Self { seconds: seconds.collect(), failing: f64::from(settings.warmup_failures_ppm) / 1e6 }
    }
}

/// A time that a person may wait for.
fn time(seconds: f64) -> Option<Millis> {
    (seconds <= NEVER_S).then(|| Millis(words::whole(seconds * 1_000.0)))
}

fn share(share: Share) -> f64 {
    f64::from(share.basis_points()) / 10_000.0
}

const fn against(stage: &Stage) -> Against {
    match stage.share.basis_points() {
        0 => Against::Nothing,
        10_000 => Against::Before,
        _ => Against::Stable,
    }
}
