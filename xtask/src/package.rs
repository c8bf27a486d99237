//! Where cargo puts what it builds, and building the product for a measurement.

use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::step;

/// What `cargo metadata` says about the workspace, as far as the workshop asks.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
    target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// What it depends on, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a package's manifest.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// The crate.
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Where it is, for a crate of the workspace.
    pub(crate) path: Option<PathBuf>,
}

/// Asks cargo.
pub(crate) fn metadata() -> anyhow::Result<Metadata> {
    let text = step::capture(&mut step::cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&text).context("could not read what `cargo metadata` wrote")
}

/// The path of a program that cargo built, in a profile's folder (`debug`, `release`).
pub(crate) fn built(profile: &str, program: &str) -> anyhow::Result<PathBuf> {
    Ok(metadata()?.target_directory.join(profile).join(program))
}

/// Builds a package's programs with the everyday release profile, the one that users build, and gives back the path of
/// the one with that name.
pub(crate) fn release(package: &str, program: &str) -> anyhow::Result<PathBuf> {
    step::run(&mut step::cargo(&["build", "--release", "--quiet", "--package", package]))?;
    built("release", program)
}
