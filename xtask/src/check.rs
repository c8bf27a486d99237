//! The checks that need no test: format, lints, rustdoc, dependencies.

use crate::{setup, step};

/// The code is formatted.
pub(crate) fn format() -> anyhow::Result<()> {
    step::run(&mut step::cargo(&["fmt", "--all", "--check"]))
}

/// Clippy finds nothing in any target: those of the workspace's own suites, and the one that only its own suite runs.
pub(crate) fn lints() -> anyhow::Result<()> {
    for what in [&["--workspace", "--all-targets"][..], &["--package", "tidegate", "--test", "kube"]] {
        let mut command = step::cargo(&["clippy"]);
        step::run(command.args(what).args(["--quiet", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Rustdoc finds nothing. Private items are documented too: this documentation is for people who work on the code,
/// since what is shipped is a binary.
pub(crate) fn documentation() -> anyhow::Result<()> {
    let mut command =
        step::cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    step::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Dependencies have permissive licences, come from the registry, and none is banned.
///
/// Advisories are a separate question, because it has another answer every day and needs the network: an unchanged tree
/// that was good yesterday must stay good in `ci`.
pub(crate) fn deny(advisories: bool) -> anyhow::Result<()> {
    setup::cargo_deny()?;
    step::run(&mut step::cargo(&["deny", "--workspace", "check", "licenses", "bans", "sources"]))?;
    if advisories {
        step::run(&mut step::cargo(&["deny", "--workspace", "check", "advisories"]))?;
    }
    Ok(())
}
