//! The data directory: owned, newer, hurt, or not to be written.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::PathBuf,
    process::Command,
};

use crate::support::{Project, until};

/// The journal's file.
fn database(shop: &Project) -> PathBuf {
    let folder = shop.data().join("journal");
    let files = fs::read_dir(&folder).expect("a journal").flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "db" || end == "sqlite")).collect();
    assert_eq!(
        found.len(),
        1,
        "{found:?} in {:?}",
        fs::read_dir(&folder).expect("it").flatten().collect::<Vec<_>>()
    );
    found.remove(0)
}

#[test]
fn a_data_directory_has_one_owner_and_the_second_is_told_who_it_is() {
    let shop = Project::new();
    shop.deploy().code(0);
    let owner = shop.engine().expect("an engine").to_string();
    shop.run(&["server"]).code(3).complains("in use by process").complains(&owner);
    // The one who tried must not have taken the socket away.
    assert_eq!(shop.engine().map(|pid| pid.to_string()), Some(owner));
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    shop.stop_engine();
    let path = database(&shop);
    let file = OpenOptions::new().write(true).open(&path).expect("the journal");
    // `PRAGMA user_version` lies at offset 60 of an SQLite database, big-endian.
    file.write_all_at(&99_u32.to_be_bytes(), 60).expect("to write");
    let before = fs::read(&path).expect("the journal");
    shop.version("v2").deploy().code(3).complains("format 99").complains("newer version");
    shop.run(&["status"]).code(3).complains("format 99");
    assert_eq!(fs::read(&path).expect("the journal"), before);
    assert_eq!(shop.asks().as_deref(), Some("v1"), "users are served all the same");
}

#[test]
fn a_flipped_byte_is_named_with_its_deployment_and_the_others_go_on() {
    let mut shop = Project::new();
    shop.write().run(&["deploy", "--reason", "zebra-crossing"]).code(0);
    let port = shop.port();
    shop.with("service", "blog").on_port(crate::support::free_port()).deploy().code(0);
    shop.stop_engine();
    let path = database(&shop);
    let bytes = fs::read(&path).expect("the journal");
    let word = b"zebra-crossing";
    let at = bytes.windows(word.len()).position(|window| window == word).expect("the reason");
    let file = OpenOptions::new().write(true).open(&path).expect("the journal");
    file.write_all_at(b"y", at as u64).expect("to write");

    shop.run(&["audit"]).code(3).complains("shop-1").complains("event 1");
    shop.run(&["audit", "blog-1"]).code(0);
    shop.run(&["why", "shop-1"]).code(3).complains("shop-1");
    shop.version("v2").deploy().code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
    shop.run(&["history", "blog-2"]).code(0);
    shop.run(&["status", "blog"]).code(0).says("blog-2");
    // What is hurt is said; nothing is built on it.
    shop.with("service", "shop").on_port(port).deploy().code(3).complains("shop-1");
}

#[test]
fn a_data_directory_that_may_not_be_written_is_named() {
    let shop = Project::new();
    shop.write();
    fs::create_dir(shop.data()).expect("a directory");
    let mode = |path: PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    mode(shop.data(), 0o555);
    mode(shop.root().to_owned(), 0o755);
    let mut command = shop.command(&["deploy"]);
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere: somebody else tries.
        let program = command.get_program().to_owned();
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program).arg("deploy");
        other.current_dir(shop.root()).env_remove("TIDEGATE_DATA");
        command = other;
    }
    let output = command.output().expect("to run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(".tidegate"), "{said}");
}

#[test]
fn an_engine_whose_socket_was_left_behind_by_a_kill_starts_again() {
    let shop = Project::new();
    shop.deploy().code(0);
    shop.kill_engine();
    assert!(shop.data().join("engine.sock").exists());
    shop.run(&["deploy", "--again"]).code(0);
    until(|| shop.engine().is_some(), || "no engine".to_owned());
}
