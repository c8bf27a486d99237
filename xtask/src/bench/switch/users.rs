//! Users of one service: the product's own load generator, in a process of its own.

use std::io::Read;
use std::process::{Child, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::house::House;

/// Users who come until they are told to leave.
pub(super) struct Users(Child);

impl Users {
    pub(super) fn come(house: &House, port: u16, per_second: u32) -> anyhow::Result<Self> {
        let url = format!("http://127.0.0.1:{port}/");
        let rate = per_second.to_string();
        let line = ["load", "--json", "--duration", "3600", "--connections", "16", "--timeout-ms", "10000"];
        let mut command = house.command(&[&line[..], &["--rate", &rate, "--url", &url]].concat());
        Ok(Self(command.stdout(Stdio::piped()).spawn().context("could not start the load")?))
    }

    /// They leave, and report.
    pub(super) fn leave(mut self) -> anyhow::Result<Value> {
        let pid =
            i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).context("the load has no process")?;
        rustix::process::kill_process(pid, Signal::INT).context("could not end the load")?;
        let mut text = String::new();
        self.0.stdout.take().context("the load has no output")?.read_to_string(&mut text)?;
        self.0.wait()?;
        serde_json::from_str(&text).with_context(|| format!("could not read the load's report: {text}"))
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // Gone already, as a rule.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
