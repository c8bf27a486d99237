//! The supervisor with a real Docker Engine: a private one per test, with its own data, socket and bridge.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the functions that tests share may fail as tests do"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Builder, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_proxy::protocol::{
    Container, EnvValue, InstanceState, InstanceStatus, LogPolicy, ProbeKind, Readiness, Resources,
    RestartPolicy, Run, RunKind, StopPolicy,
};
use tidegate_proxy::supervise::{InFlight, Supervisor, Traffic};

/// Longest wait for anything; reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// What the container of most tests does; it ends at once when asked to.
const SERVE: &str = "trap 'echo bye; exit 0' TERM; echo serving $GREETING; httpd -f -p $PORT -h /www & wait";

struct NoTraffic;

impl Traffic for NoTraffic {
    fn in_flight(&self, _service: &str, _address: SocketAddr) -> InFlight {
        InFlight::default()
    }

    fn drain_limits(&self, _service: &str) -> (u64, u64) {
        (0, 0)
    }
}

/// A private engine with one image, and a supervisor beside it.
struct Bench {
    supervisor: Supervisor,
    engine: Child,
    bridge: String,
    image: String,
    folder: TempDir,
}

impl Bench {
    /// `number` keeps the networks of tests that run at the same time apart.
    async fn new(number: u8) -> Self {
        let found = Builder::new("dockerd").arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok_and(|status| status.success()), "dockerd is missing: run `cargo xtask setup`");
        let folder = tempfile::tempdir().unwrap();
        let bridge = format!("tg{}x{number}", std::process::id());
        ip(&["link", "add", "name", &bridge, "type", "bridge"]);
        ip(&["addr", "add", &format!("10.213.{number}.1/24"), "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        let engine = start_engine(folder.path(), &bridge);
        let supervisor = Supervisor::open(folder.path().join("data"), Arc::new(NoTraffic)).unwrap();
        let mut bench = Self { supervisor, engine, bridge, image: String::new(), folder };
        let deadline = Instant::now() + PATIENCE;
        while !bench.docker(&["version"]).status().unwrap().success() {
            let log = fs::read_to_string(bench.folder.path().join("engine.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the engine does not start (are you root?): {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bench.image = bench.import();
        bench
    }

    fn docker(&self, arguments: &[&str]) -> Builder {
        let mut builder = Builder::new("docker");
        builder.arg("--host").arg(self.socket()).args(arguments).stderr(Stdio::null()).stdout(Stdio::null());
        builder
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }

    /// An image of one static program.
    fn import(&self) -> String {
        let root = self.folder.path().join("image");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("www")).unwrap();
        fs::write(root.join("www/index.html"), "from the container").unwrap();
        let program =
            ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from).into_iter().find(|p| p.exists());
        fs::copy(program.expect("busybox is missing: run `cargo xtask setup`"), root.join("bin/busybox"))
            .unwrap();
        for name in ["sh", "httpd", "sleep"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let archive = root.with_extension("tar");
        let packed = Builder::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.unwrap().success());
        let path = archive.display().to_string();
        let output = self.docker(&["import", &path]).stdout(Stdio::piped()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn run(&self, script: &str) -> Run {
        Run {
            epoch: 1,
            generation: 1,
            instances: 1,
            kind: RunKind::Container(Container {
                image: self.image.clone(),
                argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
                env: BTreeMap::from([("GREETING".to_owned(), EnvValue::Value("on $PORT".to_owned()))]),
                port: 8080,
                socket: Some(self.socket()),
                memory_bytes: Some(64 * 1024 * 1024),
            }),
            ready: Readiness {
                probe: ProbeKind::Http("/".to_owned()),
                interval_ms: 50,
                timeout_ms: 2_000,
                successes: 2,
                min_healthy_ms: 0,
                deadline_ms: 30_000,
            },
            restart: RestartPolicy { backoff_ms: 10, ..RestartPolicy::default() },
            stop: StopPolicy { signal: "TERM".to_owned(), grace_ms: 20_000 },
            log: LogPolicy::default(),
            resources: Resources::default(),
        }
    }

    async fn until(&self, what: &str, holds: impl Fn(&InstanceStatus) -> bool) -> InstanceStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let instances = self.supervisor.status(None).await.into_iter().flat_map(|run| run.instances);
            let all: Vec<InstanceStatus> = instances.collect();
            if let Some(instance) = all.iter().find(|instance| holds(instance)) {
                return instance.clone();
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {all:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_state(&self, state: InstanceState) -> InstanceStatus {
        self.until(&format!("{state:?}"), |instance| instance.state == state).await
    }

    fn containers(&self) -> String {
        let listed = self.docker(&["ps", "--all", "--quiet", "--no-trunc"]).stdout(Stdio::piped()).output();
        String::from_utf8(listed.unwrap().stdout).unwrap().trim().to_owned()
    }

    /// Ends the supervisor and starts the next one, which finds the state changed as asked.
    async fn reopen(&mut self, change: impl FnOnce(&mut serde_json::Value)) {
        self.supervisor.hand_over().await;
        let path = self.folder.path().join("data/supervisor.json");
        let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(state.pointer_mut("/runs/0/instances/1/life").unwrap());
        fs::write(&path, state.to_string()).unwrap();
        self.supervisor = Supervisor::open(self.folder.path().join("data"), Arc::new(NoTraffic)).unwrap();
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let supervisor = self.supervisor.clone();
        let stop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(supervisor.shutdown(true));
        };
        std::thread::spawn(stop).join().unwrap();
        let stopped = Builder::new("kill").arg(self.engine.id().to_string()).status();
        assert!(stopped.unwrap().success());
        self.engine.wait().unwrap();
        ip(&["link", "del", &self.bridge]);
    }
}

fn ip(arguments: &[&str]) {
    let done = Builder::new("ip").args(arguments).status();
    assert!(
        done.is_ok_and(|s| s.success()),
        "`ip {}` failed: run as root, after `cargo xtask setup`",
        arguments.join(" ")
    );
}

fn start_engine(folder: &Path, bridge: &str) -> Child {
    let log = fs::File::create(folder.join("engine.log")).unwrap();
    Builder::new("dockerd")
        .arg("--data-root")
        .arg(folder.join("engine"))
        .arg("--exec-root")
        .arg(folder.join("run"))
        .arg("--pidfile")
        .arg(folder.join("engine.pid"))
        .arg(format!("--host=unix://{}", folder.join("engine.sock").display()))
        .args(["--storage-driver=vfs", "--iptables=false", "--ip6tables=false", "--ip-masq=false"])
        .arg(format!("--bridge={bridge}"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_container_serves_on_its_loopback_port_and_leaves_nothing_but_its_log() {
    let bench = Bench::new(1).await;
    bench.supervisor.apply("web", "r1", bench.run(SERVE)).await.unwrap();
    let instance = bench.until_state(InstanceState::Ready).await;
    let address = instance.address.unwrap();
    assert!(address.starts_with("127.0.0.1:") && get(&address).contains("from the container"));
    let measured = bench.until("its memory is measured", |instance| instance.rss_bytes > 0).await;
    assert_eq!(measured.pid, instance.pid);
    bench
        .supervisor
        .apply("web", "r1", Run { generation: 2, instances: 0, ..bench.run(SERVE) })
        .await
        .unwrap();
    let stopped = bench.until_state(InstanceState::Stopped).await;
    assert_eq!(stopped.last_end.as_deref(), Some("exit code 0"));
    assert_eq!(fs::read_to_string(&stopped.log).unwrap(), "serving on 8080\nbye\n");
    assert_eq!(bench.containers(), "");
}

#[tokio::test]
async fn a_container_that_ends_tells_why_and_one_without_an_image_cannot_start() {
    let bench = Bench::new(2).await;
    bench.supervisor.apply("web", "r1", bench.run("echo no database; exit 3")).await.unwrap();
    let ended = bench.until_state(InstanceState::CrashLooping).await;
    assert_eq!(ended.last_end.as_deref(), Some("exit code 3"));
    assert_eq!(ended.last_output.as_deref(), Some("no database"));
    bench.supervisor.remove("web", "r1", 1).await.unwrap();
    let with_image = |image: String| {
        let mut run = bench.run(SERVE);
        match &mut run.kind {
            RunKind::Container(container) => container.image = image,
            RunKind::Command(_) => panic!("not a container"),
        }
        run
    };
    let moving = bench.supervisor.apply("web", "r2", with_image("web:latest".to_owned())).await.unwrap_err();
    assert_eq!(moving.code, "bad_request");
    let missing = with_image(format!("web@sha256:{}", "0".repeat(64)));
    bench.supervisor.apply("web", "r3", missing).await.unwrap();
    let failed = bench.until_state(InstanceState::Failed).await;
    assert!(failed.last_end.unwrap().starts_with("no such image: web@sha256:000"));
    let without_program = Run { generation: 1, ..bench.run("") };
    let mut without_program = without_program;
    if let RunKind::Container(container) = &mut without_program.kind {
        container.argv = vec!["/no/such/program".to_owned()];
    }
    bench.supervisor.apply("web", "r4", without_program).await.unwrap();
    let refused =
        bench.until("it cannot start", |i| i.id == "web/r4/1" && i.state == InstanceState::Failed).await;
    assert!(refused.last_end.unwrap().contains("/no/such/program"));
}

#[tokio::test]
async fn a_container_outlives_its_supervisor_and_is_found_by_its_id_or_its_labels() {
    let mut bench = Bench::new(3).await;
    bench.supervisor.apply("web", "r1", bench.run(SERVE)).await.unwrap();
    let first = bench.until_state(InstanceState::Ready).await;
    bench.reopen(|_| ()).await;
    assert_eq!(bench.supervisor.endpoints().borrow().len(), 1, "served from the first moment");
    assert_eq!(bench.until_state(InstanceState::Ready).await.pid, first.pid);
    // As if the supervisor had been killed right after the start, before it could note the container.
    bench.reopen(|life| *life = "intended".into()).await;
    assert_eq!(bench.until_state(InstanceState::Ready).await.pid, first.pid);
    let id = bench.containers();
    assert!(bench.docker(&["kill", &id]).status().unwrap().success());
    let again =
        bench.until("it starts again", |i| i.state == InstanceState::Ready && i.pid != first.pid).await;
    assert_eq!((again.restarts, again.last_end.as_deref()), (1, Some("killed by signal 9")));
    assert_eq!(again.address, first.address);
    assert_ne!(bench.containers(), id);
}
