//! What only a journal on disk can do wrong: owners, files, damage, lost power, full disks.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports"
)]

mod damage;
mod disk;
mod ownership;
mod power;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tidegate_engine::journal::conformance::{after, event, first_append};
use tidegate_engine::journal::{Append, Epoch, Journal as _, SqliteJournal, Standing};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The first append of a running deployment whose payload is easy to find in a file.
fn running(deployment: &str, epoch: Epoch) -> Append {
    let mut append = first_append(deployment, epoch);
    append.row.standing = Standing::Running;
    append.events = vec![event("started", &format!("payload of {deployment}, event 1"))];
    append
}

/// Makes a deployment with so many events, one append each.
fn grow(journal: &SqliteJournal, deployment: &str, events: u64) -> Append {
    let mut append = running(deployment, journal.epoch());
    block_on(async {
        for number in 1..=events {
            append.events = vec![event("step", &format!("payload of {deployment}, event {number}"))];
            append.expected_seq = number - 1;
            journal.append(append.clone()).await.unwrap();
        }
    });
    after(&append)
}

/// A directory in memory where the system has one, for loops that open hundreds of journals and do not ask about the disk.
fn quick_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The variable that tells a test started by another one where to work.
const DIRECTORY: &str = "TIDEGATE_TEST_DIRECTORY";

/// Where to work, for a test that is a child of another one; `None` when it was started by itself, and has nothing to do.
fn given_directory() -> Option<std::path::PathBuf> {
    std::env::var_os(DIRECTORY).map(Into::into)
}

/// The command that runs one ignored test of this binary as a process of its own, behind a prefix such as `unshare`.
fn child(prefix: &[&str], test: &str, directory: &Path) -> Command {
    let own = std::env::current_exe().unwrap();
    let mut command = match prefix {
        [] => Command::new(own),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(own);
            command
        }
    };
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(DIRECTORY, directory);
    command
}

/// Starts a child with a pipe to read its lines from; its standard input stays open until the child is dropped.
fn start(mut command: Command) -> (Child, std::io::Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}
