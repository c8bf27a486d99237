//! One deployment being driven: fold the journal, do what is owed, hand the answers to `decide`, append, fold again.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tidegate_core::{
    deployment::{
        Effect, Event, Input, Key, Outcome, Owed, Recorded, Refusal, State, What, decide, evolve, fold, look,
        look_first, owed,
    },
    gate::{Judgement, Reading},
    judge::exposure,
    model::{Actor, Millis, Timestamp},
    plan::Plan,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    evidence::{Evidence, bound},
    journal::{Append, AppendError, BoxFuture, Epoch, Journal, READ_MAX, ReadError},
    learning::learn_from,
    record::{self, DecodeError},
    world::{Order, World},
};

/// Messages that may wait for one deployment; beyond it the sender is told to try again.
pub const INBOX_MAX: usize = 32;

/// Wait before an append that found no room is tried again.
const APPEND_AGAIN: Millis = Millis(50);

/// Deployments whose end is told at once: each holds its whole history for it, and a thousand may end in one moment.
pub(crate) const ENDING_MAX: usize = 4;

/// A message to a running deployment. Sent in a box: an inbox has room for all its messages from the start.
pub(crate) struct Message {
    pub(crate) actor: Actor,
    pub(crate) input: Input,
    pub(crate) answer: Option<oneshot::Sender<Result<Vec<Event>, Refusal>>>,
}

/// What a watcher sees of a running deployment beyond its journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// What the gates would say now.
    pub judgements: Vec<Judgement>,
    /// When the evidence was read.
    pub at: Option<Timestamp>,
    /// The last error of something that is tried again, or what somebody else changed, for `tidegate why`.
    pub trouble: Option<String>,
}

/// Why a run stopped before its deployment ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its history cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its history cannot be understood.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The journal does not take its events any more.
    #[error(transparent)]
    Append(AppendError),
    /// An event could not be written as JSON.
    #[error("an event of {deployment} cannot be written")]
    Encode {
        /// The deployment.
        deployment: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A deployment's plan, state and connections.
pub(crate) struct Run<J, W> {
    pub(crate) journal: Arc<J>,
    pub(crate) world: Arc<W>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    pub(crate) evidence: Evidence,
    pub(crate) inbox: mpsc::Receiver<Box<Message>>,
    pub(crate) live: watch::Sender<Live>,
    pub(crate) epoch: Epoch,
    /// Told after every append, with the journal's new position.
    pub(crate) appended: watch::Sender<u64>,
    /// See [`ENDING_MAX`].
    pub(crate) ending: Arc<Semaphore>,
}

/// An answer to an effect.
struct Answer {
    key: Key,
    attempt: u32,
    outcome: Outcome,
}

/// Effects on their way. Dropping one stops waiting for it; the target's fencing keeps a late one from mattering.
#[derive(Default)]
struct Flying {
    /// What is on its way, so that nothing is started twice.
    keys: BTreeMap<(Key, u32), Millis>,
    answers: FuturesUnordered<BoxFuture<Answer>>,
    /// When repeated effects may be asked again.
    again: BTreeMap<Key, Timestamp>,
}

/// Reads a deployment's whole history.
pub async fn history<H: crate::journal::History>(journal: &H, id: &str) -> Result<Vec<Recorded>, RunError> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(0, |last| last.seq);
        let page = journal.read(id, after, READ_MAX).await?;
        // A page may be cut short by its bytes; only an empty one is the end.
        if page.is_empty() {
            return Ok(events);
        }
        for kept in &page {
            events.push(record::decode(kept)?);
        }
    }
}

/// The plan and state that a history folds to.
pub(crate) fn folded(id: &str, history: &[Recorded]) -> Result<(Arc<Plan>, State), RunError> {
    let (plan, state) = fold(history)
        .ok_or_else(|| DecodeError::NoPlan { deployment: id.to_owned() })
        .map_err(RunError::Decode)?;
    Ok((Arc::new(*plan), state))
}

impl<J: Journal, W: World> Run<J, W> {
    /// Drives the deployment until it ends. An error is about this deployment alone. What is done now and then is boxed for as
    /// long: a thousand deployments that wait need no room for it.
    pub(crate) async fn drive(mut self) -> Result<(), RunError> {
        let mut flying = Flying::default();
        while !self.state.is_terminal() || self.state.phase == tidegate_core::deployment::Phase::Stuck {
            let debts = owed(&self.plan, &self.state);
            flying.keep(&debts);
            self.launch(&mut flying, &debts);
            let wake = debts
                .iter()
                .find_map(|debt| if let Effect::Wake { at } = debt.effect { Some(at) } else { None });
            let sleep = wake.map(|at| self.world.sleep_until(at));
            tokio::select! {
                biased;
                message = self.inbox.recv() => match message {
                    Some(message) => self.hear(message).boxed().await?,
                    // The engine is going away; the journal has everything.
                    None => return Ok(()),
                },
                Some(answer) = flying.answers.next(), if !flying.answers.is_empty() => {
                    self.answered(&mut flying, answer).boxed().await?;
                }
                () = async { match sleep { Some(sleep) => sleep.await, None => std::future::pending().await } } => {
                    self.take(&Actor::engine(), &Input::Tick).boxed().await?.ok();
                }
            }
        }
        self.end().boxed().await
    }

    /// Writes what waits, learns from the deployment, and tells the world.
    async fn end(&mut self) -> Result<(), RunError> {
        self.keep_evidence().await;
        if let Err(why) = learn_from(&*self.journal, &self.plan).await {
            tracing::warn!(deployment = self.plan.deployment, %why, "nothing was learned from it");
        }
        // Never closed.
        let _turn = self.ending.acquire().await;
        let history = history(&*self.journal, &self.plan.deployment).await?;
        self.world.ended(history.into()).await;
        Ok(())
    }

    /// Starts what is owed and not on its way.
    fn launch(&self, flying: &mut Flying, debts: &[Owed]) {
        for debt in debts {
            let id = (debt.key, debt.attempt);
            if matches!(debt.effect, Effect::Wake { .. }) || flying.keys.contains_key(&id) {
                continue;
            }
            let every = if let Effect::Measure { every } = debt.effect { every } else { Millis::ZERO };
            let not_before =
                flying.again.get(&debt.key).copied().unwrap_or(debt.not_before).max(debt.not_before);
            flying.keys.insert(id, every);
            flying.answers.push(self.attempt(debt.clone(), not_before));
        }
    }

    /// One try of one effect, with its wait before and its bound.
    fn attempt(&self, debt: Owed, not_before: Timestamp) -> BoxFuture<Answer> {
        let world = Arc::clone(&self.world);
        let order = Order {
            key: debt.key.text(&self.plan.deployment),
            attempt: debt.attempt,
            epoch: self.epoch.0,
            plan: Arc::clone(&self.plan),
            given: self.state.exposed,
            reach: debt.reach,
            effect: debt.effect,
        };
        async move {
            if not_before > world.now() {
                world.sleep_until(not_before).await;
            }
            let bound = world.sleep_until(world.now().after(debt.within));
            let outcome = tokio::select! {
                biased;
                outcome = world.perform(order) => outcome,
                () = bound => Outcome::Failed { reason: format!("no answer within {}", debt.within), permanent: false },
            };
            Answer { key: debt.key, attempt: debt.attempt, outcome }
        }
        .boxed()
    }

    async fn answered(&mut self, flying: &mut Flying, answer: Answer) -> Result<(), RunError> {
        let Answer { key, attempt, outcome } = answer;
        if let Some(every) = flying.keys.remove(&(key, attempt)).filter(|every| *every > Millis::ZERO) {
            flying.again.insert(key, self.world.now().after(every));
        }
        if let Outcome::Read(reading) = &outcome {
            if key.what == What::Measure && self.evidence.has_seen(reading) {
                flying.again.insert(key, self.world.now().after(self.plan.limits.look_every));
                return Ok(());
            }
            self.observe(reading).await;
        }
        self.show(&outcome);
        let input = Input::Outcome { key, attempt, outcome };
        let moved = matches!(self.take(&Actor::engine(), &input).await?, Ok(events) if !events.is_empty());
        if !moved {
            // Late news is normal; an answer that moves nothing must not be asked for in a tight loop.
            let again = self.world.now().after(self.plan.limits.look_every);
            flying.again.entry(key).and_modify(|at| *at = again.max(*at)).or_insert(again);
        }
        Ok(())
    }

    /// Folds what a reading adds, while anything is exposed.
    async fn observe(&mut self, reading: &Reading) {
        self.evidence.observe(reading, exposure(&self.state));
        if self.evidence.is_full() {
            self.keep_evidence().await;
        }
    }

    /// Writes the batches that wait. What is not written in time is tried again with the next ones.
    async fn keep_evidence(&mut self) {
        let Some(write) = self.evidence.write(&*self.journal, &self.plan, self.state.seq) else { return };
        let written = tokio::select! {
            biased;
            written = write => written,
            () = self.world.sleep_until(bound(self.world.now())) => false,
        };
        if written {
            self.evidence.written();
        }
    }

    /// Lets watchers see the newest evidence.
    fn show(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Read(reading) => {
                let judgements = look(&self.plan, &self.state, &self.evidence.judge, reading);
                let trouble = reading.astray.clone();
                self.live.send_replace(Live { judgements, at: Some(reading.at), trouble });
            }
            Outcome::Failed { reason, .. } => {
                self.live.send_modify(|live| live.trouble = Some(reason.clone()));
            }
            Outcome::Done | Outcome::LeaseEnded => {}
        }
    }

    async fn hear(&mut self, message: Box<Message>) -> Result<(), RunError> {
        let decided = match self.look_before(&message.input).await? {
            Some(unseen) => Err(unseen),
            None => self.take(&message.actor, &message.input).await?,
        };
        if let Some(answer) = message.answer {
            // Who asked may be gone; what was decided stands.
            drop(answer.send(decided));
        }
        Ok(())
    }

    /// Looks at the target where a person's word needs it. What was seen is taken first; the word is decided in the state
    /// after it, or refused when nothing could be seen.
    async fn look_before(&mut self, input: &Input) -> Result<Option<Refusal>, RunError> {
        let now = self.world.now();
        let Some(debt) = look_first(&self.plan, &self.state, input, now) else { return Ok(None) };
        let Answer { key, attempt, outcome } = self.attempt(debt, now).await;
        self.show(&outcome);
        let unseen = match &outcome {
            Outcome::Failed { reason, .. } => Some(Refusal::Unseen { reason: reason.clone() }),
            Outcome::Done | Outcome::Read(_) | Outcome::LeaseEnded => None,
        };
        // Where the news moves nothing, that is as good.
        self.take(&Actor::engine(), &Input::Outcome { key, attempt, outcome }).await?.ok();
        Ok(unseen)
    }

    /// The one door: decide, append, and then, and only then, fold.
    async fn take(&mut self, actor: &Actor, input: &Input) -> Result<Result<Vec<Event>, Refusal>, RunError> {
        let now = self.world.now();
        let events = match decide(&self.plan, &self.state, &self.evidence.judge, input, now) {
            Ok(events) if events.is_empty() => return Ok(Ok(events)),
            Ok(events) => events,
            Err(refusal) => return Ok(Err(refusal)),
        };
        // A verdict must be found again from what it was made of, so that goes first.
        self.keep_evidence().await;
        let mut next = self.state.clone();
        let mut plan = Arc::clone(&self.plan);
        let mut recorded = Vec::with_capacity(events.len());
        for event in &events {
            let one = Recorded { seq: next.seq + 1, at: now, actor: actor.clone(), event: event.clone() };
            next = evolve(&plan, next, &one);
            if let Event::Replanned { plan: newer } = event {
                plan = Arc::new(newer.as_ref().clone());
            }
            recorded.push(one);
        }
        match self.append(&plan, &next, &recorded, now).await {
            Ok(()) => {}
            // Another deployment of the service still runs: the fleet will admit again.
            Err(RunError::Append(AppendError::ServiceBusy { .. })) => return Ok(Err(Refusal::Stale)),
            Err(error) => return Err(error),
        }
        if !Arc::ptr_eq(&self.plan, &plan) {
            self.evidence.replan(&plan);
        }
        self.plan = plan;
        self.state = next;
        Ok(Ok(events))
    }

    /// Appends until the journal takes it: a full disk or a full queue passes, anything else ends this run.
    async fn append(
        &mut self,
        plan: &Plan,
        next: &State,
        recorded: &[Recorded],
        now: Timestamp,
    ) -> Result<(), RunError> {
        let events = recorded.iter().map(record::encode).collect::<Result<VecDeque<_>, _>>();
        let events =
            events.map_err(|source| RunError::Encode { deployment: plan.deployment.clone(), source })?;
        let append = Append {
            deployment: plan.deployment.clone(),
            expected_seq: self.state.seq,
            epoch: self.epoch,
            events: events.into(),
            row: record::row(plan, next, now),
            request: None,
        };
        loop {
            match self.journal.append(append.clone()).await {
                Ok(appended) => {
                    self.appended.send_replace(appended.position);
                    return Ok(());
                }
                Err(error @ (AppendError::Overloaded { .. } | AppendError::Full)) => {
                    self.live.send_modify(|live| live.trouble = Some(error.to_string()));
                    self.world.sleep_until(self.world.now().after(APPEND_AGAIN)).await;
                }
                Err(error) => return Err(RunError::Append(error)),
            }
        }
    }
}

impl Flying {
    /// Stops waiting for what is not owed any more. Futures are dropped only when none of them is still owed, which is
    /// every change of phase: one phase owes at most one effect beside measuring.
    fn keep(&mut self, debts: &[Owed]) {
        let owed = |id: &(Key, u32)| debts.iter().any(|debt| (debt.key, debt.attempt) == *id);
        if self.keys.keys().any(|id| !owed(id)) {
            *self = Self { again: std::mem::take(&mut self.again), ..Self::default() };
        }
    }
}
