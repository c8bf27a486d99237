//! One program of the control plane: started so that it cannot outlive us, with its output in a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::{BedError, Component};

/// How much of a log's end an error quotes.
const QUOTED_BYTES_MAX: u64 = 2_000;

/// A running program. Dropping it kills it.
pub(crate) struct Process {
    component: Component,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with these arguments; what it writes is added to `log`.
    pub(crate) fn start(
        component: Component,
        program: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> Result<Self, BedError> {
        let output = File::options().create(true).append(true).open(&log).map_err(BedError::file(&log))?;
        let errors = output.try_clone().map_err(BedError::file(&log))?;
        let mut command = Command::new("setpriv");
        // The kernel kills it when the thread that started it ends: see `keeper`.
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.envs(component.environment().iter().copied());
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(command).map_err(|source| BedError::Start { component, source })?;
        Ok(Self { component, child, log })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), BedError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status.to_string())),
            Err(why) => Err(self.ended(format!("an unknown status ({why})"))),
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Both fail only for a process that is gone already.
        let _killed = self.child.kill();
        let _gone = self.child.wait();
    }

    /// The last lines of what it wrote.
    pub(crate) fn last_lines(&self) -> String {
        last_lines(&self.log).unwrap_or_else(|why| format!("(could not read {}: {why})", self.log.display()))
    }

    fn ended(&self, status: String) -> BedError {
        BedError::Ended { component: self.component, status, log: self.last_lines() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn last_lines(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(QUOTED_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(QUOTED_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole_lines = text.split_once('\n').filter(|_| length > QUOTED_BYTES_MAX);
    Ok(whole_lines.map_or(text.as_ref(), |(_, rest)| rest).to_owned())
}

struct Order {
    command: Command,
    answer: SyncSender<std::io::Result<Child>>,
}

fn spawn(command: Command) -> std::io::Result<Child> {
    let gone = || std::io::Error::other("the thread that starts programs is gone");
    let (answer, answered) = sync_channel(1);
    keeper().send(Order { command, answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// The one thread that starts programs, and lives as long as this process. The kernel's "parent is dead" means the
/// thread that forked: a program started by the thread of one test would be killed when that test ends.
fn keeper() -> &'static Sender<Order> {
    static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (sender, orders) = channel();
        std::thread::spawn(move || keep(&orders));
        sender
    })
}

fn keep(orders: &Receiver<Order>) {
    for Order { mut command, answer } in orders {
        // Nobody drops the other end before it has the answer.
        let _sent = answer.send(command.spawn());
    }
}
