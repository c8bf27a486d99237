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
    model::Timestamp,
    plan::Plan,
};
use tokio::sync::Semaphore;

use ask::Asker;
pub use spec::{AuthenticationSpec, EndpointSpec, MetricSpec, PODS, Question, RELEASE, SERVICE, SecretSpec};

/// Questions that are on their way at once, over all deployments; others wait for their turn, and grow stale.
const ASKING_MAX: usize = 32;

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
        if Instant::now() >= slot.due
            && let Some(asker) = slot.asker.take()
        {
            slot.due = Instant::now() + Duration::from_millis(metric.every.0.max(100));
            drop(slots);
            self.start(key, asker, instances.clone(), now);
        }
        reading
    }

    fn start(&self, key: (String, String), mut asker: Box<Asker>, instances: Instances, now: Timestamp) {
        let (slots, asking) = (Arc::clone(&self.slots), Arc::clone(&self.asking));
        tokio::spawn(async move {
            // Closed only when nobody is left who could ask.
            let Ok(_turn) = asking.acquire().await else { return };
            let answer = asker.ask(&instances, now).await;
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            // Forgotten meanwhile: then nobody wants to know.
            if let Some(slot) = slots.get_mut(&key) {
                slot.answer = answer;
                slot.asker = Some(asker);
            }
        });
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    use tidegate_core::{deployment::table, gate::Number, model::Millis};

    use super::*;

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
