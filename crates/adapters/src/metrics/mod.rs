//! The metrics of a plan, asked beside the proxy's counters: a slow source never holds up what the proxy says.
//!
//! A look takes the newest answer that is there and, when it is due, starts the next question in the background.

mod ask;
mod clients;
mod spec;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tidegate_core::{
    gate::{MetricAnswer, MetricReading},
    judge::Metric,
    model::{Millis, Timestamp},
    plan::Plan,
};
use tokio::sync::Semaphore;

use ask::Asker;
pub use spec::{AuthenticationSpec, EndpointSpec, MetricSpec, PODS, Question, RELEASE, SERVICE, SecretSpec};

/// Questions that are on their way at once, over all deployments; others wait for their turn, and grow stale.
const ASKING_MAX: usize = 32;

/// A scrape takes a moment before it can be asked for.
const SCRAPED_WITHIN: Duration = Duration::from_millis(50);

/// Parts of a scrape's interval after which one that is late is asked for again.
const LATE_PARTS: u32 = 4;

/// Shortest time between two questions.
const APART_MIN: Duration = Duration::from_millis(100);

/// Where one instance of a release listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceAddress {
    /// Its name.
    pub id: String,
    /// `host:port`.
    pub address: String,
}

/// The instances of both releases, for sources that ask each one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances {
    /// The new release's.
    pub new: Vec<InstanceAddress>,
    /// The stable release's.
    pub stable: Vec<InstanceAddress>,
    /// What stands for [`PODS`]: the new release's, and the stable one's. Empty where the target names no instances.
    pub pods: [String; 2],
}

impl Instances {
    /// Those of both.
    fn all(&self) -> impl Iterator<Item = &InstanceAddress> {
        self.new.iter().chain(&self.stable)
    }
}

/// What every metric said last.
#[derive(Clone)]
pub struct Metrics {
    slots: Arc<Mutex<BTreeMap<(String, String), Slot>>>,
    asking: Arc<Semaphore>,
}

struct Slot {
    answer: MetricAnswer,
    /// What is asked, for messages.
    question: String,
    /// When it is asked next: `every` after the last time, and as soon as there is a new sample to be had.
    due: Instant,
    /// Away while a question is on its way.
    asker: Option<Box<Asker>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { slots: Arc::default(), asking: Arc::new(Semaphore::new(ASKING_MAX)) }
    }
}

impl Metrics {
    /// What the plan's metrics say now; asks again in the background what is due.
    pub fn read(&self, plan: &Plan, instances: &Instances, now: Timestamp) -> Vec<MetricReading> {
        plan.metrics.iter().map(|metric| self.one(plan, metric, instances, now)).collect()
    }

    /// Forgets a deployment.
    pub fn forget(&self, deployment: &str) {
        self.slots().retain(|(of, _), _| of != deployment);
    }

    fn one(&self, plan: &Plan, metric: &Metric, instances: &Instances, now: Timestamp) -> MetricReading {
        let key = (plan.deployment.clone(), metric.name.clone());
        let mut slots = self.slots();
        let slot = slots
            .entry(key.clone())
            .or_insert_with(|| Slot::new(Asker::new(plan, metric, now), &metric.name));
        let reading = MetricReading { metric: metric.name.clone(), answer: slot.newest(metric, now) };
        // What becomes due before the next look is asked in between.
        let wait = slot.due.saturating_duration_since(Instant::now());
        if wait < Duration::from_millis(plan.limits.look_every.0)
            && let Some(asker) = slot.asker.take()
        {
            drop(slots);
            let every = Duration::from_millis(metric.every.0).max(APART_MIN);
            self.start(key, asker, instances.clone(), now, Times { wait, every });
        }
        reading
    }

    fn start(
        &self,
        key: (String, String),
        mut asker: Box<Asker>,
        instances: Instances,
        now: Timestamp,
        times: Times,
    ) {
        let (slots, asking) = (Arc::clone(&self.slots), Arc::clone(&self.asking));
        tokio::spawn(async move {
            tokio::time::sleep(times.wait).await;
            // Closed only when nobody is left who could ask.
            let Ok(_turn) = asking.acquire().await else { return };
            let (asked, now) = (Instant::now(), now.after(millis(times.wait)));
            let answer = asker.ask(&instances, now).await;
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            // Forgotten meanwhile: then nobody wants to know.
            if let Some(slot) = slots.get_mut(&key) {
                slot.answer = answer;
                slot.due = asked + next(asker.expected(), now, times.every);
                slot.asker = Some(asker);
            }
        });
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a question is asked, and when again.
#[derive(Clone, Copy)]
struct Times {
    wait: Duration,
    every: Duration,
}

fn millis(of: Duration) -> Millis {
    Millis(u64::try_from(of.as_millis()).unwrap_or(u64::MAX))
}

/// Time from a question at `now` to the next one. Who is asked was told of a new sample after `expected`; where none had come at that
/// time, it is late.
fn next(expected: Option<(Timestamp, Millis)>, now: Timestamp, every: Duration) -> Duration {
    let Some((at, gap)) = expected else { return every };
    let of = |time: Millis| Duration::from_millis(time.0);
    let sampled = if at > now {
        of(at.since(now)) + SCRAPED_WITHIN
    } else if at.after(gap) > now {
        of(gap) / LATE_PARTS
    } else {
        every
    };
    sampled.clamp(APART_MIN, every.max(APART_MIN))
}

impl Slot {
    fn new(asker: Asker, metric: &str) -> Self {
        let question = asker.question().to_owned();
        let answer =
            MetricAnswer::Awaited { reason: format!("metric `{metric}`: `{question}` is being asked") };
        Self { answer, question, due: Instant::now(), asker: Some(Box::new(asker)) }
    }

    /// The newest answer, while it is fresh.
    fn newest(&self, metric: &Metric, now: Timestamp) -> MetricAnswer {
        let at = match &self.answer {
            MetricAnswer::Counters { at, .. } | MetricAnswer::Values { at, .. } => *at,
            MetricAnswer::Awaited { .. } | MetricAnswer::Fault { .. } => return self.answer.clone(),
        };
        let age = now.since(at);
        if age <= metric.fresh {
            return self.answer.clone();
        }
        let Metric { name, fresh, .. } = metric;
        let reason = format!(
            "metric `{name}`: the newest answer to `{}` is {age} old, and may be {fresh}",
            self.question
        );
        MetricAnswer::Fault { reason }
    }
}

/// Asks one metric of a plan and waits for the answer. Counters need two answers to say anything: use [`Metrics`] for them.
pub async fn ask_once(plan: &Plan, metric: &Metric, instances: &Instances, now: Timestamp) -> MetricAnswer {
    Asker::new(plan, metric, now).ask(instances, now).await
}

#[cfg(test)]
mod tests {
    use tidegate_core::{deployment::table, gate::Number};

    use super::*;

    #[test]
    fn a_scrape_is_asked_for_as_soon_as_it_can_be_there_and_soon_again_when_it_is_late() {
        let (now, every) = (Timestamp(100_000), Duration::from_secs(5));
        let after = |at: i64, gap: u64| next(Some((Timestamp(at), Millis(gap))), now, every).as_millis();
        assert_eq!(next(None, now, every), every);
        // Every 15 s: in between as often as was asked for, and right after the scrape.
        assert_eq!([after(112_000, 15_000), after(102_000, 15_000)], [5_000, 2_050]);
        // Late: a quarter of the interval later, until one was left out.
        assert_eq!([after(99_000, 1_000), after(99_500, 1_000), after(99_900, 200)], [5_000, 250, 100]);
        // The clocks of others tell nothing.
        assert_eq!([after(0, 1_000), after(900_000, 1_000)], [5_000, 5_000]);
    }

    #[test]
    fn an_answer_that_is_no_longer_fresh_is_no_answer_and_says_what_was_asked() {
        let spec =
            MetricSpec::Web { endpoint: EndpointSpec::default(), post: None, path: "$.depth".to_owned() };
        let metric = Metric {
            name: "queue".to_owned(),
            source: "web".to_owned(),
            query: serde_json::to_string(&spec).unwrap(),
            every: Millis::secs(1),
            fresh: Millis::secs(5),
        };
        let asked = Timestamp(1_000_000);
        let mut slot = Slot::new(Asker::new(&table::sample_plan(), &metric, asked), &metric.name);
        let waiting = slot.newest(&metric, asked);
        let value = MetricAnswer::Values { at: asked, new: vec![Number(1.0)], stable: Vec::new() };
        slot.answer = value.clone();
        assert_eq!(slot.newest(&metric, asked.after(metric.fresh)), value);
        let stale = slot.newest(&metric, asked.after(Millis(5_001)));
        for (fault, words) in [(waiting, "is being asked"), (stale, "5 s")] {
            let (MetricAnswer::Awaited { reason } | MetricAnswer::Fault { reason }) = &fault else {
                panic!("{fault:?}")
            };
            assert!(
                reason.contains("`queue`") && reason.contains("$.depth") && reason.contains(words),
                "{reason}"
            );
        }
    }
}
