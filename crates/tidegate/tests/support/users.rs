//! Users who come at a steady rate and count what fails for them.

use std::{
    io::Read as _,
    process::{Child, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{Project, process};

/// Users of a service. They leave when this is dropped.
pub(crate) struct Users {
    load: Child,
}

impl Users {
    pub(super) fn come(project: &Project, per_second: u32) -> Self {
        let url = format!("http://{}/", project.address());
        let rate = per_second.to_string();
        let load = project
            .command(&["load", "--json", "--connections", "4", "--timeout-ms", "8000", "--duration", "300"])
            .args(["--rate", &rate, "--url", &url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a load");
        Self { load }
    }

    /// They go, and say what they saw.
    pub(crate) fn leave(mut self) -> Value {
        process::send(self.load.id(), Signal::INT);
        let mut text = String::new();
        self.load.stdout.take().expect("a pipe").read_to_string(&mut text).expect("a report");
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        drop(self.load.kill());
        drop(self.load.wait());
    }
}
