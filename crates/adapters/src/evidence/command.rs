//! A command that prints a number, or JSON.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tidegate_core::model::{Millis, Timestamp};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{
    answer::{Answer, Data, Sample, json_value, kind_of},
    fault::{Fault, FaultKind, words},
    json_path::JsonPath,
    secret::Secret,
    web::json,
};

/// Most bytes of each output that are read.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// A program with its arguments; there is no shell in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program: a path, or a name that is searched for in `PATH`.
    pub program: PathBuf,
    /// Its arguments, each handed over as it is.
    pub arguments: Vec<String>,
    /// Its environment: this and nothing else, besides `PATH`.
    pub environment: BTreeMap<String, Secret>,
    /// Variables of this process that it is given too.
    pub inherit: Vec<String>,
    /// Where it runs; here when not given.
    pub directory: Option<PathBuf>,
    /// Time for it; then it is killed with everything it started in its process group.
    pub within: Duration,
    /// Where in its output the value lies.
    pub path: JsonPath,
}

/// What a run left behind.
struct Ended {
    status: std::process::ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Command {
    /// How messages name it.
    pub fn name(&self) -> String {
        format!("the command {}", self.program.display())
    }

    /// Runs it, and gives the value at the path of what it printed. It is dated `at`, the moment of asking.
    pub async fn read(&self, at: Timestamp) -> Result<Answer, Fault> {
        let query = self.arguments.join(" ");
        let value = self.value().await.map_err(|kind| Fault::new(&self.name(), &query, kind))?;
        Ok(Answer::plain(Data::Json(value, at)))
    }

    /// As [`Self::read`], where the value must be a number.
    pub async fn one(&self, at: Timestamp) -> Result<Sample, Fault> {
        let answer = self.read(at).await?;
        answer.single().map_err(|kind| Fault::new(&self.name(), &self.arguments.join(" "), kind))
    }

    async fn value(&self) -> Result<serde_json::Value, FaultKind> {
        let ended = self.run().await?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.errors);
            let last = said.trim_end().lines().last().unwrap_or("it said nothing");
            return Err(FaultKind::Ended { status: ended.status.to_string(), said: words(last) });
        }
        if ended.output.trim_ascii().is_empty() {
            return Err(FaultKind::NoData);
        }
        let whole =
            json(ended.output.trim_ascii()).map_err(|kind| unquoted(&ended.output).unwrap_or(kind))?;
        match self.path.find(&whole) {
            None => Err(FaultKind::WrongShape(format!("{} with nothing at {}", kind_of(&whole), self.path))),
            Some(value) => json_value(value),
        }
    }

    async fn run(&self) -> Result<Ended, FaultKind> {
        let mut child =
            self.command().spawn().map_err(|why| FaultKind::NotStarted(words(&why.to_string())))?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (output, errors, status) = tokio::join!(bounded(stdout), bounded(stderr), child.wait());
            Ok((output?, errors?, status.map_err(|why| FaultKind::NotStarted(words(&why.to_string())))?))
        };
        let within = Millis(u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX));
        let ended = tokio::select! {
            biased;
            ended = all => ended,
            () = tokio::time::sleep(self.within) => Err(FaultKind::TimedOut(within)),
        };
        // What it left running in its group ends with it, on success too; and nobody's pipe is waited for.
        drop(group);
        let (output, errors, status) = ended?;
        if output.len() > OUTPUT_BYTES_MAX {
            return Err(FaultKind::TooLarge { bytes_max: OUTPUT_BYTES_MAX });
        }
        Ok(Ended { status, output, errors })
    }

    fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        let own = |name: &String| std::env::var_os(name).map(|value| (name.clone(), value));
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", path)
            .envs(self.inherit.iter().filter_map(own))
            .envs(self.environment.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// Kills its process group when dropped, also when the waiting itself is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only when the group is gone already.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

/// One byte more than the bound at most. What comes after is read and dropped, so that the program is not held up by a full
/// pipe before its time is over.
async fn bounded(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, FaultKind> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return Ok(kept) };
    let limit = u64::try_from(OUTPUT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let cut = |why: std::io::Error| FaultKind::Truncated(words(&why.to_string()));
    (&mut pipe).take(limit).read_to_end(&mut kept).await.map_err(cut)?;
    if kept.len() <= OUTPUT_BYTES_MAX {
        return Ok(kept);
    }
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await.map_err(cut)?;
    Ok(kept)
}

/// The fault of a number that JSON does not have, or of plain text.
fn unquoted(output: &[u8]) -> Option<FaultKind> {
    let text = std::str::from_utf8(output).ok()?.trim();
    let what = "the output".to_owned();
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Some(FaultKind::NotANumber(what)),
        Ok(value) if value.is_infinite() => Some(FaultKind::Infinite(what)),
        Ok(_) => None,
        Err(_) if text.starts_with(['{', '[', '"', '<']) => None,
        Err(_) => Some(FaultKind::NotNumeric { what, text: words(text) }),
    }
}
