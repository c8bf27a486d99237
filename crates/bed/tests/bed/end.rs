//! How a control plane ends, and what survives a part of it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_bed::{Component, ControlPlane, Options, until};

use crate::objects;

const COMPONENTS: [Component; 5] = [
    Component::Etcd,
    Component::ApiServer,
    Component::ControllerManager,
    Component::Scheduler,
    Component::Kwok,
];

/// Set in the process of a test that is to be killed.
const HOLD: &str = "TIDEGATE_BED_TEST_HOLD";

#[test]
fn nothing_is_left_of_a_control_plane_when_its_process_is_killed() {
    if std::env::var_os(HOLD).is_some() {
        return hold();
    }
    let name = "end::nothing_is_left_of_a_control_plane_when_its_process_is_killed";
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOLD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("held ")).expect("a control plane");
    let mut held = line.split_whitespace().skip(1).map(Path::new);
    let folder = held.next().unwrap();
    let processes: Vec<&Path> = held.collect();
    assert_eq!(processes.len(), COMPONENTS.len());
    assert!(folder.exists() && processes.iter().all(|process| runs(process)));
    test.kill().unwrap();
    test.wait().unwrap();
    let gone = || Ok((!folder.exists() && !processes.iter().any(|process| runs(process))).then_some(()));
    until("everything to be gone", Duration::from_secs(10), gone).unwrap();
}

/// Whether there is a process at its place in `/proc`; one that only waits for its parent's notice has no command line.
fn runs(process: &Path) -> bool {
    std::fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Starts a control plane in a test's own thread, as tests do, and stays until killed.
fn hold() {
    let plane = std::thread::spawn(|| ControlPlane::start(&Options::default()).unwrap()).join().unwrap();
    let processes = COMPONENTS.map(|component| format!("/proc/{}", plane.pid(component).unwrap()));
    let folder = plane.kubeconfig().parent().unwrap();
    println!("\nheld {} {}", folder.display(), processes.join(" "));
    let _killed_before_it_ends = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_deployment_outlives_the_death_of_the_store_and_the_api_server() {
    let begun = Instant::now();
    let plane = ControlPlane::start(&Options { nodes: 1, ..Options::default() }).unwrap();
    // Past the harness, which keeps what a good test prints.
    writeln!(std::io::stderr(), "a control plane starts in {} ms", begun.elapsed().as_millis()).unwrap();
    objects::deploy(&plane, "default", "web", 1, None).unwrap();
    for component in [Component::ApiServer, Component::Etcd] {
        plane.kill(component);
        assert_eq!(plane.pid(component), None);
    }
    plane.admin().get("/api/v1/nodes").unwrap_err();
    for component in [Component::Etcd, Component::ApiServer] {
        plane.revive(component).unwrap();
    }
    let ready = || Ok((objects::ready_replicas(&plane, "default", "web")? == 1).then_some(()));
    until("the Deployment to be ready", Duration::from_mins(1), ready).unwrap();
    plane.stop();
}
