//! The supervisor with real processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share may fail as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Builder, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidegate_proxy::protocol::{
    Command, EnvValue, InstanceState, InstanceStatus, LogPolicy, ProbeKind, Readiness, Resources,
    RestartPolicy, Run, RunKind, StopPolicy,
};
use tidegate_proxy::supervise::{InFlight, Supervisor, SupervisorError, Traffic};

/// Longest wait for anything; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Set for the process that a test starts to kill it: the folder of its bench.
const VICTIM: &str = "TIDEGATE_TEST_VICTIM";

/// A small HTTP server that answers 503 while the file `sick` exists in its directory.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists("sick") else 200)
        self.end_headers()
        self.wfile.write(repr(sorted(os.environ)).encode())
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// Ignores its stop signal and has three children: one in its group, one that left it, one of the second's.
const STUBBORN: &str = r#"
import os, runpy, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stay = subprocess.Popen(["sleep", "600"])
leave = subprocess.Popen(["sh", "-c", "sleep 600 & echo $! > grandchild; wait"], start_new_session=True)
open("pids", "w").write(f"{os.getpid()} {stay.pid} {leave.pid}")
runpy.run_path("server.py")
"#;

/// Traffic that a test sets by hand.
#[derive(Default)]
struct Requests {
    in_flight: AtomicU64,
    /// How often the supervisor has asked.
    asked: AtomicU64,
}

impl Traffic for Requests {
    fn in_flight(&self, _service: &str, _address: SocketAddr) -> InFlight {
        self.asked.fetch_add(1, Ordering::SeqCst);
        InFlight { requests: self.in_flight.load(Ordering::SeqCst), upgraded: 0 }
    }

    fn drain_limits(&self, _service: &str) -> (u64, u64) {
        (20_000, 0)
    }
}

/// A data directory, a release directory and the supervisor of both.
struct Bench {
    folder: TempDir,
    requests: Arc<Requests>,
    supervisor: Supervisor,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("release")).unwrap();
        fs::write(folder.path().join("release/server.py"), SERVER).unwrap();
        let requests = Arc::<Requests>::default();
        let supervisor = Supervisor::open(folder.path().join("data"), requests.clone()).unwrap();
        Self { folder, requests, supervisor }
    }

    fn release(&self) -> PathBuf {
        self.folder.path().join("release")
    }

    /// As a new process of the same directory would.
    fn reopen(&mut self) {
        self.supervisor = Supervisor::open(self.folder.path().join("data"), self.requests.clone()).unwrap();
    }

    async fn apply(&self, run: Run) {
        self.supervisor.apply("web", "r1", run).await.unwrap();
    }

    async fn until(&self, what: &str, holds: impl Fn(&[InstanceStatus]) -> bool) -> Vec<InstanceStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let runs = self.supervisor.status(Some("web")).await;
            let instances: Vec<_> = runs.into_iter().flat_map(|run| run.instances).collect();
            if holds(&instances) {
                return instances;
            }
            assert!(Instant::now() < deadline, "waited in vain until {what}: {instances:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_state(&self, state: InstanceState) -> InstanceStatus {
        let all = |all: &[InstanceStatus]| !all.is_empty() && all.iter().all(|i| i.state == state);
        self.until(&format!("{state:?}"), all).await.remove(0)
    }

    fn ready_endpoints(&self) -> usize {
        self.supervisor.endpoints().borrow().values().map(Vec::len).sum()
    }
}

impl Drop for Bench {
    /// Ends what a test leaves running, also when it fails.
    fn drop(&mut self) {
        self.requests.in_flight.store(0, Ordering::SeqCst);
        let supervisor = self.supervisor.clone();
        let stop = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(supervisor.shutdown(true));
        };
        std::thread::spawn(stop).join().unwrap();
    }
}

fn run(directory: &Path, argv: &[&str]) -> Run {
    Run {
        epoch: 1,
        generation: 1,
        instances: 1,
        kind: RunKind::Command(Command {
            argv: argv.iter().map(ToString::to_string).collect(),
            env: BTreeMap::new(),
            directory: directory.display().to_string(),
            user: None,
        }),
        ready: Readiness {
            probe: ProbeKind::Http("/".to_owned()),
            interval_ms: 20,
            timeout_ms: 2_000,
            successes: 2,
            min_healthy_ms: 0,
            deadline_ms: 15_000,
        },
        restart: RestartPolicy { backoff_ms: 10, ..RestartPolicy::default() },
        stop: StopPolicy { signal: "TERM".to_owned(), grace_ms: 5_000 },
        log: LogPolicy::default(),
        resources: Resources::default(),
    }
}

fn server(directory: &Path) -> Run {
    run(directory, &["python3", "server.py", "$PORT"])
}

fn command(run: &mut Run) -> &mut Command {
    match &mut run.kind {
        RunKind::Command(command) => command,
        RunKind::Container(_) => panic!("not a command"),
    }
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(pid: u32) {
    assert!(Builder::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn an_instance_starts_in_a_clean_environment_and_becomes_ready() {
    let bench = Bench::new();
    let secret = bench.folder.path().join("secret");
    fs::write(&secret, "s3cret\n").unwrap();
    let mut wanted = server(&bench.release());
    command(&mut wanted).env = BTreeMap::from([
        ("AT".to_owned(), EnvValue::Value("http://localhost:${PORT}".to_owned())),
        ("KEY".to_owned(), EnvValue::File(secret.display().to_string())),
    ]);
    bench.apply(wanted).await;
    let instance = bench.until_state(InstanceState::Ready).await;
    assert_eq!(instance.id, "web/r1/1");
    let address = instance.address.unwrap();
    let answer = get(&address);
    for name in ["'AT'", "'KEY'", "'PATH'", "'PORT'", "'TIDEGATE_INSTANCE'"] {
        assert!(answer.contains(name), "{answer}");
    }
    assert!(!answer.contains("CARGO"), "the proxy's own environment leaked: {answer}");
    let environ = fs::read_to_string(format!("/proc/{}/environ", instance.pid.unwrap())).unwrap();
    let port = address.rsplit(':').next().unwrap();
    assert!(environ.contains(&format!("AT=http://localhost:{port}\0")) && environ.contains("KEY=s3cret\0"));
    let state = fs::read_to_string(bench.folder.path().join("data/supervisor.json")).unwrap();
    assert!(!state.contains("s3cret"));
    let measured =
        |all: &[InstanceStatus]| (1_000_000..all[0].memory_limit_bytes).contains(&all[0].rss_bytes);
    bench.until("its memory is measured", measured).await;
    let endpoints = bench.supervisor.endpoints().borrow().clone();
    assert_eq!(endpoints[&("web".to_owned(), "r1".to_owned())][0].address.to_string(), address);
}

#[tokio::test]
async fn a_command_that_ends_at_once_is_a_crash_loop_that_tells_why() {
    let bench = Bench::new();
    let script = "echo starting; printf '\\033[31mno database\\033[0m\\n' >&2; exit 3";
    bench.apply(run(&bench.release(), &["sh", "-c", script])).await;
    let instance = bench.until_state(InstanceState::CrashLooping).await;
    assert_eq!(instance.restarts, 3);
    assert_eq!(instance.last_end.as_deref(), Some("exit code 3"));
    assert_eq!(instance.last_output.as_deref(), Some("starting\nno database"));
    assert_eq!(instance.pid, None);
}

#[tokio::test]
async fn an_instance_that_is_never_ready_is_stopped_and_tells_what_the_probe_saw() {
    let bench = Bench::new();
    let mut wanted = run(&bench.release(), &["sleep", "600"]);
    wanted.ready.deadline_ms = 300;
    wanted.restart.crash_loop_count = 1;
    bench.apply(wanted).await;
    let pid = bench.until("it runs", |all| all[0].pid.is_some()).await[0].pid.unwrap();
    let why = bench.until_state(InstanceState::CrashLooping).await.last_end.unwrap();
    assert!(why.starts_with("not ready within 0.3 s: connection refused on 127.0.0.1:"), "{why}");
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_command_that_cannot_start_fails_with_a_sentence_and_starts_once_corrected() {
    let bench = Bench::new();
    let release = bench.release();
    fs::create_dir(release.join("folder")).unwrap();
    fs::write(release.join("plain.sh"), "#!/bin/sh\nexec python3 server.py $PORT\n").unwrap();
    for (name, text) in [("lost.sh", "#!/no/such/interpreter\n"), ("data", "no program")] {
        fs::write(release.join(name), text).unwrap();
        fs::set_permissions(release.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cases: [(&[&str], &str); 7] = [
        (&["no-such-program"], "command not found: `no-such-program` is neither in the release's directory"),
        (&["./gone"], "command not found: "),
        (&["./folder"], "is a directory: name the program inside it"),
        (&["./plain.sh"], "run `chmod +x` on "),
        (&["plain.sh"], "run `chmod +x` on "),
        (&["./lost.sh"], "the interpreter or loader that "),
        (&["./data"], "has no `#!` line or is built for another kind of machine"),
    ];
    for (generation, (argv, sentence)) in (1..).zip(cases) {
        bench.apply(Run { generation, ..run(&release, argv) }).await;
        let told = |all: &[InstanceStatus]| {
            all[0].state == InstanceState::Failed
                && all[0].last_end.as_ref().is_some_and(|why| why.contains(sentence))
        };
        bench.until(sentence, told).await;
    }
    let mut stranger = Run { generation: 10, ..run(&release, &["true"]) };
    command(&mut stranger).user = Some("no-such-user".to_owned());
    bench.apply(stranger).await;
    let refused =
        |all: &[InstanceStatus]| all[0].last_end.as_ref().is_some_and(|why| why.contains("no such user"));
    bench.until("the user is refused", refused).await;
    fs::set_permissions(release.join("plain.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    bench.apply(Run { generation: 11, ..run(&release, &["plain.sh"]) }).await;
    bench.until_state(InstanceState::Ready).await;
}

#[tokio::test]
async fn a_command_runs_as_its_user_or_says_why_it_cannot() {
    let bench = Bench::new();
    let program = bench.release().join("run.sh");
    fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(bench.release(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut wanted = run(&bench.release(), &["run.sh"]);
    command(&mut wanted).user = Some("nobody".to_owned());
    bench.apply(wanted.clone()).await;
    let failed = bench.until_state(InstanceState::Failed).await.last_end.unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    if !own.contains("\nUid:\t0\t") {
        assert!(failed.contains("the proxy does not run as root"), "{failed}");
        return;
    }
    assert!(failed.contains("is not open to the user it runs as"), "{failed}");
    for folder in [bench.folder.path(), &bench.release()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    bench.apply(Run { generation: 2, ..wanted }).await;
    let pid = bench.until("it runs", |all| all[0].pid.is_some()).await[0].pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("\nUid:\t65534\t65534\t") && status.contains("\nGroups:\t \n"), "{status}");
}

#[tokio::test]
async fn a_ready_instance_that_dies_leaves_traffic_and_starts_again_on_its_port() {
    let bench = Bench::new();
    bench.apply(server(&bench.release())).await;
    let first = bench.until_state(InstanceState::Ready).await;
    let mut endpoints = bench.supervisor.endpoints();
    endpoints.mark_unchanged();
    kill(first.pid.unwrap());
    endpoints.changed().await.unwrap();
    assert!(endpoints.borrow_and_update().is_empty());
    let second = bench.until_state(InstanceState::Ready).await;
    assert_ne!(second.pid, first.pid);
    assert_eq!(second.address, first.address);
    assert_eq!((second.restarts, second.last_end.as_deref()), (1, Some("killed by signal 9")));
    assert_eq!((first.ends_total, second.ends_total), (Some(0), Some(1)));
}

#[tokio::test]
async fn an_instance_whose_probe_fails_leaves_traffic_but_is_not_restarted() {
    let bench = Bench::new();
    bench.apply(server(&bench.release())).await;
    let first = bench.until_state(InstanceState::Ready).await;
    fs::write(bench.release().join("sick"), "").unwrap();
    bench.until_state(InstanceState::Unready).await;
    assert_eq!(bench.ready_endpoints(), 0);
    fs::remove_file(bench.release().join("sick")).unwrap();
    let again = bench.until_state(InstanceState::Ready).await;
    assert_eq!((again.pid, again.restarts), (first.pid, 0));
}

#[tokio::test]
async fn stopping_kills_every_process_of_the_instance_even_those_that_left_its_group() {
    let bench = Bench::new();
    fs::write(bench.release().join("stubborn.py"), STUBBORN).unwrap();
    let mut wanted = run(&bench.release(), &["python3", "stubborn.py", "$PORT"]);
    wanted.stop.grace_ms = 200;
    bench.apply(wanted).await;
    bench.until_state(InstanceState::Ready).await;
    let numbers = |name| fs::read_to_string(bench.release().join(name)).unwrap_or_default();
    bench.until("all have started", |_| !numbers("grandchild").is_empty()).await;
    let text = numbers("pids") + " " + &numbers("grandchild");
    let pids: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 4 && pids.iter().all(|pid| lives(*pid)), "{text}");
    bench.supervisor.remove("web", "r1", 1).await.unwrap();
    bench.until("it is forgotten", <[_]>::is_empty).await;
    assert!(!pids.iter().any(|pid| lives(*pid)), "{text}");
}

#[tokio::test]
async fn a_drained_instance_is_stopped_only_after_its_last_request() {
    let bench = Bench::new();
    let mut wanted = Run { instances: 2, ..server(&bench.release()) };
    bench.apply(wanted.clone()).await;
    let both = |all: &[InstanceStatus]| all.len() == 2 && all.iter().all(|i| i.state == InstanceState::Ready);
    bench.until("both are ready", both).await;
    bench.requests.in_flight.store(1, Ordering::SeqCst);
    (wanted.instances, wanted.generation) = (1, 2);
    bench.apply(wanted.clone()).await;
    let asked = || bench.requests.asked.load(Ordering::SeqCst);
    bench.until("the requests are looked at", |_| asked() > 10).await;
    let all = bench.until("the second drains", |all| all[1].state == InstanceState::Draining).await;
    assert_eq!(bench.ready_endpoints(), 1);
    assert!(lives(all[1].pid.unwrap()));
    // Wanted again while it drains: the same process returns to traffic.
    (wanted.instances, wanted.generation) = (2, 3);
    bench.apply(wanted.clone()).await;
    let again = bench.until("it is ready again", |all| all[1].state == InstanceState::Ready).await;
    assert_eq!(again[1].pid, all[1].pid);
    (wanted.instances, wanted.generation) = (0, 4);
    bench.apply(wanted).await;
    bench.until_state(InstanceState::Draining).await;
    bench.requests.in_flight.store(0, Ordering::SeqCst);
    let stopped = bench.until_state(InstanceState::Stopped).await;
    assert_eq!(stopped.last_end.as_deref(), Some("killed by signal 15"));
    assert!(!lives(all[1].pid.unwrap()));
}

#[tokio::test]
async fn older_owners_and_changed_commands_are_refused() {
    let bench = Bench::new();
    let release = bench.release();
    let wanted = Run { epoch: 5, generation: 7, ..server(&release) };
    bench.apply(wanted.clone()).await;
    bench.until_state(InstanceState::Ready).await;
    let other_command = Run { epoch: 6, generation: 1, ..run(&release, &["true"]) };
    let cases = [
        ("web", "r1", Run { epoch: 4, generation: 9, ..wanted.clone() }, "stale_epoch"),
        ("web", "r2", Run { epoch: 4, ..wanted.clone() }, "stale_epoch"),
        ("web", "r1", Run { generation: 6, ..wanted.clone() }, "stale_generation"),
        ("web", "r1", Run { instances: 2, ..wanted.clone() }, "stale_generation"),
        ("web", "r1", other_command, "bad_request"),
        ("../web", "r1", wanted.clone(), "bad_request"),
    ];
    for (service, name, run, code) in cases {
        let refused = bench.supervisor.apply(service, name, run).await.unwrap_err();
        assert_eq!(refused.code, code, "{refused:?}");
    }
    assert_eq!(bench.supervisor.remove("web", "r1", 4).await.unwrap_err().code, "stale_epoch");
    bench.apply(wanted).await;
    let status = bench.supervisor.status(None).await;
    assert_eq!((status.len(), status[0].epoch, status[0].generation), (1, 5, 7));
}

#[tokio::test]
async fn the_next_supervisor_serves_the_same_processes_from_its_first_moment() {
    let mut bench = Bench::new();
    bench.apply(server(&bench.release())).await;
    let before = bench.until_state(InstanceState::Ready).await;
    let endpoints = bench.supervisor.endpoints().borrow().clone();
    let second = Supervisor::open(bench.folder.path().join("data"), bench.requests.clone());
    assert!(matches!(second, Err(SupervisorError::InUse(_))));
    bench.supervisor.hand_over().await;
    let refused = bench.supervisor.apply("web", "r1", server(&bench.release())).await.unwrap_err();
    assert_eq!(refused.code, "internal");
    bench.reopen();
    assert_eq!(*bench.supervisor.endpoints().borrow(), endpoints);
    assert_eq!(bench.until_state(InstanceState::Ready).await.pid, before.pid);
}

#[tokio::test]
async fn an_instance_that_died_unwatched_starts_again_on_another_port_when_its_own_was_taken() {
    let mut bench = Bench::new();
    bench.apply(server(&bench.release())).await;
    let before = bench.until_state(InstanceState::Ready).await;
    bench.supervisor.hand_over().await;
    kill(before.pid.unwrap());
    let address = before.address.clone().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let taken = loop {
        match TcpListener::bind(&address) {
            Ok(listener) => break listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
    };
    bench.reopen();
    let moved = bench.until_state(InstanceState::Ready).await;
    assert_ne!(moved.address, before.address);
    assert_eq!((moved.restarts, moved.ends_total), (1, Some(1)), "counted by the next supervisor, too");
    drop(taken);
}

#[tokio::test]
async fn a_stop_of_everything_keeps_what_is_wanted() {
    let mut bench = Bench::new();
    bench.apply(server(&bench.release())).await;
    let before = bench.until_state(InstanceState::Ready).await;
    bench.supervisor.shutdown(true).await;
    assert!(!lives(before.pid.unwrap()));
    bench.reopen();
    assert_eq!(bench.until_state(InstanceState::Ready).await.restarts, 0);
}

#[tokio::test]
async fn instances_outlive_a_killed_supervisor_and_are_found_again() {
    let mut bench = Bench::new();
    bench.supervisor.hand_over().await;
    let state_file = bench.folder.path().join("data/supervisor.json");
    for recorded in [true, false] {
        kill_a_supervisor_of(bench.folder.path());
        let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&state_file).unwrap()).unwrap();
        let life = &mut state["runs"][0]["instances"]["1"]["life"];
        let pid = u32::try_from(life["process"]["pid"].as_u64().unwrap()).unwrap();
        if !recorded {
            // As if it had been killed right after the start, before it could note the process.
            *life = "intended".into();
            fs::write(&state_file, state.to_string()).unwrap();
        }
        // Another directory's supervisor leaves it alone.
        drop(Bench::new());
        assert!(lives(pid));
        bench.reopen();
        assert_eq!(bench.ready_endpoints(), 1);
        assert_eq!(bench.until_state(InstanceState::Ready).await.pid, Some(pid));
        kill(pid);
        let again = |all: &[InstanceStatus]| all[0].state == InstanceState::Ready && all[0].pid != Some(pid);
        let again = bench.until("it starts again", again).await;
        assert_eq!(again[0].last_end.as_deref(), Some("ended (status unknown)"));
        bench.supervisor.remove("web", "r1", 1).await.unwrap();
        bench.until("it is gone", <[_]>::is_empty).await;
        bench.supervisor.hand_over().await;
    }
}

/// Starts this program again with [`the_process_that_is_killed`], waits for its instance, and kills it.
fn kill_a_supervisor_of(folder: &Path) {
    let mut victim = Builder::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(VICTIM, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = victim.stdout.as_mut().unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.contains("victim is ready") {
        assert_eq!(output.read(&mut byte).unwrap(), 1, "ended after: {text}");
        text.push(char::from(byte[0]));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Not a test by itself: see [`kill_a_supervisor_of`].
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let supervisor = Supervisor::open(folder.join("data"), Arc::<Requests>::default()).unwrap();
    supervisor.apply("web", "r1", server(&folder.join("release"))).await.unwrap();
    supervisor.endpoints().wait_for(|endpoints| !endpoints.is_empty()).await.unwrap();
    println!("victim is ready");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn output_is_kept_in_rotated_files() {
    let bench = Bench::new();
    let script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done";
    let mut wanted = run(&bench.release(), &["sh", "-c", script]);
    wanted.log = LogPolicy { size_max: 1_024, files_max: 2 };
    bench.apply(wanted).await;
    let log = bench.until("it runs", |all| all[0].pid.is_some()).await[0].log.clone();
    bench.until("two files are rotated", |_| Path::new(&format!("{log}.2")).exists()).await;
    assert!(fs::read_to_string(format!("{log}.2")).unwrap().starts_with("line 1\n"));
}
