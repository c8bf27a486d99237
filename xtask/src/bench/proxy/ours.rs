//! Our proxy, told what to do through its admin socket, as the control plane does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::bench::machine::{Server, pinned};
use crate::bench::product::ProxyCommand;
use crate::scratch::Scratch;

use super::bed::{Addresses, PROXY_CORE};

/// Longest wait for one answer of the admin socket.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The proxy with its three services: `plain`, `mirror` and `tls`.
pub(super) struct Ours {
    pub(super) server: Server,
    socket: PathBuf,
}

impl Ours {
    /// Starts it and applies the tables.
    pub(super) fn start(
        files: &Scratch,
        command: &ProxyCommand,
        addresses: &Addresses,
    ) -> anyhow::Result<Self> {
        let socket = files.file("data").join("admin.sock");
        let mut pinned = pinned(PROXY_CORE, &command.program);
        pinned.args(&command.arguments);
        let server = Server::start("our proxy", pinned, &files.file("proxy.log"), None)?;
        let mut ours = Self { server, socket };
        let socket = ours.socket.clone();
        ours.server.wait_until(|| ask(&socket, "GET", "/v1/status", "").is_ok())?;
        for table in tables(files, addresses) {
            let name = table.get("service").and_then(Value::as_str).unwrap_or_default().to_owned();
            ask(&ours.socket, "PUT", &format!("/v1/services/{name}"), &table.to_string())?;
        }
        let all = [addresses.ours, addresses.ours_mirror, addresses.ours_tls];
        ours.server.wait_until(|| all.iter().all(|address| TcpStream::connect(address).is_ok()))?;
        Ok(ours)
    }

    /// What it counted.
    pub(super) fn counters(&self) -> anyhow::Result<Value> {
        let text = ask(&self.socket, "GET", "/v1/counters", "")?;
        serde_json::from_str(&text).context("could not read the proxy's counters")
    }
}

/// The same 95/5 split three times, with stickiness on: a client without the cookie is drawn, and given it.
fn tables(files: &Scratch, addresses: &Addresses) -> [Value; 3] {
    let route = |release: &str, weight: u16, address: std::net::SocketAddr| json!({ "release": release, "weight": weight, "backend": { "fixed": [address.to_string()] } });
    let table = |service: &str, listen: Value, mirror: Value| {
        json!({
            "service": service,
            "epoch": 1,
            "generation": 1,
            "listen": [listen],
            "releases": [
                route("stable", 9_500, addresses.stable),
                route("canary", 500, addresses.canary),
                route("shadow", 0, addresses.shadow),
            ],
            "stable": "stable",
            "sticky": { "cookie": "tidegate" },
            "mirror": mirror,
        })
    };
    let tls = json!({
        "certificate": files.file("certificate.pem").display().to_string(),
        "key": files.file("key.pem").display().to_string(),
    });
    [
        table("plain", json!({ "address": addresses.ours.to_string() }), Value::Null),
        table(
            "mirror",
            json!({ "address": addresses.ours_mirror.to_string() }),
            json!({ "release": "shadow", "share": 1_000 }),
        ),
        table("tls", json!({ "address": addresses.ours_tls.to_string(), "tls": tls }), Value::Null),
    ]
}

/// One request to the admin socket; gives back the body of a 2xx answer.
fn ask(socket: &Path, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("could not connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    stream.write_all(format!("{head}Content-Type: application/json\r\n\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the proxy did not answer in HTTP")?;
    if !head.starts_with("HTTP/1.1 2") {
        bail!("the proxy refused {method} {path}: {body}");
    }
    // A chunked body of one chunk is between the first line and the last: JSON has no line breaks here.
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok(body.split("\r\n").skip(1).step_by(2).collect());
    }
    Ok(body.to_owned())
}
