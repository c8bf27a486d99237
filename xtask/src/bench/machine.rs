//! Servers pinned to a core, and what the kernel says they cost.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::step;

/// Longest wait for a server to accept connections.
const START_MAX: Duration = Duration::from_secs(10);
/// Time between two questions whether it does.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// Length of a tick in `/proc/stat`: `USER_HZ` is 100 on every architecture that Debian is built for.
const TICK: Duration = Duration::from_millis(10);

/// A core of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Core(pub(super) usize);

/// A program that runs on one core only, and that the kernel kills when this process ends, however it ends. (The kernel
/// watches the thread that started it, so servers must be started from the main thread.)
pub(super) fn pinned(core: Core, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.0.to_string(), "setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// A server that runs until this is dropped.
pub(super) struct Server {
    name: &'static str,
    child: Child,
}

impl Server {
    /// Starts it, with its output in a log, and waits until it accepts connections at `address` if one is given.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        log: &Path,
        address: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let output =
            std::fs::File::create(log).with_context(|| format!("could not create {}", log.display()))?;
        let child = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        let mut server = Self { name, child };
        server
            .wait_until(|| address.is_none_or(|address| TcpStream::connect(address).is_ok()))
            .with_context(|| {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                format!("{name} does not come up; it said:\n{said}")
            })?;
        Ok(server)
    }

    /// Waits until something is so, as long as a server may take to start.
    pub(super) fn wait_until(&mut self, mut so: impl FnMut() -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !so() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}", self.name);
            }
            if started.elapsed() > START_MAX {
                bail!("{} is not ready after {} s", self.name, START_MAX.as_secs());
            }
            std::thread::sleep(ASK_INTERVAL);
        }
        Ok(())
    }

    /// CPU time of all its threads since it started, as the scheduler counted it.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut total = Duration::ZERO;
        for task in std::fs::read_dir(&tasks).with_context(|| format!("{} is gone", self.name))? {
            // A thread that ended between the listing and the reading takes its time with it.
            let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
            total += Duration::from_nanos(nanoseconds.context("the kernel keeps no schedstat")?);
        }
        Ok(total)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("could not stop {} (process {}): {error}", self.name, self.child.id());
        }
    }
}

/// Time in which the machine's cores had nothing to do, since it started. What they did is told too, but as a guess from
/// what was seen at each tick, which short work escapes.
pub(super) fn idle() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("could not read /proc/stat")?;
    idle_in(&text).context("could not understand /proc/stat")
}

/// idle + iowait of the first line.
fn idle_in(text: &str) -> Option<Duration> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let mut ticks = line.split_whitespace().skip(3).map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.next()??.checked_add(ticks.next()??)?)
}

/// CPU time of this process and of the children that it waited for.
pub(super) fn own() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").context("could not read /proc/self/stat")?;
    own_in(&text).context("could not understand /proc/self/stat")
}

/// utime + stime + cutime + cstime: fields 14 to 17, counted from behind the program's name, which may hold anything.
fn own_in(text: &str) -> Option<Duration> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

/// Free loopback addresses, all different. Free when asked: a server that starts much later may find one taken.
pub(super) fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let listeners = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    addresses.try_into().ok().context("the system gave fewer addresses than asked for")
}

/// The path of a program that must be there.
pub(super) fn installed(name: &str) -> anyhow::Result<std::path::PathBuf> {
    step::find(name).with_context(|| format!("there is no `{name}`: run `cargo xtask setup`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spent_waiting_for_a_disk_is_idle_too() {
        let text = "cpu  10 1 5 9999 77 2 3 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n";
        assert_eq!(idle_in(text), Some(Duration::from_millis(100_760)));
        assert_eq!(idle_in("nonsense"), None);
    }

    #[test]
    fn own_time_is_read_behind_a_name_with_spaces_and_brackets() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 5 6 7 8 20 0 1 0 100 0 0";
        assert_eq!(own_in(text), Some(Duration::from_millis(260)));
        assert_eq!(own_in("7 (a"), None);
    }
}
