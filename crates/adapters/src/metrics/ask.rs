//! One metric's source, asked for both releases.

use std::time::Duration;

use tidegate_core::{
    expression,
    gate::{Counters, MetricAnswer, Number},
    judge::Metric,
    model::{Millis, Timestamp},
    plan::Plan,
};

use super::{
    InstanceAddress, Instances, MetricSpec, Question, RELEASE, SERVICE,
    spec::EndpointSpec,
};
use crate::{
    chain,
    evidence::{
        Answer, ArmQueries, ArmSelectors, Birth, Command, Endpoint, JsonPath, Method, NotFinite, Prometheus,
        Scraper, Secret, Tally, Warnings, Web,
    },
};

/// Asks one metric's source, again and again.
pub(super) struct Asker {
    name: String,
    service: String,
    new: String,
    stable: Option<String>,
    spec: Result<MetricSpec, String>,
    fresh: Millis,
    tallies: Option<(Tally, Tally)>,
    began: Timestamp,
}

impl Asker {
    pub(super) fn new(plan: &Plan, metric: &Metric, now: Timestamp) -> Self {
        Self {
            name: metric.name.clone(),
            service: plan.service.clone(),
            new: plan.release.tag.clone(),
            stable: plan.stable.as_ref().map(|stable| stable.tag.clone()),
            spec: serde_json::from_str(&metric.query)
                .map_err(|why| format!("metric `{}` cannot be asked: its query is not understood: {why}", metric.name)),
            fresh: metric.fresh,
            tallies: None,
            began: now,
        }
    }

    /// What the source says now: facts, or why nothing.
    pub(super) async fn ask(&mut self, instances: &Instances, now: Timestamp) -> MetricAnswer {
        let answer = match self.spec.clone() {
            Ok(spec) => self.of(&spec, instances, now).await,
            Err(why) => Err(why),
        };
        answer.unwrap_or_else(|reason| MetricAnswer::Fault { reason: format!("metric `{}`: {reason}", self.name) })
    }

    async fn of(&mut self, spec: &MetricSpec, instances: &Instances, now: Timestamp) -> Result<MetricAnswer, String> {
        match spec {
            MetricSpec::Prometheus { endpoint, accept_warnings, lookback_ms, ask } => {
                let warnings = if *accept_warnings { Warnings::Accept } else { Warnings::Refuse };
                let prometheus = Prometheus::new(endpoint.endpoint(str::to_owned), warnings).map_err(said)?;
                self.prometheus(&prometheus, ask, Millis(*lookback_ms), now).await
            }
            MetricSpec::Scrape { path, ask } => self.scrape(path, ask, instances, now).await,
            MetricSpec::Web { endpoint, post, path } => {
                let with_release = endpoint.url.contains(RELEASE) || post.as_deref().is_some_and(|b| b.contains(RELEASE));
                let new = self.web(endpoint, post.as_deref(), path, &self.new, now).await?;
                let stable = match self.stable.as_ref().filter(|_| with_release) {
                    Some(stable) => self.web(endpoint, post.as_deref(), path, stable, now).await?,
                    None => Vec::new(),
                };
                Ok(MetricAnswer::Values { at: now, new, stable })
            }
            MetricSpec::Command { arguments, .. } => {
                let with_release = arguments.iter().any(|argument| argument.contains(RELEASE));
                let new = self.command(spec, &self.new, now).await?;
                let stable = match self.stable.as_ref().filter(|_| with_release) {
                    Some(stable) => self.command(spec, stable, now).await?,
                    None => Vec::new(),
                };
                Ok(MetricAnswer::Values { at: now, new, stable })
            }
        }
    }

    fn fill(&self, text: &str, release: &str) -> String {
        text.replace(RELEASE, release).replace(SERVICE, &self.service)
    }

    async fn prometheus(
        &mut self,
        prometheus: &Prometheus,
        ask: &Question,
        lookback: Millis,
        now: Timestamp,
    ) -> Result<MetricAnswer, String> {
        match ask {
            Question::Value { query } => {
                let one = async |release: &str| {
                    let answer = prometheus.instant(&self.fill(query, release), now, NotFinite::Keep).await;
                    answer.map_err(said).and_then(|answer| numbers(&answer))
                };
                let new = one(&self.new).await?;
                let stable = match self.stable.as_ref().filter(|_| query.contains(RELEASE)) {
                    Some(stable) => one(stable).await?,
                    None => Vec::new(),
                };
                Ok(MetricAnswer::Values { at: now, new, stable })
            }
            Question::Counters { requests, failures, latency, instance_labels, .. } => {
                let queries = |release: &str| ArmQueries {
                    requests: self.fill(requests, release),
                    failures: self.fill(failures, release),
                    latency: latency.as_deref().map(|latency| self.fill(latency, release)),
                    instance_labels: instance_labels.clone(),
                };
                let (ours, theirs) = (queries(&self.new), self.stable.as_deref().map(queries));
                let fresh = self.fresh;
                let (new, stable) = self.tallies(ask)?;
                prometheus.observe(&ours, new, now, lookback, fresh).await.map_err(said)?;
                if let Some(theirs) = &theirs {
                    prometheus.observe(theirs, stable, now, lookback, fresh).await.map_err(said)?;
                }
                self.counted(now)
            }
        }
    }

    async fn scrape(
        &mut self,
        path: &str,
        ask: &Question,
        instances: &Instances,
        now: Timestamp,
    ) -> Result<MetricAnswer, String> {
        let at = |instance: &InstanceAddress| {
            let endpoint = Endpoint::new(format!("http://{}{path}", instance.address));
            Scraper::new(endpoint).map_err(said)
        };
        match ask {
            Question::Value { query } => {
                let selector = self.fill(query, &self.new).parse().map_err(|why| said_of(&why))?;
                let mut sides = [Vec::new(), Vec::new()];
                for (side, of) in sides.iter_mut().zip([&instances.new, &instances.stable]) {
                    for instance in of {
                        let read = at(instance)?.read(&selector, now, self.fresh, NotFinite::Keep).await;
                        side.extend(numbers(&read.map_err(said)?)?);
                    }
                }
                let [new, stable] = sides;
                Ok(MetricAnswer::Values { at: now, new, stable })
            }
            Question::Counters { requests, failures, latency, .. } => {
                let parse = |text: &str| self.fill(text, &self.new).parse().map_err(|why| said_of(&why));
                let selectors = ArmSelectors {
                    requests: parse(requests)?,
                    failures: parse(failures)?,
                    latency: latency.as_deref().map(parse).transpose()?,
                };
                let fresh = self.fresh;
                let (new, stable) = self.tallies(ask)?;
                for (tally, of) in [(new, &instances.new), (stable, &instances.stable)] {
                    for instance in of {
                        let observed = at(instance)?.observe(&selectors, &instance.id, tally, now, fresh).await;
                        observed.map_err(said)?;
                    }
                }
                self.counted(now)
            }
        }
    }

    async fn web(
        &self,
        endpoint: &EndpointSpec,
        post: Option<&str>,
        path: &str,
        release: &str,
        now: Timestamp,
    ) -> Result<Vec<Number>, String> {
        let path: JsonPath = path.parse().map_err(|why| said_of(&why))?;
        let method = post.map_or(Method::Get, |body| Method::Post(self.fill(body, release)));
        let web = Web::new(endpoint.endpoint(|text| self.fill(text, release)), method, path).map_err(said)?;
        numbers(&web.read(now).await.map_err(said)?)
    }

    async fn command(&self, spec: &MetricSpec, release: &str, now: Timestamp) -> Result<Vec<Number>, String> {
        let MetricSpec::Command { program, arguments, environment, inherit, directory, path, within_ms } = spec
        else {
            return Err("it is no command".to_owned());
        };
        let command = Command {
            program: program.clone(),
            arguments: arguments.iter().map(|argument| self.fill(argument, release)).collect(),
            environment: environment.iter().map(|(name, value)| (name.clone(), Secret::new(value.as_str()))).collect(),
            inherit: inherit.clone(),
            directory: directory.clone(),
            within: Duration::from_millis(*within_ms),
            path: path.parse().map_err(|why| said_of(&why))?,
        };
        numbers(&command.read(now).await.map_err(said)?)
    }

    /// Both releases' tallies: the new one's instances were started by this rollout, the stable one's ran before.
    fn tallies(&mut self, ask: &Question) -> Result<(&mut Tally, &mut Tally), String> {
        let unit = match ask {
            Question::Counters { latency_unit, .. } => latency_unit.parse().map_err(|why| said_of(&why))?,
            Question::Value { .. } => expression::Unit::default(),
        };
        let began = self.began;
        let (new, stable) = self
            .tallies
            .get_or_insert_with(|| (Tally::new(Birth::Here, began, unit), Tally::new(Birth::Before, began, unit)));
        Ok((new, stable))
    }

    fn counted(&self, now: Timestamp) -> Result<MetricAnswer, String> {
        let Some((new, stable)) = &self.tallies else { return Err("nothing was counted".to_owned()) };
        let counters = |tally: &Tally| {
            let counters = tally.counters();
            Counters { requests: counters.requests, failures: counters.failures, latency_us: counters.latency_us }
        };
        // The older of both sides' newest samples: up to then, both are known.
        let at = [new, stable].into_iter().filter_map(|tally| tally.counters().newest).min().unwrap_or(now);
        let stable = self.stable.is_some().then(|| counters(stable));
        Ok(MetricAnswer::Counters { at, new: counters(new), stable })
    }
}

fn said(fault: impl std::error::Error) -> String {
    chain(&fault)
}

fn said_of(fault: &dyn std::error::Error) -> String {
    fault.to_string()
}

/// The numbers of an answer; a condition looks at nothing else.
fn numbers(answer: &Answer) -> Result<Vec<Number>, String> {
    let of = |value: &expression::Value| match value {
        expression::Value::Number(number) => Ok(Number(*number)),
        expression::Value::Bool(yes) => Ok(Number(if *yes { 1.0 } else { 0.0 })),
        other => Err(format!("a number is needed, this is {other:?}")),
    };
    match answer.value() {
        expression::Value::List(list) => list.iter().map(of).collect(),
        one => Ok(vec![of(&one)?]),
    }
}
