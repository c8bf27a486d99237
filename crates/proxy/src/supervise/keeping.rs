//! The task of one instance, from its first start to its last end.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::protocol::{InstanceState, Run, RunKind};

use super::container::{self, Held};
use super::instance::{Instance, Order};
use super::launch::{LaunchError, launch};
use super::life::{Life, seconds};
use super::probe::{Condition, Health, probe};
use super::proc_table::{self, boot_ms};
use super::process::{self, Leader, Mark};
use super::record::{Record, SavedLife};
use super::station::{Awaited, Station, unix_ms};
use super::{log, port};

/// Time between looks at the log's size and at the crash-loop window.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Time between looks at the requests of a draining instance.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// Looks in a row without requests before an instance counts as drained: one request may have picked it just before
/// it left traffic and not be counted yet.
const DRAIN_QUIET_LOOKS: u32 = 2;

/// The task of one instance.
pub(super) struct Keeping {
    station: Rc<Station>,
    instance: Rc<Instance>,
    /// Held until the first probe has ended.
    awaited: Cell<Option<Awaited>>,
}

/// Where the task is.
enum Step {
    /// Nothing runs.
    Start,
    /// It runs.
    Attend(Life, Seen),
    /// It ended, unless it is to be stopped first, and that counts as an end by itself.
    Failed(Life, Why),
    /// Nothing runs, and this is why.
    Wait(String),
    /// It cannot start as it is written.
    Hopeless(String, Order),
    /// It is not wanted any more.
    Drain(Life),
    /// It is drained.
    Stop(Life),
    /// It ended while it was not wanted.
    Clear(Life, String),
    /// It is gone.
    Done,
}

/// What is known of a running instance before its first probe.
#[derive(Clone, Copy, Debug)]
struct Seen {
    condition: Condition,
    /// From when its deadline counts, milliseconds since boot.
    from_boot_ms: u64,
    /// Since when it has been ready, if the first probe confirms that.
    ready_since_unix_ms: Option<i64>,
}

/// Why a life failed.
enum Why {
    /// It ended.
    Ended(String),
    /// It runs, but was not ready in time.
    Late(String),
}

impl Keeping {
    /// Of this instance. `awaited` is dropped when the first probe has ended, or when none will come.
    pub(super) fn new(station: Rc<Station>, instance: Rc<Instance>, awaited: Option<Awaited>) -> Self {
        Self { station, instance, awaited: Cell::new(awaited) }
    }

    /// Keeps the instance as it is ordered until it is ordered to stop and gone.
    pub(super) async fn keep(self) {
        let mut step = self.resume().await;
        loop {
            step = match step {
                Step::Start => self.start().await,
                Step::Attend(life, seen) => self.attend(life, seen).await,
                Step::Failed(life, why) => self.failed(life, why).await,
                Step::Wait(why) => self.wait(why).await,
                Step::Hopeless(why, order) => self.hopeless(why, order).await,
                Step::Drain(life) => self.drain(life).await,
                Step::Stop(life) => self.stop(life).await,
                Step::Clear(life, why) => self.clear(life, why).await,
                Step::Done => break,
            };
        }
        self.enter(InstanceState::Stopped);
        self.instance.active.set(false);
        self.station.settled.notify_one();
    }

    /// Finds what an earlier supervisor left running.
    async fn resume(&self) -> Step {
        let record = self.instance.record();
        let run = self.run();
        let found = match (&record.life, &run.kind) {
            (SavedLife::None, _) => None,
            (SavedLife::Process { pid, start_ticks }, _) => {
                Leader::attach(*pid, *start_ticks, self.mark()).map(Life::Process)
            }
            (SavedLife::Container { id }, RunKind::Container(container)) => {
                Held::adopt(container, id, &self.log()).await.map(Life::Container)
            }
            (SavedLife::Intended, RunKind::Container(container)) => {
                Held::find(container, &self.mark(), &self.log()).await.map(Life::Container)
            }
            (SavedLife::Intended | SavedLife::Container { .. }, RunKind::Command(_)) => self.find_orphan(),
        };
        if let Some(life) = found {
            self.note_life(&life);
            return self.attend_again(life);
        }
        if record.life == SavedLife::None {
            return Step::Start;
        }
        // What is left of an instance whose first process is gone would hold its port.
        let mark = self.mark();
        let ours = |(_, instance): &(_, String)| *instance == mark.instance;
        for (process, _) in process::of_data(&mark.data).into_iter().filter(ours) {
            process::kill(process);
        }
        match record.life {
            SavedLife::None | SavedLife::Intended => Step::Start,
            SavedLife::Process { .. } | SavedLife::Container { .. } => {
                Step::Wait("ended (status unknown)".to_owned())
            }
        }
    }

    /// It runs, but nobody watched it for a while: it counts as ready only once it is probed again.
    fn attend_again(&self, life: Life) -> Step {
        let record = self.instance.record();
        let (condition, state) = match (record.ready_since_unix_ms, record.was_ready) {
            (Some(_), _) => (Condition::Ready, InstanceState::Unready),
            (None, true) => (Condition::Unready, InstanceState::Unready),
            (None, false) => (Condition::Starting, InstanceState::Starting),
        };
        self.enter(state);
        // A full deadline from now: nobody could see it become ready meanwhile.
        let ready_since_unix_ms = record.ready_since_unix_ms;
        Step::Attend(life, Seen { condition, from_boot_ms: boot_ms(), ready_since_unix_ms })
    }

    /// A process that was started but not recorded, known by its mark.
    fn find_orphan(&self) -> Option<Life> {
        let mark = self.mark();
        let leaders = process::of_data(&mark.data)
            .into_iter()
            .filter(|(process, instance)| *instance == mark.instance && process.pid == process.group);
        let (first, _) = leaders.min_by_key(|(process, _)| process.start_ticks)?;
        Leader::attach(first.pid, first.start_ticks, mark).map(Life::Process)
    }

    async fn start(&self) -> Step {
        drop(self.awaited.take());
        let order = *self.instance.order.borrow();
        if order == Order::Stop {
            return Step::Done;
        }
        match self.launch().await {
            Ok(life) => {
                self.note_life(&life);
                self.enter(InstanceState::Starting);
                let from_boot_ms = life.started_boot_ms();
                Step::Attend(
                    life,
                    Seen { condition: Condition::Starting, from_boot_ms, ready_since_unix_ms: None },
                )
            }
            Err(LaunchError::Hopeless(why)) => Step::Hopeless(why, order),
            Err(LaunchError::Later(why)) => Step::Wait(why),
        }
    }

    async fn launch(&self) -> Result<Life, LaunchError> {
        let later = |what: &str, error: &io::Error| LaunchError::Later(format!("could not {what}: {error}"));
        let port = self.choose_port().map_err(|e| later("find a free port", &e))?;
        let path = self.log();
        let (file, log_from) = log::open(&path).map_err(|e| later("open its log", &e))?;
        self.change(|record| {
            record.port = Some(port);
            record.log_from = log_from;
            record.was_ready = false;
            record.ready_since_unix_ms = None;
            record.life = SavedLife::Intended;
        });
        self.station.save().map_err(|e| later("record its start on disk", &e))?;
        match &self.run().kind {
            RunKind::Command(command) => {
                let pid = launch(command, port, &self.mark(), file)?;
                // Nobody else reaps it, so the id cannot have changed hands.
                let start_ticks = proc_table::read(pid).map_or(0, |process| process.start_ticks);
                let leader = Leader::attach(pid, start_ticks, self.mark());
                leader.map(Life::Process).ok_or_else(|| LaunchError::Later("ended at once".to_owned()))
            }
            RunKind::Container(container) => {
                container::start(container, port, &self.mark(), &path).await.map(Life::Container)
            }
        }
    }

    /// The port it had, unless someone else has taken it meanwhile.
    fn choose_port(&self) -> io::Result<u16> {
        match self.instance.port() {
            Some(port) if port::is_free(port) => Ok(port),
            Some(_) | None => self.station.choose_port(),
        }
    }

    async fn attend(&self, life: Life, seen: Seen) -> Step {
        let mut order = self.instance.order.subscribe();
        tokio::select! {
            why = life.ended() => Step::Failed(life, Why::Ended(why)),
            why = self.watch_health(seen) => Step::Failed(life, Why::Late(why)),
            _ = order.wait_for(|order| *order == Order::Stop) => Step::Drain(life),
            never = self.housekeep(&life) => match never {},
        }
    }

    /// Probes for as long as it lives; answers why it was not ready in time.
    async fn watch_health(&self, seen: Seen) -> String {
        let mut health = Health::new(seen.from_boot_ms, seen.condition);
        let mut since = seen.ready_since_unix_ms;
        let address = port::address(self.instance.port().unwrap_or(0));
        loop {
            let ready = self.run().ready.clone();
            let result = probe(&ready.probe, address, health.timeout(boot_ms(), &ready)).await;
            match health.note(result, boot_ms(), &ready) {
                Condition::Late => {
                    return format!(
                        "not ready within {}: {}",
                        seconds(ready.deadline_ms),
                        health.last_error()
                    );
                }
                Condition::Starting => self.enter(InstanceState::Starting),
                Condition::Ready => self.enter_ready(since),
                Condition::Unready => self.enter_unready(),
            }
            // Only the first probe can confirm that it has been ready without a break.
            since = None;
            drop(self.awaited.take());
            sleep(health.interval(boot_ms(), &ready)).await;
        }
    }

    /// Rotates the log and forgives old ends.
    async fn housekeep(&self, life: &Life) -> Infallible {
        loop {
            sleep(HOUSEKEEPING).await;
            let run = self.run();
            let (path, policy) = (self.log(), run.log.clone());
            let rotated =
                tokio::task::spawn_blocking(move || log::rotate(&path, policy.size_max, policy.files_max))
                    .await;
            match rotated {
                Ok(Ok(true)) => self.change(|record| record.log_from = 0),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::warn!(instance = self.instance.id(), %error, "could not rotate the log");
                }
            }
            let quiet_ms = boot_ms().saturating_sub(life.started_boot_ms());
            if quiet_ms >= run.restart.crash_loop_window_ms {
                self.change(|record| record.ends.forgive());
            }
        }
    }

    async fn failed(&self, life: Life, why: Why) -> Step {
        drop(self.awaited.take());
        match why {
            Why::Ended(why) => {
                self.change(|record| record.last_end = Some(why.clone()));
                self.enter(InstanceState::BackingOff);
                life.clear().await;
                Step::Wait(why)
            }
            Why::Late(why) => {
                self.change(|record| record.last_end = Some(why.clone()));
                self.enter(InstanceState::Stopping);
                life.stop(&self.run().stop).await;
                Step::Wait(why)
            }
        }
    }

    /// Notes an end by itself and waits for the next start.
    async fn wait(&self, why: String) -> Step {
        drop(self.awaited.take());
        self.note_end(why);
        let policy = self.run().restart.clone();
        let (mut pause, mut looping) = (Duration::ZERO, false);
        self.change(|record| {
            pause = record.ends.record(boot_ms(), &policy);
            record.ends_total = record.ends_total.saturating_add(1);
            looping = record.ends.looping();
        });
        self.enter(if looping { InstanceState::CrashLooping } else { InstanceState::BackingOff });
        self.save();
        let mut order = self.instance.order.subscribe();
        tokio::select! {
            () = sleep(pause) => {}
            _ = order.wait_for(|order| *order == Order::Stop) => {}
        }
        Step::Start
    }

    async fn hopeless(&self, why: String, tried: Order) -> Step {
        self.note_end(why);
        self.enter(InstanceState::Failed);
        self.save();
        let mut order = self.instance.order.subscribe();
        // The sender lives as long as this task, so the wait cannot fail.
        let _changed = order.wait_for(|order| *order != tried).await;
        Step::Start
    }

    async fn drain(&self, life: Life) -> Step {
        drop(self.awaited.take());
        self.enter(InstanceState::Draining);
        let mut order = self.instance.order.subscribe();
        tokio::select! {
            why = life.ended() => Step::Clear(life, why),
            () = self.drained() => Step::Stop(life),
            _ = order.wait_for(|order| *order != Order::Stop) => self.attend_again(life),
        }
    }

    async fn drained(&self) {
        let service = &self.instance.service;
        let address = port::address(self.instance.port().unwrap_or(0));
        let (requests_ms, upgraded_ms) = self.station.traffic.drain_limits(service);
        let start = Instant::now();
        let within = |limit_ms| start.elapsed() < Duration::from_millis(limit_ms);
        let mut quiet_looks = 0;
        while quiet_looks < DRAIN_QUIET_LOOKS {
            sleep(DRAIN_LOOK).await;
            let left = self.station.traffic.in_flight(service, address);
            let waits =
                (left.requests > 0 && within(requests_ms)) || (left.upgraded > 0 && within(upgraded_ms));
            quiet_looks = if waits { 0 } else { quiet_looks + 1 };
        }
    }

    async fn stop(&self, life: Life) -> Step {
        self.enter(InstanceState::Stopping);
        let end = life.stop(&self.run().stop).await;
        self.note_end(end);
        self.save();
        Step::Start
    }

    async fn clear(&self, life: Life, why: String) -> Step {
        life.clear().await;
        self.note_end(why);
        self.save();
        Step::Start
    }

    /// Something runs: remembers it, on disk too.
    fn note_life(&self, life: &Life) {
        self.instance.note_life(life);
        self.save();
    }

    fn note_end(&self, why: String) {
        self.instance.note_end(&self.station, why);
    }

    fn enter(&self, state: InstanceState) {
        if self.instance.enter(state) {
            self.station.publish();
        }
    }

    /// Ready, since `since` or since now.
    fn enter_ready(&self, since: Option<i64>) {
        if self.instance.state() == InstanceState::Ready {
            return;
        }
        self.change(|record| {
            record.was_ready = true;
            record.ready_since_unix_ms = Some(since.unwrap_or_else(unix_ms));
        });
        // On disk first: the next supervisor waits for the first probe of those that took traffic.
        self.save();
        self.enter(InstanceState::Ready);
    }

    fn enter_unready(&self) {
        self.enter(InstanceState::Unready);
        if self.instance.record().ready_since_unix_ms.is_some() {
            self.change(|record| record.ready_since_unix_ms = None);
            self.save();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        self.instance.change(change);
    }

    /// Writes the state; trouble is logged, for the marks still find what the file does not name.
    fn save(&self) {
        if let Err(error) = self.station.save() {
            tracing::error!(instance = self.instance.id(), %error, "could not write the supervisor's state");
        }
    }

    fn run(&self) -> Rc<Run> {
        Rc::clone(&self.instance.run.borrow())
    }

    fn log(&self) -> PathBuf {
        self.instance.log(&self.station)
    }

    fn mark(&self) -> Mark {
        Mark { instance: self.instance.id(), data: self.station.nonce().to_owned() }
    }
}
