//! What runs of an instance, be it a process or a container.

use std::time::Duration;

use rustix::process::Signal;

use crate::protocol::StopPolicy;

use super::container::Held;
use super::process::Leader;

/// Something that runs.
#[derive(Debug)]
pub(super) enum Life {
    /// A process of this machine, with its group.
    Process(Leader),
    /// A container of an engine.
    Container(Held),
}

impl Life {
    /// Id of the first process, when it is known on this machine.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(leader) => Some(leader.pid()),
            Self::Container(held) => held.pid(),
        }
    }

    /// When it started, milliseconds since boot.
    pub(super) fn started_boot_ms(&self) -> u64 {
        match self {
            Self::Process(leader) => leader.started_boot_ms(),
            Self::Container(held) => held.started_boot_ms(),
        }
    }

    /// Waits for its end by itself and says what is known of it.
    pub(super) async fn ended(&self) -> String {
        match self {
            Self::Process(leader) => leader.ended().await,
            Self::Container(held) => held.ended().await,
        }
    }

    /// Removes what is left of it: kills every process, frees its id or its container.
    pub(super) async fn clear(&self) -> Option<String> {
        match self {
            Self::Process(leader) => leader.clear().await,
            Self::Container(held) => held.clear().await,
        }
    }

    /// Signals, waits, kills, clears; says how it ended.
    pub(super) async fn stop(&self, policy: &StopPolicy) -> String {
        let grace = Duration::from_millis(policy.grace_ms);
        let left_in_time = tokio::time::timeout(grace, self.leave(&policy.signal)).await.is_ok();
        let end = self.clear().await;
        if left_in_time {
            return end.unwrap_or_else(|| "stopped".to_owned());
        }
        format!("killed: it still ran {} after signal {}", seconds(policy.grace_ms), policy.signal)
    }

    async fn leave(&self, signal: &str) {
        match self {
            Self::Process(leader) => {
                leader.signal(signal_named(signal).unwrap_or(Signal::TERM));
                leader.gone().await;
            }
            Self::Container(held) => {
                held.signal(signal).await;
                held.ended().await;
            }
        }
    }
}

/// The signals that a stop may use.
pub(super) fn signal_named(name: &str) -> Option<Signal> {
    match name {
        "TERM" => Some(Signal::TERM),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "HUP" => Some(Signal::HUP),
        _ => None,
    }
}

/// Milliseconds as a person writes them: `30 s`, `1.5 s`.
pub(super) fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{} s", ms / 1_000) } else { format!("{} s", ms as f64 / 1_000.0) }
}
