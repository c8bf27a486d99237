//! What the supervisor keeps on disk, and the lock that makes it the only one to do so.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::protocol::Run;

use super::SupervisorError;
use super::back_off::Ends;
use super::proc_table;

/// Version of the state file.
const VERSION: u32 = 1;
/// How long a process that is just ending may still hold the lock.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// Pause between attempts to lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The state file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    /// Version of the format.
    pub(super) version: u32,
    /// Random name of this data directory: marks its instances, so that two directories never adopt each other's.
    pub(super) nonce: String,
    /// The machine's boot in which the process ids below mean something.
    pub(super) boot_id: String,
    /// Highest epoch seen per service; outlives the service's runs.
    pub(super) epochs: BTreeMap<String, u64>,
    /// The runs.
    pub(super) runs: Vec<SavedRun>,
}

/// One release's wanted state and its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedRun {
    /// The service.
    pub(super) service: String,
    /// The release.
    pub(super) release: String,
    /// What is wanted.
    pub(super) run: Run,
    /// It is forgotten once its instances are gone.
    pub(super) removing: bool,
    /// Its instances, by number.
    pub(super) instances: BTreeMap<u32, Record>,
}

/// What must be known of an instance to find it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its loopback port, once chosen.
    pub(super) port: Option<u16>,
    /// What runs, when something does.
    pub(super) life: SavedLife,
    /// Length of its log when that started, bytes.
    pub(super) log_from: u64,
    /// Whether what runs was ever ready.
    pub(super) was_ready: bool,
    /// Since when it has been ready, milliseconds since the Unix epoch; `None` when it is not.
    pub(super) ready_since_unix_ms: Option<i64>,
    /// Its ends by itself.
    pub(super) ends: Ends,
    /// All of them.
    #[serde(default)]
    pub(super) ends_total: u32,
    /// Why it ended last.
    pub(super) last_end: Option<String>,
    /// What it wrote last before it ended.
    pub(super) last_output: Option<String>,
}

/// What runs of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SavedLife {
    /// Nothing.
    #[default]
    None,
    /// It is being started: something may run that is known only by its marks.
    Intended,
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// When it started, clock ticks since boot.
        start_ticks: u64,
    },
    /// A container.
    Container {
        /// Its id.
        id: String,
    },
}

/// The state file, locked for as long as this lives.
#[derive(Debug)]
pub(super) struct StateFile {
    dir: PathBuf,
    _lock: File,
}

impl StateFile {
    /// Locks the directory and reads its state; a fresh directory gets a name and an empty state.
    pub(super) fn open(dir: &Path) -> Result<(Self, Saved), SupervisorError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| SupervisorError::Io { what, path, source }
        };
        super::log::create_folder(dir).map_err(failed("create", dir))?;
        let lock = lock(dir)?;
        let file = Self { dir: dir.to_owned(), _lock: lock };
        let path = file.path();
        let mut saved = match fs::read(&path) {
            Ok(bytes) => parse(&path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fresh().map_err(failed("name the state of", dir))?
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        forget_other_boots(&mut saved).map_err(failed("tell the boot for", dir))?;
        file.save(&saved).map_err(failed("write", &path))?;
        Ok((file, saved))
    }

    /// Replaces the state on disk: after a crash at any point the file holds the old or the new state, whole.
    pub(super) fn save(&self, saved: &Saved) -> io::Result<()> {
        let temporary = self.dir.join("supervisor.json.new");
        let bytes = serde_json::to_vec(saved)?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path())?;
        File::open(&self.dir)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.dir.join("supervisor.json")
    }
}

fn lock(dir: &Path) -> Result<File, SupervisorError> {
    let path = dir.join("supervisor.lock");
    let failed = |source| SupervisorError::Io { what: "lock", path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SupervisorError::InUse(dir.to_owned())),
            Err(error) => return Err(failed(error.into())),
        }
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Saved, SupervisorError> {
    let failed = |reason| SupervisorError::State { path: path.to_owned(), reason };
    // The version first: another version's content would only give a confusing reason.
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| failed(e.to_string()))?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        Some(version) => {
            return Err(failed(format!("its version is {version}, this program writes {VERSION}")));
        }
        None => return Err(failed("it has no version".to_owned())),
    }
    serde_json::from_value(value).map_err(|e| failed(e.to_string()))
}

fn fresh() -> io::Result<Saved> {
    Ok(Saved {
        version: VERSION,
        nonce: proc_table::random_name()?,
        boot_id: proc_table::boot_id()?,
        epochs: BTreeMap::new(),
        runs: Vec::new(),
    })
}

/// After a reboot no process of before runs, though one with the same id and start time may; containers may run.
fn forget_other_boots(saved: &mut Saved) -> io::Result<()> {
    let boot_id = proc_table::boot_id()?;
    if saved.boot_id == boot_id {
        return Ok(());
    }
    saved.boot_id = boot_id;
    for record in saved.runs.iter_mut().flat_map(|run| run.instances.values_mut()) {
        record.ends = Ends::default();
        if matches!(record.life, SavedLife::Process { .. }) {
            record.life = SavedLife::None;
            record.last_end = Some("the machine was restarted".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_supervisor_and_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (held, saved) = StateFile::open(folder.path()).unwrap();
        assert!(matches!(StateFile::open(folder.path()), Err(SupervisorError::InUse(_))));
        drop(held);
        assert_eq!(StateFile::open(folder.path()).unwrap().1, saved);
    }

    #[test]
    fn a_state_of_another_version_or_a_damaged_one_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supervisor.json");
        for (text, reason) in
            [("{\"version\":9}", "its version is 9"), ("{\"ver", "EOF"), ("[]", "no version")]
        {
            fs::write(&path, text).unwrap();
            let error = StateFile::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn process_ids_of_another_boot_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (_held, mut saved) = StateFile::open(folder.path()).unwrap();
        saved.boot_id = "another".to_owned();
        let life = SavedLife::Process { pid: std::process::id(), start_ticks: 1 };
        let record = Record { life, ..Record::default() };
        let run = serde_json::json!({"epoch": 1, "generation": 1, "instances": 1,
            "kind": {"command": {"argv": ["a"], "directory": "/"}},
            "ready": {"probe": "tcp", "interval_ms": 1, "timeout_ms": 1, "successes": 1, "min_healthy_ms": 0, "deadline_ms": 1}});
        saved.runs.push(SavedRun {
            service: "web".to_owned(),
            release: "r1".to_owned(),
            run: serde_json::from_value(run).unwrap(),
            removing: false,
            instances: BTreeMap::from([(1, record)]),
        });
        forget_other_boots(&mut saved).unwrap();
        assert_eq!(saved.runs[0].instances[&1].life, SavedLife::None);
    }
}
