//! A disk that fills up under a running engine: a real one, small, and made for the test.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::support::{Project, until};

/// Tells the test inside where its small disk is.
const DISK: &str = "TIDEGATE_TEST_DISK";

/// Runs a test of this binary in a mount namespace of its own, with a small memory disk. Fails where the system does not
/// let us make one: what was not tried is not a pass.
fn on_small_disk(test: &str) {
    let home = tempfile::Builder::new().prefix("tg").tempdir().expect("a directory");
    let allowed = |flags: &str| {
        Command::new("unshare").args([flags, "true"]).output().is_ok_and(|output| output.status.success())
    };
    let flags = ["-m", "-rm"]
        .into_iter()
        .find(|flags| allowed(flags))
        .expect("no mount namespace to be had: run as root, or allow unprivileged user namespaces");
    let mount = format!("mount -t tmpfs -o size=24m none \"${DISK}\" || exit 77; exec \"$0\" \"$@\"");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args([flags, "sh", "-c", &mount])
        .arg(program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DISK, home.path())
        .output()
        .expect("to run");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() != Some(77), "a small memory disk cannot be mounted: run as root: {said}");
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Takes all the room that is left.
fn fill(disk: &Path, name: &str) -> PathBuf {
    let path = disk.join(name);
    let mut file = File::create(&path).expect("a file");
    for block in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; block]).is_ok() {}
    }
    path
}

#[test]
fn a_disk_that_fills_up_under_a_deployment_keeps_its_history_and_its_way_back() {
    on_small_disk("disk::fill_up");
}

#[test]
#[ignore = "started by another test"]
fn fill_up() {
    let Some(disk) = std::env::var_os(DISK).map(PathBuf::from) else { return };
    let mut shop = Project::new();
    let data = disk.join("data");
    fs::create_dir(&data).expect("a directory");
    shop.data_in(&data).deploy().code(0);

    // Nothing new begins, and what runs can be turned back: room was set aside for that.
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    let filler = fill(&disk, "filler");
    shop.version("v3")
        .write()
        .run(&["deploy", "--detach"])
        .code(3)
        .complains("full")
        .complains("free some space");
    assert_eq!(shop.state(&id), "canary_waiting");
    shop.run(&["abort"]).code(0);
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    assert_eq!(shop.events(&id), TURNED_BACK);
    fs::remove_file(filler).expect("room");

    // Somebody takes even that room: what was asked waits for room, and says so.
    let id = shop.version("v3").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    let fillers = [fill(&disk, "filler"), {
        shop.run(&["deploy", "--detach"]).code(3).complains("full");
        fill(&disk, "more")
    }];
    thread::scope(|scope| {
        let abort = scope.spawn(|| shop.run(&["abort"]));
        until(
            || shop.run(&["why", &id]).stdout.contains("disk of the data directory is full"),
            || format!("it does not say what is wrong: {}", shop.run(&["why", &id])),
        );
        assert_eq!(shop.state(&id), "canary_waiting");
        assert!(shop.weights().values().all(|weight| *weight == 5_000), "{:?}", shop.weights());
        for filler in fillers {
            fs::remove_file(filler).expect("room");
        }
        abort.join().expect("an answer").code(0).says("rollback began");
    });
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.events(&id), TURNED_BACK);
    assert_eq!(shop.asks().as_deref(), Some("v1"));

    shop.version("v4").bake("50%", "200ms").deploy().code(0);
    assert_eq!(shop.asks().as_deref(), Some("v4"));
    shop.run(&["audit"]).code(0);
}

/// Every event of a deployment that was aborted in its first bake, each once.
const TURNED_BACK: [&str; 11] = [
    "planned",
    "admitted",
    "checked",
    "initialised",
    "built",
    "deployed",
    "exposed",
    "rollback_began",
    "restored",
    "retired",
    "rolled_back",
];
