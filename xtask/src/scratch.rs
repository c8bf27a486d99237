//! A folder for temporary files.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// A folder that is gone, with all in it, when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder; `what` stands in its name. Short enough for the path of a Unix socket in it.
    pub(crate) fn new(what: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-{what}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("could not remove {}: {error}", self.0.display());
        }
    }
}
