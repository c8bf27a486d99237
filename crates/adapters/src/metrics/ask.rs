//! One metric's source, asked for both releases.

use std::time::Duration;

use tidegate_core::{
    expression::{self, Expression},
    gate::{Analysis, Conditions, Counters, Gate, MetricAnswer, Number, Rule},
    judge::Metric,
    model::{Millis, Timestamp},
    plan::Plan,
};

use super::{Instances, MetricSpec, PODS, Question, RELEASE, SERVICE, clients::Clients, spec::EndpointSpec};
use crate::{
    chain,
    evidence::{
        Answer, ArmQueries, ArmSelectors, Birth, Command, Endpoint, Fault, FaultKind, JsonPath, Method,
        NotFinite, Prometheus, Scraper, Secret, Tally, Warnings, Web,
    },
};

/// Asks one metric's source, again and again.
pub(super) struct Asker {
    name: String,
    service: String,
    new: String,
    stable: Option<String>,
    /// What stands for [`PODS`], for the new release and for the stable one.
    pods: [String; 2],
    spec: Result<MetricSpec, String>,
    fresh: Millis,
    not_finite: NotFinite,
    tallies: Option<(Tally, Tally)>,
    /// What was counted last, and up to when.
    counted: Option<(Timestamp, MetricAnswer)>,
    began: Timestamp,
    server: Clients<Prometheus>,
    /// By address.
    scrapers: Clients<Scraper>,
    /// By release and what is asked for it.
    pages: Clients<Web>,
}

impl Asker {
    pub(super) fn new(plan: &Plan, metric: &Metric, now: Timestamp) -> Self {
        Self {
            name: metric.name.clone(),
            service: plan.service.clone(),
            new: plan.release.tag.clone(),
            stable: plan.stable.as_ref().map(|stable| stable.tag.clone()),
            pods: [String::new(), String::new()],
            spec: serde_json::from_str(&metric.query).map_err(|why| {
                format!("metric `{}` cannot be asked: its query is not understood: {why}", metric.name)
            }),
            fresh: metric.fresh,
            not_finite: not_finite(plan, &metric.name),
            tallies: None,
            counted: None,
            began: now,
            server: Clients::default(),
            scrapers: Clients::default(),
            pages: Clients::default(),
        }
    }

    /// What it asks, for messages.
    pub(super) fn question(&self) -> &str {
        self.spec.as_ref().map_or("", MetricSpec::question)
    }

    /// When somebody else samples the new release next, and the time between two samples; nothing where this asks itself.
    pub(super) fn expected(&self) -> Option<(Timestamp, Millis)> {
        let of_others = matches!(self.spec, Ok(MetricSpec::Prometheus { .. }));
        self.tallies.as_ref().filter(|_| of_others)?.0.expected()
    }

    /// What the source says now: facts, or why nothing.
    pub(super) async fn ask(&mut self, instances: &Instances, now: Timestamp) -> MetricAnswer {
        self.pods.clone_from(&instances.pods);
        let answer = match self.spec.clone() {
            Ok(spec) => self.of(&spec, instances, now).await,
            Err(why) => Err(why),
        };
        answer.unwrap_or_else(|reason| MetricAnswer::Fault {
            reason: format!("metric `{}`: {reason}", self.name),
        })
    }

    async fn of(
        &mut self,
        spec: &MetricSpec,
        instances: &Instances,
        now: Timestamp,
    ) -> Result<MetricAnswer, String> {
        match spec {
            MetricSpec::Prometheus { endpoint, accept_warnings, lookback_ms, ask } => {
                let warnings = if *accept_warnings { Warnings::Accept } else { Warnings::Refuse };
                let make = || Prometheus::new(endpoint.endpoint(str::to_owned), warnings);
                let prometheus = self.server.take(&endpoint.url, make).map_err(said)?;
                let answer = self.prometheus(&prometheus, ask, Millis(*lookback_ms), now).await?;
                self.server.keep(&endpoint.url, prometheus);
                Ok(answer)
            }
            MetricSpec::Scrape { path, ask } => self.scrape(path, ask, instances, now).await,
            MetricSpec::Web { endpoint, post, path } => {
                let with_release = tells(&endpoint.url) || post.as_deref().is_some_and(tells);
                let release = self.new.clone();
                let new = self.web(endpoint, post.as_deref(), path, &release, now).await?;
                let stable = match self.stable.clone().filter(|_| with_release) {
                    Some(stable) => self.web(endpoint, post.as_deref(), path, &stable, now).await?,
                    None => Vec::new(),
                };
                Ok(MetricAnswer::Values { at: now, new, stable })
            }
            MetricSpec::Command { arguments, .. } => {
                let with_release = arguments.iter().any(|argument| tells(argument));
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
        let [new, stable] = &self.pods;
        let pods = if release == self.new { new } else { stable };
        text.replace(RELEASE, release).replace(PODS, pods).replace(SERVICE, &self.service)
    }

    /// Both sides are asked for a query that names the release; otherwise the new release only.
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
                    let query = self.fill(query, release);
                    let answer = prometheus.instant(&query, now, self.not_finite).await.map_err(said)?;
                    numbers(&answer).map_err(|kind| said(Fault::new(prometheus.name(), &query, kind)))
                };
                let new = one(&self.new).await?;
                let stable = match self.stable.as_ref().filter(|_| tells(query)) {
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
        let at = |scrapers: &mut Clients<Scraper>, address: &str| {
            let make = || Scraper::new(Endpoint::new(format!("http://{address}{path}")));
            scrapers.take(address, make).map_err(said)
        };
        self.scrapers.retain(|address| instances.all().any(|instance| instance.address == address));
        match ask {
            _ if instances.new.is_empty() => Err(said(Fault::new(
                "the new release",
                ask.query(),
                FaultKind::Refused("it has no instance".to_owned()),
            ))),
            Question::Value { query } => {
                let query = self.fill(query, &self.new);
                let selector = query.parse().map_err(|why| said_of(&why))?;
                let mut sides = [Vec::new(), Vec::new()];
                for (side, of) in sides.iter_mut().zip([&instances.new, &instances.stable]) {
                    for instance in of {
                        let scraper = at(&mut self.scrapers, &instance.address)?;
                        let read =
                            scraper.read(&selector, now, self.fresh, self.not_finite).await.map_err(said)?;
                        let numbers = numbers(&read);
                        side.extend(numbers.map_err(|kind| said(Fault::new(scraper.name(), &query, kind)))?);
                        self.scrapers.keep(&instance.address, scraper);
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
                let mut scrapers = std::mem::take(&mut self.scrapers);
                let (new, stable) = self.tallies(ask)?;
                let observed: Result<(), String> = async {
                    for (tally, of) in [(new, &instances.new), (stable, &instances.stable)] {
                        for instance in of {
                            let scraper = at(&mut scrapers, &instance.address)?;
                            let observed = scraper.observe(&selectors, &instance.id, tally, now, fresh).await;
                            observed.map_err(said)?;
                            scrapers.keep(&instance.address, scraper);
                        }
                    }
                    Ok(())
                }
                .await;
                self.scrapers = scrapers;
                observed?;
                self.counted(now)
            }
        }
    }

    async fn web(
        &mut self,
        endpoint: &EndpointSpec,
        post: Option<&str>,
        path: &str,
        release: &str,
        now: Timestamp,
    ) -> Result<Vec<Number>, String> {
        let path: JsonPath = path.parse().map_err(|why| said_of(&why))?;
        let method = post.map_or(Method::Get, |body| Method::Post(self.fill(body, release)));
        let query = path.to_string();
        let filled = endpoint.endpoint(|text| self.fill(text, release));
        // What is asked for a release may name its instances, which come and go: one client per release is kept.
        let whom = format!("{release} {} {method:?}", filled.url);
        let of_another = |kept: &str| kept.split_once(' ').is_some_and(|(of, _)| of != release);
        self.pages.retain(|kept| kept == whom || of_another(kept));
        let web = self.pages.take(&whom, || Web::new(filled, method, path)).map_err(said)?;
        let answer = web.read(now).await.map_err(said)?;
        let numbers = numbers(&answer).map_err(|kind| said(Fault::new(web.name(), &query, kind)))?;
        self.pages.keep(&whom, web);
        Ok(numbers)
    }

    async fn command(&self, spec: &MetricSpec, release: &str, now: Timestamp) -> Result<Vec<Number>, String> {
        let MetricSpec::Command { program, arguments, environment, inherit, directory, path, within_ms } =
            spec
        else {
            return Err("it is no command".to_owned());
        };
        let command = Command {
            program: program.clone(),
            arguments: arguments.iter().map(|argument| self.fill(argument, release)).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (name.clone(), Secret::new(value.as_str())))
                .collect(),
            inherit: inherit.clone(),
            directory: directory.clone(),
            within: Duration::from_millis(*within_ms),
            path: path.parse().map_err(|why| said_of(&why))?,
        };
        let answer = command.read(now).await.map_err(said)?;
        let query = command.arguments.join(" ");
        numbers(&answer).map_err(|kind| said(Fault::new(&command.name(), &query, kind)))
    }

    /// Both releases' tallies: the new one's instances were started by this rollout, the stable one's ran before.
    fn tallies(&mut self, ask: &Question) -> Result<(&mut Tally, &mut Tally), String> {
        let unit = match ask {
            Question::Counters { latency_unit, .. } => latency_unit.parse().map_err(|why| said_of(&why))?,
            Question::Value { .. } => expression::Unit::default(),
        };
        let began = self.began;
        let (new, stable) = self.tallies.get_or_insert_with(|| {
            (Tally::new(Birth::Here, began, unit), Tally::new(Birth::Before, began, unit))
        });
        Ok((new, stable))
    }

    /// Both releases' counters, up to where both are known. While that moment stands still the answer is the same, so that
    /// what one side counts meanwhile belongs to the interval that ends when the other is heard of again.
    fn counted(&mut self, now: Timestamp) -> Result<MetricAnswer, String> {
        let Some((new, stable)) = &self.tallies else { return Err("nothing was counted".to_owned()) };
        let both = [new.counters(), stable.counters()];
        let at = both.iter().filter_map(|counters| counters.newest).min().unwrap_or(now);
        if let Some((_, same)) = self.counted.as_ref().filter(|(then, _)| at <= *then) {
            return Ok(same.clone());
        }
        let stable_counts = self.stable.is_some() && stable.counters().instances > 0;
        let mut arms = both.into_iter().zip(Tally::latencies(new, stable)).map(|(counted, latency_us)| {
            Counters { requests: counted.requests, failures: counted.failures, latency_us }
        });
        let new = arms.next().unwrap_or_default();
        let answer = MetricAnswer::Counters { at, new, stable: arms.next().filter(|_| stable_counts) };
        self.counted = Some((at, answer.clone()));
        Ok(answer)
    }
}

/// Whether a question tells the releases apart.
fn tells(text: &str) -> bool {
    text.contains(RELEASE) || text.contains(PODS)
}

/// NaN and infinities reach only conditions that ask for them; everywhere else they are faults.
fn not_finite(plan: &Plan, metric: &str) -> NotFinite {
    let asks = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| Expression::parse(text).ok())
            .is_some_and(|parsed| parsed.asks_for_not_finite())
    };
    let keeps = |gate: &Gate| match &gate.rule {
        Rule::Metric(Conditions { success, failure, .. })
        | Rule::Analysis(Analysis { success, failure, .. }) => {
            gate.metric.as_deref() == Some(metric) && (asks(success) || asks(failure))
        }
        Rule::ErrorRate { .. }
        | Rule::Latency { .. }
        | Rule::LatencyShift { .. }
        | Rule::Cpu { .. }
        | Rule::Memory { .. }
        | Rule::RequestRate { .. }
        | Rule::Instances
        | Rule::Goal { .. }
        | Rule::Shadow { .. } => false,
    };
    let mut gates = plan.stages.iter().flat_map(|stage| &stage.gates).chain(&plan.watch_gates);
    if gates.any(keeps) { NotFinite::Keep } else { NotFinite::Refuse }
}

fn said(fault: impl std::error::Error) -> String {
    chain(&fault)
}

fn said_of(fault: &dyn std::error::Error) -> String {
    fault.to_string()
}

/// The numbers of an answer; a condition looks at nothing else. True is one, false is zero.
fn numbers(answer: &Answer) -> Result<Vec<Number>, FaultKind> {
    let of = |value: &expression::Value| match value {
        expression::Value::Number(number) => Ok(Number(*number)),
        expression::Value::Bool(yes) => Ok(Number(if *yes { 1.0 } else { 0.0 })),
        expression::Value::Text(text) => {
            let text = text.chars().filter(|c| !c.is_control()).take(60).collect();
            Err(FaultKind::NotNumeric { what: "the answer".to_owned(), text })
        }
        expression::Value::List(_) => Err(FaultKind::WrongShape("a list in a list".to_owned())),
        expression::Value::Record(_) => {
            Err(FaultKind::WrongShape("an object where a number is meant".to_owned()))
        }
        expression::Value::Nil => Err(FaultKind::NoData),
    };
    let value = answer.value();
    let all = if let expression::Value::List(list) = &value {
        list.as_slice()
    } else {
        std::slice::from_ref(&value)
    };
    if all.is_empty() { Err(FaultKind::NoData) } else { all.iter().map(of).collect() }
}
