//! A command that ran to its end, and what is expected of it.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// No command of the tests takes longer.
const LONGEST: Duration = Duration::from_mins(1);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    line: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    code: Option<i32>,
}

impl Ran {
    /// Runs it with nothing on its standard input.
    pub(super) fn of(mut command: Command) -> Self {
        let line = format!("{command:?}");
        let file = || tempfile::tempfile().expect("a temporary file");
        let (stdout, stderr) = (file(), file());
        let copy = |file: &File| file.try_clone().expect("a second handle");
        // Files, not pipes: an engine that the command leaves behind must not keep the test waiting.
        let mut child = command
            .stdin(Stdio::null())
            .stdout(copy(&stdout))
            .stderr(copy(&stderr))
            .spawn()
            .unwrap_or_else(|why| panic!("{line}: {why}"));
        let late = Instant::now() + LONGEST;
        let code = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status.code();
            }
            if Instant::now() > late {
                drop(child.kill());
                drop(child.wait());
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        Self { line, stdout: text(stdout), stderr: text(stderr), code }
    }

    /// It must have ended with this exit code.
    pub(crate) fn code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Its standard output must contain this.
    pub(crate) fn says(&self, words: &str) -> &Self {
        assert!(self.stdout.contains(words), "`{words}` is not in the output of {self}");
        self
    }

    /// Its standard error must contain this.
    pub(crate) fn complains(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "`{words}` is not in the complaint of {self}");
        self
    }

    /// Its standard output as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why}: {self}"))
    }

    /// Its standard output as any number of JSON documents, one after the other.
    pub(crate) fn documents(&self) -> Vec<Value> {
        let stream = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
        stream.map(|document| document.unwrap_or_else(|why| panic!("{why}: {self}"))).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, stdout, stderr, code } = self;
        write!(f, "{line}\nexit code: {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

fn text(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().expect("a file that can be read again");
    file.read_to_end(&mut bytes).expect("what was written");
    String::from_utf8_lossy(&bytes).into_owned()
}
