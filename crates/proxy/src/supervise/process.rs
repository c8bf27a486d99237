//! A running process of an instance: found, watched, signalled, ended; whoever's child it is.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::proc_table::{self, Process, Table};
use super::record::SavedLife;

/// Environment variable that names the instance.
pub(super) const MARK_INSTANCE: &str = "TIDEGATE_INSTANCE";
/// Environment variable that names the data directory.
pub(super) const MARK_DATA: &str = "TIDEGATE_DATA";
/// Pause between looks at a process where the kernel gives no handle to wait on, and at a group that is ending.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause between looks at a group that is ending.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Looks at a killed group before what is left of it (processes stuck in the kernel) is left alone.
const KILL_LOOKS_MAX: u32 = 50;

/// What an instance's processes carry in their environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// `{service}/{release}/{number}`.
    pub(super) instance: String,
    /// The data directory's random name.
    pub(super) data: String,
}

/// The first process of an instance, leader of its group.
#[derive(Debug)]
pub(super) struct Leader {
    pid: u32,
    start_ticks: u64,
    /// Absent where the kernel has no process handles that can be waited on.
    handle: Option<AsyncFd<OwnedFd>>,
    mark: Mark,
}

impl Leader {
    /// Takes hold of the process with this id and start time; `None` when it is gone (not when it has only ended).
    pub(super) fn attach(pid: u32, start_ticks: u64, mark: Mark) -> Option<Self> {
        let handle = handle(pid).and_then(watched).ok();
        // Checked after the handle is open: from here on the handle cannot mean another process.
        let same = proc_table::read(pid).is_some_and(|process| process.start_ticks == start_ticks);
        same.then_some(Self { pid, start_ticks, handle, mark })
    }

    /// Its process id.
    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// What must be on disk to find it again.
    pub(super) const fn saved(&self) -> SavedLife {
        SavedLife::Process { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// When it started, milliseconds since boot.
    pub(super) fn started_boot_ms(&self) -> u64 {
        proc_table::ticks_to_ms(self.start_ticks)
    }

    /// Waits for its end and says what is known of it. Does not reap it: until [`clear`](Self::clear) its id, which is
    /// its group's id too, cannot be given to another process.
    pub(super) async fn ended(&self) -> String {
        if let Some(handle) = &self.handle {
            // An error of the handle means that it can no longer be watched; the looks below can.
            drop(handle.readable().await);
        }
        while self.lives() {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        self.status(WaitIdOptions::NOWAIT).unwrap_or_else(|| "ended (status unknown)".to_owned())
    }

    /// Sends a signal to the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        if self.lives()
            && let Some(pid) = pid(self.pid)
        {
            // An error means that the group ended in this very moment.
            let _gone = kill_process_group(pid, signal);
        }
    }

    /// Waits until the whole group is gone, those that left it but carry the mark included.
    pub(super) async fn gone(&self) {
        self.ended().await;
        let mut pause = LOOK_PAUSE;
        while !self.left_over().is_empty() {
            tokio::time::sleep(pause).await;
            // A look reads every process's environment, so a group that takes long is looked at less often.
            pause = (pause * 2).min(LOOK_PAUSE_MAX);
        }
    }

    /// Kills what is left of the group, reaps the leader and says how it ended, when this process may know.
    pub(super) async fn clear(&self) -> Option<String> {
        for _ in 0..KILL_LOOKS_MAX {
            self.signal(Signal::KILL);
            let left = self.left_over();
            if left.is_empty() && !self.lives() {
                break;
            }
            for process in left {
                kill(process);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        self.status(WaitIdOptions::empty())
    }

    fn lives(&self) -> bool {
        proc_table::read(self.pid).is_some_and(|p| p.start_ticks == self.start_ticks && !p.ended)
    }

    /// The living others of the instance.
    fn left_over(&self) -> Vec<Process> {
        marked(&self.mark, self.pid, self.start_ticks)
            .into_iter()
            .filter(|process| process.pid != self.pid)
            .collect()
    }

    /// How it ended; `None` when that is told to another parent only.
    fn status(&self, options: WaitIdOptions) -> Option<String> {
        let id = match &self.handle {
            Some(handle) => WaitId::PidFd(std::os::fd::AsFd::as_fd(handle)),
            None => WaitId::Pid(pid(self.pid)?),
        };
        let status = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG | options).ok()??;
        let code = status.exit_status().map(|code| format!("exit code {code}"));
        code.or_else(|| status.terminating_signal().map(|signal| format!("killed by signal {signal}")))
    }
}

/// Living processes of an instance: those that carry the mark, and those of the group that the leader of this id and
/// start time led, unless they are known to belong elsewhere.
fn marked(mark: &Mark, leader: u32, start_ticks: u64) -> Vec<Process> {
    let table = Table::read().unwrap_or_default();
    let in_tree: BTreeSet<u32> = table.tree(leader).iter().map(|p| p.pid).collect();
    // With another process of that id the group is another one too; then only the mark counts.
    let same_leader = table.processes().all(|p| p.pid != leader || p.start_ticks == start_ticks);
    let ours = |process: &Process| {
        let carried = proc_table::variables(process.pid, MARK_INSTANCE, MARK_DATA);
        match carried {
            Some((instance, data)) => instance == mark.instance && data == mark.data,
            // A program may have overwritten its environment: the group tells.
            None => same_leader && in_tree.contains(&process.pid) && process.start_ticks >= start_ticks,
        }
    };
    table.processes().filter(|process| !process.ended && ours(process)).copied().collect()
}

/// Every living process of this data directory with the instance that it belongs to.
pub(super) fn of_data(data: &str) -> Vec<(Process, String)> {
    let table = Table::read().unwrap_or_default();
    let carried = |process: &Process| {
        let (instance, marked) = proc_table::variables(process.pid, MARK_INSTANCE, MARK_DATA)?;
        (marked == data && !process.ended).then_some((*process, instance))
    };
    table.processes().filter_map(carried).collect()
}

/// Kills exactly this process, not a later one with its id.
pub(super) fn kill(process: Process) {
    let Ok(handle) = handle(process.pid) else { return };
    if proc_table::read(process.pid).is_some_and(|p| p.start_ticks == process.start_ticks) {
        // An error means that it ended in this very moment.
        let _gone = pidfd_send_signal(&handle, Signal::KILL);
    }
}

fn handle(id: u32) -> io::Result<OwnedFd> {
    let pid = pid(id).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types whose descriptor may change; that of an `OwnedFd` never does"
)]
fn watched(handle: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(handle, Interest::READABLE)
}

fn pid(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}
