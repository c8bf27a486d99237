//! A proxy process and its admin socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy with a data directory of its own.
pub(crate) struct Proxy {
    pub(crate) data: tempfile::TempDir,
    child: Option<Child>,
}

/// Starts the proxy program on a data directory.
pub(crate) fn spawn(data: &Path) -> Child {
    Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", "proxy_process", "--ignored", "--nocapture"])
        .env("PROXY_DATA", data)
        .env("PROXY_WORKERS", "2")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("proxy started")
}

/// Asks again until the answer is what is waited for.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let mut proxy = Self { data: tempfile::tempdir().expect("directory"), child: None };
        proxy.start_again();
        proxy
    }

    /// Starts a process on the same data directory.
    pub(crate) fn start_again(&mut self) {
        self.child = Some(spawn(self.data.path()));
        until("the proxy answers", || {
            self.try_call("GET", "/v1/status", "").filter(|(status, _)| *status == 200)
        });
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// `kill -9`; what it wrote to its standard error until then.
    pub(crate) fn last_words(&mut self) -> String {
        let mut child = self.child.take().expect("a process");
        child.kill().expect("killed");
        String::from_utf8_lossy(&child.wait_with_output().expect("ended").stderr).into_owned()
    }

    /// Waits for the process to end by itself; whether it succeeded.
    pub(crate) fn wait(&mut self) -> bool {
        let mut child = self.child.take().expect("a process");
        until("the process ends", || child.try_wait().expect("status")).success()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    fn try_call(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.data.path().join("admin.sock")).ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n"
        );
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        let body = answer.split_once("\r\n\r\n")?.1.to_owned();
        Some((status, body))
    }

    /// One admin request.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.try_call(method, path, body).expect("the admin socket answers")
    }

    /// One admin request whose answer is JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.call(method, path, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Applies a table, which must work.
    pub(crate) fn put(&self, table: &Value) {
        let path = format!("/v1/services/{}", table["service"].as_str().expect("service"));
        let (status, body) = self.ask("PUT", &path, table);
        assert_eq!(status, 200, "{body}");
    }

    /// The address on which service `shop` listens.
    pub(crate) fn address(&self) -> String {
        self.get("/v1/services/shop")["listening"][0].as_str().expect("address").to_owned()
    }

    /// Counters of a release of `shop`; null when there are none.
    pub(crate) fn counters(&self, release: &str) -> Value {
        let report = self.get("/v1/counters?service=shop");
        let releases = report["services"][0]["releases"].as_array().cloned().unwrap_or_default();
        releases.into_iter().find(|one| one["release"] == release).unwrap_or(Value::Null)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A table of service `shop` on a free port: releases as `(tag, weight, addresses)`, the first one stable.
pub(crate) fn table(generation: u64, releases: &[(&str, u16, &[&str])]) -> Value {
    let routes: Vec<Value> = releases
        .iter()
        .map(|(release, weight, fixed)| json!({"release": release, "weight": weight, "backend": {"fixed": fixed}}))
        .collect();
    json!({
        "service": "shop", "epoch": 1, "generation": generation,
        "listen": [{"address": "127.0.0.1:0"}],
        "releases": routes,
        "stable": releases.first().map(|first| first.0),
    })
}

/// A table with more in it.
pub(crate) fn with(mut table: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("an object") {
        table[key] = value.clone();
    }
    table
}
