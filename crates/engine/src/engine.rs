//! The engine: takes requests, gives slots, keeps one task per deployment, and survives any one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::{
    deployment::{Cause, Event, Input, Recorded, Refusal, State, StateName, Verb},
    model::{Actor, Release, Timestamp},
    plan::{self, Plan, PlanError},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    confidence,
    evidence::Evidence,
    fleet,
    journal::{Append, AppendError, Filter, Journal, Kept, ReadError, Request, Standing},
    learning::learned,
    record,
    run::{ENDING_MAX, INBOX_MAX, Live, Message, Run, RunError, folded, history},
    world::World,
};

/// Ended deployments of a service that are looked through for one that was turned back with the same content.
const REMEMBERED_MAX: usize = 50;

/// Ended deployments whose artifacts are written again at a start; of more that end in the moment of one crash, the
/// older ones' artifacts have to be asked for.
const ENDED_AGAIN_MAX: usize = 64;

/// What a second deployment of a service does while one is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueuePolicy {
    /// Waits for its turn.
    #[default]
    Wait,
    /// Asks everything before it to make room, then runs.
    Supersede,
    /// Is refused.
    Reject,
}

/// A request for a deployment. The engine adds what it knows: id, turn, stable release.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is wanted; `deployment`, `turn` and `stable` are filled in by the engine.
    pub request: plan::Request,
    /// What to do about a running deployment of the same service.
    pub queue: QueuePolicy,
    /// Idempotency key: the same key with the same request gives the same deployment.
    pub key: Option<Request>,
    /// Who asks.
    pub actor: Actor,
    /// Why.
    pub reason: String,
}

/// Why a request made no deployment.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No plan can be made of it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A deployment of the service is running, and the request asked not to wait.
    #[error(
        "{by} is still running for `{service}` and the queue policy is `reject`: wait for it, abort it, or use --queue wait"
    )]
    Busy {
        /// The service.
        service: String,
        /// The running deployment.
        by: String,
    },
    /// The content was turned back by a gate, and nobody has lifted that.
    #[error(
        "release {release} was turned back before ({deployment}: {cause}): change it, or say why it may try again with \
         `tidegate deploy --lift --reason WHY`"
    )]
    TurnedBack {
        /// The release that was turned back.
        release: String,
        /// Its deployment.
        deployment: String,
        /// Why.
        cause: String,
    },
    /// It cannot be told what to return to, or there is nothing whole to return to just now.
    #[error("{0}")]
    Unclear(String),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A history that is needed cannot be read.
    #[error(transparent)]
    History(#[from] RunError),
    /// The journal does not take the request.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The plan cannot be written.
    #[error("the plan cannot be written")]
    Encode(#[source] serde_json::Error),
}

/// Why a verb was not heard.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// No such deployment is active.
    #[error("deployment {0} is not active: see `tidegate history`")]
    Unknown(String),
    /// The deployment says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many messages wait for it.
    #[error("deployment {0} has {INBOX_MAX} messages waiting: try again in a moment")]
    Overloaded(String),
    /// It is quarantined: its task broke down.
    #[error("deployment {id} is quarantined ({why}); `tidegate retry` starts it again")]
    Quarantined {
        /// The deployment.
        id: String,
        /// Why.
        why: String,
    },
}

/// One deployment in the engine's hands.
struct Held {
    service: (String, String),
    inbox: mpsc::Sender<Box<Message>>,
    live: watch::Receiver<Live>,
    quarantined: Option<String>,
}

struct Inner<J, W> {
    journal: Arc<J>,
    world: Arc<W>,
    held: Mutex<BTreeMap<String, Held>>,
    /// Requests are taken one at a time, so that turns and stable releases are what they were read to be.
    door: tokio::sync::Mutex<()>,
    ending: Arc<tokio::sync::Semaphore>,
    position: watch::Sender<u64>,
    halted: watch::Sender<Option<String>>,
}

/// The engine. Cheap to clone; all clones are the same engine.
pub struct Engine<J, W> {
    inner: Arc<Inner<J, W>>,
}

impl<J, W> Clone for Engine<J, W> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<J: Journal, W: World> Engine<J, W> {
    /// Takes over everything that has not ended and drives it on. Deployments whose history cannot be read are
    /// quarantined and named; the others go on. Must be called inside a tokio runtime.
    pub async fn start(journal: Arc<J>, world: Arc<W>) -> Result<Self, ReadError> {
        let active = journal.active().await?;
        world.start_at(active.iter().map(|kept| Timestamp(kept.row.updated_unix_ms)).max());
        let engine = Self {
            inner: Arc::new(Inner {
                position: watch::Sender::new(journal.position().await?),
                journal,
                world,
                held: Mutex::default(),
                door: tokio::sync::Mutex::default(),
                ending: Arc::new(tokio::sync::Semaphore::new(ENDING_MAX)),
                halted: watch::Sender::new(None),
            }),
        };
        for kept in &active {
            engine.take_over(kept).await;
        }
        engine.make_room_again(&active).await;
        // Asking who is next reads the whole queue: once per service, and only where nothing runs. The end of what runs asks
        // by itself.
        let service = |kept: &Kept| (kept.row.service.clone(), kept.row.environment.clone());
        let running = active.iter().filter(|kept| kept.row.standing == Standing::Running);
        let busy: BTreeSet<_> = running.map(service).collect();
        let free: BTreeSet<_> = active.iter().map(service).filter(|one| !busy.contains(one)).collect();
        for (service, environment) in &free {
            engine.admit_next(service, environment).await;
        }
        tokio::spawn(engine.clone().tell_ends_again());
        Ok(engine)
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<J> {
        &self.inner.journal
    }

    /// Follows the journal's position: changes after every append.
    pub fn position(&self) -> watch::Receiver<u64> {
        self.inner.position.subscribe()
    }

    /// Becomes `Some(why)` when the journal does not take events any more: the process must be restarted.
    pub fn halted(&self) -> watch::Receiver<Option<String>> {
        self.inner.halted.subscribe()
    }

    /// Deployments in the engine's hands.
    pub fn active(&self) -> Vec<String> {
        self.held().keys().cloned().collect()
    }

    /// What a running deployment shows beyond its journal.
    pub fn live(&self, id: &str) -> Option<Live> {
        self.held().get(id).map(|held| {
            let mut live = held.live.borrow().clone();
            if let Some(why) = &held.quarantined {
                live.trouble = Some(format!("quarantined: {why}; `tidegate retry {id}` starts it again"));
            }
            live
        })
    }

    /// The release that all traffic of the service should go to when nothing is running.
    pub async fn last_good(&self, service: &str, environment: &str) -> Result<Option<Release>, RunError> {
        last_good(&*self.inner.journal, service, environment).await
    }

    /// Plans a deployment, writes it down and, when nothing else of the service is running, starts it. Answers with the
    /// deployment's id once it is durable.
    pub async fn submit(&self, submission: Submission) -> Result<String, SubmitError> {
        let Submission { mut request, queue, key, actor, reason } = submission;
        let (one_at_a_time, good) = self.enter(&request.service, &request.environment).await?;
        // A key that was seen answers with its deployment; the journal compares the digests and refuses by name.
        let repeated = match &key {
            Some(key) => self.inner.journal.request(&key.key).await?.is_some(),
            None => false,
        };
        let before = self.unfinished(&request.service, &request.environment).await?;
        if let (QueuePolicy::Reject, Some(other), false) = (queue, before.first(), repeated) {
            return Err(SubmitError::Busy { service: request.service, by: other.deployment.clone() });
        }
        request.supersedes = queue == QueuePolicy::Supersede;
        request.turn = self.inner.journal.next_turn(&request.service, &request.environment).await?;
        request.deployment = fleet::id(&request.service, &request.environment, request.turn);
        // What served before anything was deployed is the caller's to say.
        if let Some(Err(why)) = good.map(|good| good.into_request(&mut request))
            && !repeated
            && before.is_empty()
        {
            return Err(SubmitError::Unclear(why));
        }
        if !request.way_back && !repeated {
            self.refuse_turned_back(&request).await?;
            self.name_apart(&mut request).await?;
        }
        if let Some(learned) = learned(&*self.inner.journal, &request.service, &request.environment).await? {
            request.judge = request.judge.with_learned(&learned);
        }
        if repeated {
            // The answer is there already, whatever is known by now.
            request.confidence = None;
        }
        confidence::complete(&*self.inner.journal, &mut request, self.inner.world.now()).await?;
        // What runs now may end well and become the stable release: then this is planned again at its turn.
        let again = may_repeat(&request) || repeated || !before.is_empty();
        let plan = plan::compile(plan::Request { again, ..request.clone() })?;
        let id = request.deployment.clone();
        let planned = Event::Planned { request: Box::new(request), plan: Box::new(plan), reason };
        let answered = self.write_first(&id, planned, actor.clone(), key).await?;
        if answered != id {
            return Ok(answered);
        }
        if queue == QueuePolicy::Supersede {
            self.make_room(&id, &before, &actor).await;
        }
        if let Some(kept) = self.inner.journal.deployment(&id).await? {
            self.take_over(&kept).await;
            // Written down and taken over: the next request may come.
            drop(one_at_a_time);
            self.admit_next(&kept.row.service, &kept.row.environment).await;
        }
        Ok(id)
    }

    /// Refuses content whose last deployment was turned back by a gate, until a person lifts that.
    async fn refuse_turned_back(&self, request: &plan::Request) -> Result<(), SubmitError> {
        if request.lifted {
            return Ok(());
        }
        let filter = Filter {
            standing: &[Standing::Ended],
            service: Some(request.service.clone()),
            environment: Some(request.environment.clone()),
            limit: Some(REMEMBERED_MAX),
            ..Filter::default()
        };
        for kept in self.inner.journal.deployments(filter).await? {
            let state = record::state_name(&kept.row);
            if !matches!(state, Some(StateName::Verified | StateName::RolledBack)) {
                continue;
            }
            let Some((_, plan)) = confidence::first(&*self.inner.journal, &kept.deployment).await? else {
                continue;
            };
            if plan.release.artifact != request.release.artifact {
                continue;
            }
            let events = history(&*self.inner.journal, &kept.deployment).await?;
            let (plan, state) = folded(&kept.deployment, &events)?;
            return match state.cause {
                Some(cause @ Cause::GateFailed { .. }) => Err(SubmitError::TurnedBack {
                    release: plan.release.tag.clone(),
                    deployment: kept.deployment,
                    cause: cause.to_string(),
                }),
                _ => Ok(()),
            };
        }
        Ok(())
    }

    /// Gives the release a later tag while another deployment of the service ships one of that name: two requests within
    /// one second make the same tag, and the target tells releases apart by nothing else.
    async fn name_apart(&self, request: &mut plan::Request) -> Result<(), ReadError> {
        let filter = Filter {
            service: Some(request.service.clone()),
            environment: Some(request.environment.clone()),
            ..Filter::default()
        };
        let known = self.inner.journal.deployments(filter).await?;
        while known.iter().any(|kept| kept.row.release == request.release.tag) {
            request.release.tag = request.release.later_tag();
        }
        Ok(())
    }

    /// Asks these deployments to make room for `id`. One that cannot just now is asked by nobody again: it ends by itself.
    async fn make_room(&self, id: &str, others: &[Kept], actor: &Actor) {
        for other in others {
            let verb = Verb::Supersede { by: id.to_owned() };
            if let Err(why) = self.tell(&other.deployment, actor.clone(), verb).await {
                tracing::info!(deployment = other.deployment, %why, "does not make room");
            }
        }
    }

    /// An engine that died between writing a superseding request down and asking the others left that to this one.
    async fn make_room_again(&self, active: &[Kept]) {
        for queued in active.iter().filter(|kept| kept.row.standing == Standing::Queued) {
            let first =
                self.inner.journal.read(&queued.deployment, 0, 1).await.ok().and_then(|mut page| page.pop());
            let Some(first) = first.and_then(|kept| record::decode(&kept).ok()) else { continue };
            if !matches!(&first.event, Event::Planned { request, .. } if request.supersedes) {
                continue;
            }
            let same = |other: &&Kept| {
                let (row, own) = (&other.row, &queued.row);
                row.service == own.service && row.environment == own.environment && row.turn < own.turn
            };
            let before: Vec<Kept> = active.iter().filter(same).cloned().collect();
            self.make_room(&queued.deployment, &before, &first.actor).await;
        }
    }

    /// Hands a person's verb to a deployment and answers with what came of it, once it is durable.
    pub async fn tell(&self, id: &str, actor: Actor, verb: Verb) -> Result<Vec<Event>, TellError> {
        let unknown = || TellError::Unknown(id.to_owned());
        let inbox = {
            let held = self.held();
            let one = held.get(id).ok_or_else(unknown)?;
            match (&one.quarantined, &verb) {
                (Some(why), verb) if *verb != Verb::Retry => {
                    return Err(TellError::Quarantined { id: id.to_owned(), why: why.clone() });
                }
                (Some(_), _) => None,
                (None, _) => Some(one.inbox.clone()),
            }
        };
        let Some(inbox) = inbox else {
            self.held().remove(id);
            let kept = self.inner.journal.deployment(id).await.ok().flatten().ok_or_else(unknown)?;
            self.take_over(&kept).await;
            // It may have been quarantined in the queue, and the whole queue behind it.
            self.admit_next(&kept.row.service, &kept.row.environment).await;
            return Ok(Vec::new());
        };
        let (answer, heard) = oneshot::channel();
        let message = Box::new(Message { actor, input: Input::Operator(verb), answer: Some(answer) });
        inbox.try_send(message).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => TellError::Overloaded(id.to_owned()),
            mpsc::error::TrySendError::Closed(_) => unknown(),
        })?;
        let events = heard.await.map_err(|_| unknown())??;
        if events.contains(&Event::Resumed) {
            let service = self.held().get(id).map(|held| held.service.clone());
            if let Some((service, environment)) = service {
                self.admit_next(&service, &environment).await;
            }
        }
        Ok(events)
    }

    pub(crate) fn door(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.door
    }

    pub(crate) fn world(&self) -> &W {
        &self.inner.world
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Held>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of one service that have not ended, the oldest first.
    async fn unfinished(&self, service: &str, environment: &str) -> Result<Vec<Kept>, ReadError> {
        let filter = Filter {
            standing: &[Standing::Queued, Standing::Running],
            service: Some(service.to_owned()),
            environment: Some(environment.to_owned()),
            ..Filter::default()
        };
        let mut found = self.inner.journal.deployments(filter).await?;
        found.reverse();
        Ok(found)
    }

    async fn write_first(
        &self,
        id: &str,
        planned: Event,
        actor: Actor,
        key: Option<Request>,
    ) -> Result<String, SubmitError> {
        let now = self.inner.world.now();
        let Event::Planned { plan, .. } = &planned else { return Ok(id.to_owned()) };
        let row = record::row(plan, &State::planned(now), now);
        let recorded = Recorded { seq: 1, at: now, actor, event: planned };
        let append = Append {
            deployment: id.to_owned(),
            expected_seq: 0,
            epoch: self.inner.journal.epoch(),
            events: vec![record::encode(&recorded).map_err(SubmitError::Encode)?],
            row,
            request: key,
        };
        let appended = self.inner.journal.append(append).await.inspect_err(|error| self.halt_after(error))?;
        self.inner.position.send_replace(appended.position);
        Ok(appended.deployment)
    }

    /// Says so when an error means that the journal takes nothing more from this engine.
    fn halt_after(&self, error: &AppendError) {
        if matches!(error, AppendError::Broken { .. } | AppendError::Fenced { .. }) {
            self.inner.halted.send_replace(Some(error.to_string()));
        }
    }

    /// Folds a deployment's history and gives it a task of its own.
    async fn take_over(&self, kept: &Kept) {
        let id = kept.deployment.clone();
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        let live = watch::Sender::new(Live::default());
        let held = Held {
            service: (kept.row.service.clone(), kept.row.environment.clone()),
            inbox: sender,
            live: live.subscribe(),
            quarantined: None,
        };
        self.held().insert(id.clone(), held);
        let folded = match history(&*self.inner.journal, &id).await {
            Ok(history) => folded(&id, &history),
            Err(error) => Err(error),
        };
        match folded {
            Err(error) => self.quarantine(&id, &error.to_string()),
            Ok((plan, state)) => {
                let run = Run {
                    evidence: Evidence::of(&*self.inner.journal, &plan).await,
                    journal: Arc::clone(&self.inner.journal),
                    world: Arc::clone(&self.inner.world),
                    epoch: self.inner.journal.epoch(),
                    appended: self.inner.position.clone(),
                    ending: Arc::clone(&self.inner.ending),
                    plan,
                    state,
                    inbox,
                    live,
                };
                let of = (run.plan.service.clone(), run.plan.environment.clone());
                // Apart from who attends it: a task's room is that of the largest thing it ever holds.
                let driven = tokio::spawn(run.drive());
                tokio::spawn(self.clone().attend(id, of, driven));
            }
        }
    }

    /// Waits for the end of one deployment, and keeps it from being anyone else's.
    async fn attend(
        self,
        id: String,
        (service, environment): (String, String),
        driven: JoinHandle<Result<(), RunError>>,
    ) {
        match driven.await {
            Ok(Ok(())) => {
                self.held().remove(&id);
                // Boxed: admitting may take over another deployment, whose task ends here again.
                let next: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
                    Box::pin(async move { self.admit_next(&service, &environment).await });
                next.await;
            }
            Ok(Err(RunError::Append(error @ (AppendError::Broken { .. } | AppendError::Fenced { .. })))) => {
                self.halt_after(&error);
            }
            Ok(Err(error)) => self.quarantine(&id, &error.to_string()),
            Err(broken) => self.quarantine(&id, &format!("its task broke down: {broken}")),
        }
    }

    /// A crash may have come between a deployment's end and its artifacts: the newest ends are told again.
    async fn tell_ends_again(self) {
        let filter = Filter { standing: &[Standing::Ended], ..Filter::default() };
        let mut ended = match self.inner.journal.deployments(filter).await {
            Ok(ended) => ended,
            Err(why) => return tracing::warn!(%why, "cannot look for ends without artifacts"),
        };
        ended.sort_by_key(|kept| std::cmp::Reverse(kept.position));
        for kept in ended.iter().take(ENDED_AGAIN_MAX) {
            match history(&*self.inner.journal, &kept.deployment).await {
                Ok(history) => self.inner.world.ended(history.into()).await,
                Err(why) => {
                    tracing::warn!(deployment = kept.deployment, %why, "artifacts are not written again");
                }
            }
        }
    }

    /// One deployment is set aside; the others go on.
    fn quarantine(&self, id: &str, why: &str) {
        tracing::error!(deployment = id, why, "quarantined");
        if let Some(held) = self.held().get_mut(id) {
            held.quarantined = Some(why.to_owned());
        }
    }

    /// Gives the service's slot to whoever is next, when it is free.
    async fn admit_next(&self, service: &str, environment: &str) {
        let unfinished = match self.unfinished(service, environment).await {
            Ok(unfinished) => unfinished,
            Err(why) => return tracing::error!(service, %why, "cannot read the queue"),
        };
        // One that cannot be read is set aside; it must not keep the others of its service waiting.
        let readable = |kept: &&Kept| {
            let aside = self.held().get(&kept.deployment).is_some_and(|held| held.quarantined.is_some());
            kept.row.standing == Standing::Running || !aside
        };
        let candidates = unfinished.iter().filter(readable).map(|kept| fleet::Candidate {
            id: &kept.deployment,
            turn: kept.row.turn,
            running: kept.row.standing == Standing::Running,
            paused: record::state_name(&kept.row) == Some(StateName::Paused),
        });
        let Some(id) = fleet::next(candidates) else { return };
        let replanned = match self.replanned(id).await {
            Ok(replanned) => replanned,
            Err(why) => {
                self.quarantine(id, &why.to_string());
                // Boxed: the next one in the queue may be unreadable as well.
                return Box::pin(self.admit_next(service, environment)).await;
            }
        };
        let inbox = self.held().get(id).map(|held| held.inbox.clone());
        if let Some(inbox) = inbox {
            let input = Input::Admit { replanned };
            let message = Box::new(Message { actor: Actor::engine(), input, answer: None });
            // A full inbox means that it is being talked to; its next end of run admits again.
            if inbox.send(message).await.is_err() {
                tracing::warn!(deployment = id, "ended before it was admitted");
            }
        }
    }

    /// A new plan for a deployment whose stable release changed while it waited.
    async fn replanned(&self, id: &str) -> Result<Option<Result<Box<Plan>, String>>, RunError> {
        let history = history(&*self.inner.journal, id).await?;
        let Some(Event::Planned { request, plan, .. }) = history.first().map(|first| &first.event) else {
            return Ok(None);
        };
        if let Some(later) = self.overtaken_by(plan).await? {
            return Ok(Some(Err(format!(
                "{later} was rolled out while this one was paused; an older request must not undo it: deploy again"
            ))));
        }
        // What served before anything was deployed is in no journal but in this plan.
        let stable = self.last_good(&plan.service, &plan.environment).await?.or_else(|| plan.stable.clone());
        let mut request = request.as_ref().clone();
        // A service's first deployment has found it a moment ago.
        if let Some(stable) = stable.filter(|_| plan.turn > 1)
            && let Err(why) = self.good(&plan.service, stable).await.into_request(&mut request)
        {
            return Ok(Some(Err(why)));
        }
        let known = request.stable == plan.stable;
        let repeats = may_repeat(&request);
        if known && (repeats || !request.again) {
            return Ok(None);
        }
        request.again &= repeats;
        confidence::complete(&*self.inner.journal, &mut request, self.inner.world.now()).await?;
        Ok(Some(plan::compile(request).map(Box::new).map_err(|why| why.to_string())))
    }

    /// A later deployment of the service that has been at the target, where orders are told apart by their turn: what
    /// comes after it with a lower turn would be refused there, even on its way back.
    async fn overtaken_by(&self, plan: &Plan) -> Result<Option<String>, ReadError> {
        let filter = Filter {
            standing: &[Standing::Ended],
            service: Some(plan.service.clone()),
            environment: Some(plan.environment.clone()),
            ..Filter::default()
        };
        let ended = self.inner.journal.deployments(filter).await?;
        let was_there = |kept: &Kept| {
            let state = record::state_name(&kept.row);
            kept.row.turn > plan.turn && matches!(state, Some(StateName::Verified | StateName::RolledBack))
        };
        Ok(ended.into_iter().find(was_there).map(|kept| kept.deployment))
    }

    /// Services with something in the engine's hands.
    pub fn services(&self) -> Vec<(String, String)> {
        self.held().values().map(|held| held.service.clone()).collect()
    }
}

/// Whether the running content may be rolled out once more: as another release, never as the very one that is stable,
/// because the target tells releases apart by their tags.
fn may_repeat(request: &plan::Request) -> bool {
    let is_stable = request.stable.as_ref().is_some_and(|stable| stable.tag == request.release.tag);
    request.again && !is_stable
}

/// The release that all traffic of a service should go to when nothing is running: that of the deployment that was
/// verified last. Not of the one that was asked for last: that may have been called off while another was running.
pub async fn last_good<H: crate::journal::History>(
    journal: &H,
    service: &str,
    environment: &str,
) -> Result<Option<Release>, RunError> {
    let filter = Filter {
        standing: &[Standing::Ended],
        service: Some(service.to_owned()),
        environment: Some(environment.to_owned()),
        before: None,
        limit: None,
    };
    let ended = journal.deployments(filter).await?;
    let verified = ended.iter().filter(|kept| record::state_name(&kept.row) == Some(StateName::Verified));
    let Some(last) = verified.max_by_key(|kept| kept.position) else { return Ok(None) };
    let (plan, _) = folded(&last.deployment, &history(journal, &last.deployment).await?)?;
    Ok(Some(plan.release.clone()))
}
