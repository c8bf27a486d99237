//! Builds a copy of the code that has every defect in it, each behind a switch, and sees which of them the short programme
//! finds. One build serves all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use crate::mutants::{ALL, Mutant};

/// A defect that keeps the programme from ending within this is found: without it, the programme takes seconds.
const RUN_MAX: Duration = Duration::from_mins(1);

/// Defects that are tried at once.
const LANES: usize = 2;

/// Rooms that are copied.
const ROOMS: [&str; 4] = ["statistics", "core", "engine", "sim"];

/// The switch, as it stands in the copy of the core.
const SWITCH: &str = r#"//! Which defect is on: the number in `TIDEGATE_MUTANT`.
extern crate std;

/// Whether this defect is on.
pub fn on(number: u32) -> bool {
    static CHOSEN: self::std::sync::OnceLock<Option<u32>> = self::std::sync::OnceLock::new();
    let read = || self::std::env::var("TIDEGATE_MUTANT").ok()?.parse().ok();
    *CHOSEN.get_or_init(read) == Some(number)
}
"#;

/// What became of the defects.
pub(crate) struct Found {
    /// How many were tried.
    pub(crate) tried: usize,
    /// Those that no law found.
    pub(crate) missed: Vec<&'static str>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A copy that was built.
pub(crate) struct Lab {
    smoke: PathBuf,
}

impl Lab {
    /// Builds the copy. Takes a core for as long as that lasts, and none when nothing changed since the last time.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let target = target()?;
        let copy = target.join("mutants");
        copy_code(&copy)?;
        build(&copy, &target)?;
        Ok(Self { smoke: target.join("release/examples/smoke") })
    }

    /// Checks that the copy is well without a defect, and tries the defects whose numbers `wanted` picks, two at a time:
    /// each keeps one core busy.
    pub(crate) fn search(&self, wanted: impl Fn(usize) -> bool) -> anyhow::Result<Found> {
        let chosen = ALL.iter().enumerate().filter(|(number, _)| wanted(*number));
        let trials: Vec<Option<(usize, &Mutant)>> = [None].into_iter().chain(chosen.map(Some)).collect();
        let next = AtomicUsize::new(0);
        let lane = || -> anyhow::Result<Vec<&'static str>> {
            let mut missed = Vec::new();
            while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
                missed.extend(self.try_one(*trial)?);
            }
            Ok(missed)
        };
        let missed = thread::scope(|scope| {
            let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
            let ended = lanes
                .into_iter()
                .map(|lane| lane.join().map_err(|_| anyhow::anyhow!("the search for defects broke down"))?);
            ended.collect::<anyhow::Result<Vec<_>>>()
        })?;
        Ok(Found { tried: trials.len() - 1, missed: missed.concat() })
    }

    /// Tries one defect, or none at all: then nothing may be found. Answers with a defect that was missed.
    fn try_one(&self, trial: Option<(usize, &Mutant)>) -> anyhow::Result<Option<&'static str>> {
        let started = Instant::now();
        let seen = finds(&self.smoke, trial.map(|(number, _)| number))?;
        let Some((_, mutant)) = trial else {
            ensure!(!seen, "the short programme fails without any defect: look at that first");
            return Ok(None);
        };
        let word = if seen { "found" } else { "MISSED" };
        println!("{word:6} {:5.1} s  {}", started.elapsed().as_secs_f64(), mutant.defect);
        Ok((!seen).then_some(mutant.defect))
    }
}

/// The directory this program was built in.
fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let target = own.ancestors().nth(3).context("this program does not lie in a target directory")?;
    Ok(target.to_owned())
}

fn copy_code(copy: &Path) -> anyhow::Result<()> {
    for room in ROOMS {
        copy_tree(&root().join("crates").join(room), &copy.join("crates").join(room))?;
    }
    let manifest = read(&root().join("Cargo.toml"))?;
    let members = manifest
        .lines()
        .filter(|line| !line.starts_with("default-members"))
        .map(|line| if line.starts_with("members") { "members = [\"crates/*\"]" } else { line });
    write(&copy.join("Cargo.toml"), &members.collect::<Vec<_>>().join("\n"))?;
    write(&copy.join("Cargo.lock"), &read(&root().join("Cargo.lock"))?)?;
    write(&copy.join("crates/core/src/mutant.rs"), SWITCH)
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let (source, goal) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            copy_tree(&source, &goal)?;
        } else {
            let relative = source.strip_prefix(root()).unwrap_or(&source);
            write(&goal, &with_defects(&relative.to_string_lossy(), read(&source)?)?)?;
        }
    }
    Ok(())
}

/// A file's text with every defect that belongs into it, each behind its switch.
fn with_defects(file: &str, text: String) -> anyhow::Result<String> {
    let krate = if file.starts_with("crates/core/") { "crate" } else { "tidegate_core" };
    let text = if file == "crates/core/src/lib.rs" { format!("{text}\npub mod mutant;\n") } else { text };
    let mut here = ALL.iter().enumerate().filter(|(_, mutant)| mutant.file == file);
    here.try_fold(text, |text, (number, mutant)| {
        applies(mutant, &text)?;
        let switch = format!("{krate}::mutant::on({number})");
        Ok(text.replacen(mutant.text, &mutant.instead.replace("@ON@", &switch), 1))
    })
}

fn applies(mutant: &Mutant, text: &str) -> anyhow::Result<()> {
    let times = text.matches(mutant.text).count();
    ensure!(
        times == 1,
        "the text of the defect `{}` is found {times} times in {}, not once: bring the list up to date",
        mutant.defect,
        mutant.file
    );
    Ok(())
}

/// Checks that every defect's text is in its file exactly once.
pub(crate) fn all_apply() -> anyhow::Result<()> {
    ALL.iter().try_for_each(|mutant| applies(mutant, &read(&root().join(mutant.file))?))
}

fn build(copy: &Path, target: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Half the optimising is less than half the building, and costs the short programme a tenth of its speed.
    let quick = ROOMS.map(|room| format!("--config=profile.release.package.tidegate-{room}.opt-level=1"));
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--offline", "-p", "tidegate-sim", "--example", "smoke"])
        .args(quick)
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("RUSTFLAGS", "-Awarnings")
        .status()
        .context("cannot run cargo")?;
    ensure!(built.success(), "the copy with the defects does not compile: {}", copy.display());
    Ok(())
}

/// Whether the short programme finds something wrong.
fn finds(smoke: &Path, number: Option<usize>) -> anyhow::Result<bool> {
    let mut command = Command::new(smoke);
    command.env_remove("TIDEGATE_MUTANT").stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(number) = number {
        command.env("TIDEGATE_MUTANT", number.to_string());
    }
    let mut child = command.spawn().with_context(|| format!("cannot run {}", smoke.display()))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the short programme")? {
            return Ok(!status.success());
        }
        if started.elapsed() > RUN_MAX {
            child.kill().context("cannot stop the short programme")?;
            child.wait().context("cannot wait for the short programme")?;
            if number.is_none() {
                bail!("the short programme takes longer than {} s without any defect", RUN_MAX.as_secs());
            }
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file only when it differs, so that an unchanged copy need not be built again.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
