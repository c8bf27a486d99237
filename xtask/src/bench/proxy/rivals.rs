//! nginx and HAProxy from the distribution, set up for the same job, and the backend behind all of them.

use std::path::Path;

use anyhow::Context;

use crate::bench::machine::{Core, Server, installed, pinned};
use crate::scratch::Scratch;

use super::bed::{Addresses, OTHER_CORE, PROXY_CORE};

/// Length of the usual answer, bytes.
const BODY: usize = 1_000;
/// Length of the large answer, bytes.
const BODY_BIG: usize = 100_000;

/// nginx, one worker, that answers at three addresses, as three releases.
pub(super) fn backend(files: &Scratch, addresses: &Addresses) -> anyhow::Result<Server> {
    let web = files.file("web");
    std::fs::create_dir_all(&web)?;
    std::fs::write(web.join("big"), "b".repeat(BODY_BIG))?;
    let releases = [("stable", addresses.stable), ("canary", addresses.canary), ("shadow", addresses.shadow)];
    let servers = releases.map(|(name, address)| {
        format!(
            "server {{ listen {address}; add_header X-Release {name}; root {web};
               location = / {{ default_type text/plain; return 200 \"{body}\"; }} }}\n",
            web = web.display(),
            body = "x".repeat(BODY)
        )
    });
    let http = format!(
        "sendfile on; open_file_cache max=10 inactive=1h; open_file_cache_valid 1h;\n{}",
        servers.concat()
    );
    start_nginx("backend", files, OTHER_CORE, &http, addresses.shadow)
}

/// nginx as a proxy: plain, with mirroring of a tenth, and with TLS.
pub(super) fn nginx(files: &Scratch, addresses: &Addresses) -> anyhow::Result<Server> {
    let upstream = |name, address| {
        format!("upstream {name} {{ server {address}; keepalive 256; keepalive_requests 1000000000; }}\n")
    };
    let forward = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;";
    let http = [
        upstream("stable", addresses.stable),
        upstream("canary", addresses.canary),
        upstream("shadow", addresses.shadow),
        "split_clients \"$request_id\" $release { 5% canary; * stable; }\n".to_owned(),
        "split_clients \"${request_id}m\" $copied { 10% yes; * \"\"; }\n".to_owned(),
        forward.to_owned(),
        format!("server {{ listen {}; location / {{ proxy_pass http://$release; }} }}\n", addresses.nginx),
        format!(
            "server {{ listen {}; location / {{ mirror /copy; proxy_pass http://$release; }}
               location = /copy {{ internal; if ($copied = \"\") {{ return 204; }} proxy_pass http://shadow$request_uri; }} }}\n",
            addresses.nginx_mirror
        ),
        format!(
            "server {{ listen {} ssl; ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};
               location / {{ proxy_pass http://$release; }} }}\n",
            addresses.nginx_tls,
            files.file("certificate.pem").display(),
            files.file("key.pem").display()
        ),
    ];
    start_nginx("nginx", files, PROXY_CORE, &http.concat(), addresses.nginx_tls)
}

/// `HAProxy`, one thread.
pub(super) fn haproxy(files: &Scratch, addresses: &Addresses) -> anyhow::Result<Server> {
    let config = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend users
  bind {users}
  http-request set-header X-Forwarded-Proto http
  default_backend releases
backend releases
  balance roundrobin
  server stable {stable} weight 95
  server canary {canary} weight 5
",
        users = addresses.haproxy,
        stable = addresses.stable,
        canary = addresses.canary
    );
    let file = files.file("haproxy.cfg");
    std::fs::write(&file, config).with_context(|| format!("could not write {}", file.display()))?;
    let mut command = pinned(PROXY_CORE, &installed("haproxy")?);
    command.arg("-db").arg("-f").arg(file);
    Server::start("haproxy", command, &files.file("haproxy.log"), Some(addresses.haproxy))
}

/// nginx with one worker, which is the process itself, and all its files in a folder of its own.
fn start_nginx(
    name: &'static str,
    files: &Scratch,
    core: Core,
    http: &str,
    ready: std::net::SocketAddr,
) -> anyhow::Result<Server> {
    let folder = files.file(name);
    std::fs::create_dir_all(&folder)?;
    let at = |name: &str| folder.join(name).display().to_string();
    let bodies: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", at(kind)))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {pid}; error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;
{bodies}{http}}}\n",
        pid = at("pid"),
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).with_context(|| format!("could not write {}", file.display()))?;
    let mut command = pinned(core, &installed("nginx")?);
    command.arg("-p").arg(&folder).arg("-e").arg("stderr").arg("-c").arg(&file);
    Server::start(name, command, &log(&folder), Some(ready))
}

fn log(folder: &Path) -> std::path::PathBuf {
    folder.join("log")
}
