//! Processes as `/proc` tells them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};

use rustix::time::{ClockId, clock_gettime};

/// Longest environment that is searched for marks, bytes; a mark beyond it is not found.
const ENVIRON_BYTES_MAX: u64 = 1024 * 1024;

/// One process (not thread) at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Process id.
    pub(super) pid: u32,
    /// Its parent.
    pub(super) parent: u32,
    /// Its process group.
    pub(super) group: u32,
    /// When it started, clock ticks since boot; together with the id it names a process for ever.
    pub(super) start_ticks: u64,
    /// CPU time of it and of the children it waited for, clock ticks.
    pub(super) cpu_ticks: u64,
    /// Resident memory, pages.
    pub(super) rss_pages: u64,
    /// It has ended and only waits to be reaped.
    pub(super) ended: bool,
}

/// CPU and memory of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// CPU time, milliseconds.
    pub(super) cpu_ms: u64,
    /// Resident memory, bytes.
    pub(super) rss_bytes: u64,
}

/// Reads one process; `None` when it is gone.
pub(super) fn read(pid: u32) -> Option<Process> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(pid, &String::from_utf8_lossy(&bytes))
}

/// All processes at one moment, with what it takes to find an instance's among them: a listing asks for every instance.
#[derive(Debug, Default)]
pub(super) struct Table {
    processes: BTreeMap<u32, Process>,
    children: BTreeMap<u32, Vec<u32>>,
    groups: BTreeMap<u32, Vec<u32>>,
}

impl Table {
    /// Reads all processes; those that end meanwhile are left out.
    pub(super) fn read() -> io::Result<Self> {
        let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(names.filter_map(read).collect())
    }

    /// Every process.
    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// The leader, the members of its process group, and the descendants of all of them.
    pub(super) fn tree(&self, leader: u32) -> Vec<Process> {
        let mut found: BTreeMap<u32, Process> = BTreeMap::new();
        let mut open = vec![leader];
        open.extend(self.groups.get(&leader).into_iter().flatten());
        while let Some(pid) = open.pop() {
            if let Some(process) = self.processes.get(&pid)
                && found.insert(pid, *process).is_none()
            {
                open.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        found.into_values().collect()
    }
}

impl FromIterator<Process> for Table {
    fn from_iter<I: IntoIterator<Item = Process>>(processes: I) -> Self {
        let mut table = Self::default();
        for process in processes {
            table.children.entry(process.parent).or_default().push(process.pid);
            table.groups.entry(process.group).or_default().push(process.pid);
            table.processes.insert(process.pid, process);
        }
        table
    }
}

/// CPU and memory of these processes together.
pub(super) fn usage(members: &[Process]) -> Usage {
    let ticks: u64 = members.iter().map(|p| p.cpu_ticks).sum();
    let pages: u64 = members.iter().map(|p| p.rss_pages).sum();
    Usage { cpu_ms: ticks_to_ms(ticks), rss_bytes: pages.saturating_mul(rustix::param::page_size() as u64) }
}

/// The values of two variables in a process's environment at its start; `None` when unreadable or not there.
pub(super) fn variables(pid: u32, first: &str, second: &str) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ")).ok()?.take(ENVIRON_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let value = |name: &str| {
        bytes.split(|byte| *byte == 0).find_map(|line| {
            let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
    };
    Some((value(first)?, value(second)?))
}

/// Names this boot of the machine; process ids and times since boot mean nothing in another one.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A fresh random name.
pub(super) fn random_name() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

/// Milliseconds since boot, sleep included; the clock of [`Process::start_ticks`].
pub(super) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000)
        + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0)
}

/// Clock ticks as milliseconds.
pub(super) fn ticks_to_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1)
}

/// Memory of the machine, bytes; 0 when unknown.
pub(super) fn machine_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

/// Fields as in `proc_pid_stat(5)`. The name in parentheses may hold anything, so fields count from the last `)`.
fn parse_stat(pid: u32, text: &str) -> Option<Process> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Field numbers of the manual page; the state, number 3, is the first after the name.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let cpu_ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Process {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        group: u32::try_from(number(5)?).ok()?,
        start_ticks: number(22)?,
        cpu_ticks,
        rss_pages: number(24)?,
        ended: matches!(fields.first(), Some(&"Z" | &"X" | &"x")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text =
            "7 (a) b (c) S 1 5 5 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 999 1000 77 18446744073709551615";
        let process = parse_stat(7, text).unwrap();
        let expected = Process {
            pid: 7,
            parent: 1,
            group: 5,
            start_ticks: 999,
            cpu_ticks: 100,
            rss_pages: 77,
            ended: false,
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn a_tree_holds_the_group_and_the_descendants_that_left_it() {
        let process = |pid, parent, group| Process {
            pid,
            parent,
            group,
            start_ticks: 0,
            cpu_ticks: 1,
            rss_pages: 1,
            ended: false,
        };
        let table: Table = [process(10, 1, 10), process(11, 1, 10), process(12, 11, 12), process(13, 1, 13)]
            .into_iter()
            .collect();
        let pids = |leader| table.tree(leader).iter().map(|p| p.pid).collect::<Vec<_>>();
        assert_eq!((pids(10), pids(13), pids(14)), (vec![10, 11, 12], vec![13], vec![]));
    }

    #[test]
    fn this_process_is_in_its_own_table() {
        let me = std::process::id();
        assert!(Table::read().unwrap().processes().any(|p| p.pid == me && !p.ended && p.start_ticks > 0));
        assert!(ticks_to_ms(read(me).unwrap().start_ticks) <= boot_ms());
    }
}
