//! What the story plays on: a project of its own in a temporary directory, with its own engine and proxy, all on free
//! loopback ports, and gone afterwards.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tidegate_adapters::local::Node;
use tokio::process::Command;

use crate::{client::Client, fault::Fault, place::Place};

/// Longest wait for one deployment of the story; a healthy one takes fifteen seconds.
const DEPLOY_MAX: Duration = Duration::from_mins(1);

/// A project that can be deployed, and everything that runs for it.
pub(super) struct Stage {
    directory: PathBuf,
    program: PathBuf,
    address: SocketAddr,
}

/// A version of the sample service: its name, and the fault it was made with.
#[derive(Clone, Copy)]
pub(super) struct Version {
    pub(super) name: &'static str,
    pub(super) fault: &'static [&'static str],
}

impl Stage {
    pub(super) fn set() -> Result<Self, Fault> {
        let directory = std::env::temp_dir().join(format!("tidegate-demo-{}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(Fault::world)?;
        let program = std::env::current_exe().map_err(Fault::world)?;
        // Bound once to learn a free port; the proxy binds it a moment later.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(Fault::world)?;
        Ok(Self { directory, program, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn file(&self) -> PathBuf {
        self.directory.join("tidegate.yaml")
    }

    pub(super) fn client(&self) -> Result<Client, Fault> {
        Ok(Client::new(Place::choose(None, Some(&self.directory))?))
    }

    fn node(&self) -> Node {
        Node::new(&self.directory.join(".tidegate"), self.program.clone())
    }

    /// Writes the project as this version has it.
    pub(super) fn write(&self, version: Version) -> Result<(), Fault> {
        let quoted = |text: &str| format!("{text:?}");
        let program = self.program.to_string_lossy();
        let command: Vec<String> = [&*program, "sample", "--version-name", version.name]
            .iter()
            .chain(version.fault)
            .map(|argument| quoted(argument))
            .collect();
        let text = CONFIGURATION
            .replace("{listen}", &self.address.to_string())
            .replace("{command}", &command.join(", "));
        write(&self.file(), &text)?;
        write(&self.directory.join("version.txt"), version.name)
    }

    /// Deploys what is written, exactly as a person would, and answers with the command's exit code.
    pub(super) async fn deploy(&self) -> Result<i32, Fault> {
        self.tidegate(&["deploy"]).await
    }

    /// Starts a deployment without following it.
    pub(super) async fn begin(&self) -> Result<i32, Fault> {
        self.tidegate(&["deploy", "--detach"]).await
    }

    /// Follows the newest deployment to its end.
    pub(super) async fn watch(&self) -> Result<i32, Fault> {
        self.tidegate(&["watch"]).await
    }

    async fn tidegate(&self, arguments: &[&str]) -> Result<i32, Fault> {
        let mut child = Command::new(&self.program)
            .arg("--file")
            .arg(self.file())
            .args(arguments)
            .env_remove("TIDEGATE_DATA")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Fault::world)?;
        let ended = tokio::time::timeout(DEPLOY_MAX, child.wait());
        let status = ended
            .await
            .map_err(|_| {
                Fault::trouble(format!(
                    "`tidegate {}` did not end within {} s",
                    arguments.join(" "),
                    DEPLOY_MAX.as_secs()
                ))
            })?
            .map_err(Fault::world)?;
        Ok(status.code().unwrap_or(-1))
    }

    /// `kill -9` for the control plane.
    pub(super) async fn kill_control_plane(&self) -> Result<u32, Fault> {
        let pid = self.client()?.status().await?.pid;
        let killed =
            Command::new("kill").args(["-9", &pid.to_string()]).status().await.map_err(Fault::world)?;
        if killed.success() { Ok(pid) } else { Err(Fault::trouble(format!("cannot kill process {pid}"))) }
    }

    /// Stops everything that was started and removes every file.
    pub(super) async fn strike(&self) -> Result<(), Fault> {
        self.client()?.shutdown().await?;
        // Nothing to stop is as good as stopped.
        drop(self.node().shutdown(true).await);
        for _ in 0..200 {
            if self.node().status().await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        std::fs::remove_dir_all(&self.directory)
            .map_err(|error| Fault::trouble(format!("cannot remove {}: {error}", self.directory.display())))
    }
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    std::fs::write(path, text)
        .map_err(|error| Fault::trouble(format!("cannot write {}: {error}", path.display())))
}

/// Short bakes, so that the story fits into a minute and a half; everything else is what a real project would have.
const CONFIGURATION: &str = "\
version: 1
services:
  shop:
    listen: {listen}
    run:
      command: [{command}]
      files: [version.txt]
      instances: 2
      ready: {http: /healthz, interval: 50ms, timeout: 500ms, successes: 2, min_healthy: 100ms, deadline: 10s}
      restart: {backoff: 100ms, backoff_max: 1s, crash_loop: 3, crash_loop_window: 20s}
      stop: {grace: 2s}
    strategy:
      canary:
        steps: [{share: 5%, bake: 3s}, {share: 25%, bake: 2s}, {share: 50%, bake: 2s}, {share: 100%, bake: 2s}]
    routing:
      limits: {drain: 2s}
    judgement: {warmup: 0s, max_dwell: 4s}
    watch: 2s
";
