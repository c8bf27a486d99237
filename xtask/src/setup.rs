//! What a machine needs beside a Rust toolchain, and how it gets there.
//!
//! Looked for by program, not by package, so that a warm call costs a few file look-ups and a machine that is not Debian
//! is told what to install by hand.

use std::path::Path;

use anyhow::{Context, bail};

use crate::{control_plane, step};

/// One program that must be found, and the Debian packages that bring it: the first one that apt knows is installed.
struct Need {
    program: &'static str,
    packages: &'static [&'static str],
}

const fn need(program: &'static str, packages: &'static [&'static str]) -> Need {
    Need { program, packages }
}

/// For the build and the tests.
const TEST: &[Need] = &[
    need("cc", &["build-essential"]),
    need("git", &["git"]),
    need("curl", &["curl"]),
    need("openssl", &["openssl"]),
    need("dockerd", &["docker.io"]),
    need("docker", &["docker-cli", "docker.io"]),
    need("busybox", &["busybox-static"]),
    need("prometheus", &["prometheus"]),
];

/// Programs whose packages also bring a service of the same name, which nobody here needs: the tests start their own.
const IDLE: &[&str] = &["prometheus"];

/// For the control plane that the Kubernetes tests run on, which is built from source, and for the data plane.
const KUBE: &[Need] = &[
    need("go", &["golang-go"]),
    need("setpriv", &["util-linux"]),
    need("unshare", &["util-linux"]),
    need("ip", &["iproute2"]),
    need("pip3", &["python3-pip"]),
];

/// For `bench`: the proxies we compare with, the load generator, and the programs that pin and bind processes.
const BENCH: &[Need] = &[
    need("nginx", &["nginx"]),
    need("haproxy", &["haproxy"]),
    need("wrk", &["wrk"]),
    need("openssl", &["openssl"]),
    need("taskset", &["util-linux"]),
    need("setpriv", &["util-linux"]),
];

/// Makes the machine ready for the build and the tests.
pub(crate) fn for_tests() -> anyhow::Result<()> {
    components()?;
    install(TEST)
}

/// Makes the machine ready for the Kubernetes tests: the first time, that takes minutes of compiling Go.
pub(crate) fn for_kube_tests() -> anyhow::Result<()> {
    install(KUBE)?;
    control_plane::ready()
}

/// Makes the machine ready for the benches.
pub(crate) fn for_benches() -> anyhow::Result<()> {
    install(BENCH)
}

/// Everything above; `deny` also compiles cargo-deny.
pub(crate) fn everything(deny: bool) -> anyhow::Result<()> {
    for_tests()?;
    for_kube_tests()?;
    for_benches()?;
    if deny {
        cargo_deny()?;
    }
    println!("setup: this machine has everything");
    Ok(())
}

/// Compiles cargo-deny unless it is there. Not part of the tests' set-up: it takes longer than the tests.
pub(crate) fn cargo_deny() -> anyhow::Result<()> {
    let home = std::env::var_os("CARGO_HOME")
        .map(Into::into)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let installed = home.is_some_and(|home: std::path::PathBuf| home.join("bin/cargo-deny").is_file());
    if installed || step::find("cargo-deny").is_some() {
        return Ok(());
    }
    step::run(&mut step::cargo(&["install", "cargo-deny", "--locked"]))
}

/// `rustfmt` and `clippy` come with most toolchains; rustup can add them to the others.
fn components() -> anyhow::Result<()> {
    let missing: Vec<&str> = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")]
        .into_iter()
        .filter(|(program, _)| step::find(program).is_none())
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if step::find("rustup").is_none() {
        bail!(
            "the Rust toolchain lacks {}: install them the way the toolchain was installed",
            missing.join(" and ")
        );
    }
    step::run(step::program("rustup", &["component", "add"]).args(&missing))
}

fn install(needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let programs = missing.iter().map(|need| need.program).collect::<Vec<_>>().join(", ");
    if step::find("apt-get").is_none() {
        bail!(
            "install these programs by hand, then try again (only Debian's packages are known here): {programs}"
        );
    }
    eprintln!("setup: installing what brings {programs}");
    apt(&["update", "-q"])?;
    let mut packages: Vec<&str> = Vec::new();
    for need in &missing {
        let package = need.packages.iter().find(|package| known_to_apt(package));
        packages
            .push(package.with_context(|| format!("apt knows no package that brings `{}`", need.program))?);
    }
    packages.dedup();
    let idle: Vec<&str> =
        missing.iter().map(|need| need.program).filter(|name| IDLE.contains(name)).collect();
    // A masked service is not started by its package; afterwards it stays off until somebody wants it.
    services(&["mask"], &idle)?;
    apt(&[["install", "-y", "-q", "--no-install-recommends"].as_slice(), &packages].concat())?;
    services(&["unmask"], &idle)?;
    services(&["disable", "--now"], &idle)?;
    match self::missing(needs).first() {
        Some(need) => {
            bail!("`{}` is still missing after its package was installed: is PATH right?", need.program)
        }
        None => Ok(()),
    }
}

fn missing(needs: &[Need]) -> Vec<&Need> {
    needs.iter().filter(|need| step::find(need.program).is_none()).collect()
}

fn known_to_apt(package: &str) -> bool {
    step::capture(&mut step::program("apt-cache", &["policy", package]))
        .is_ok_and(|answer| answer.contains("Candidate:") && !answer.contains("Candidate: (none)"))
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    step::run(as_root("env").args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args))
}

/// Tells systemd about services, where it runs: elsewhere no package starts one.
fn services(verb: &[&str], names: &[&str]) -> anyhow::Result<()> {
    if names.is_empty() || !Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    step::run(as_root("systemctl").args(verb).args(names))
}

fn as_root(program: &str) -> std::process::Command {
    if rustix::process::geteuid().is_root() {
        step::program(program, &[])
    } else {
        step::program("sudo", &[program])
    }
}
