//! Where the programs of the control plane are.

use std::path::{Path, PathBuf};

use crate::BedError;

/// What `cargo xtask setup` builds, below the root of the workspace.
const BUILT: &str = "target/control-plane";

/// The folder with what the set-up built.
pub(crate) fn built() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).join(BUILT)
}

/// The path of a program: from `KUBEBUILDER_ASSETS`, the convention of the field, where it is set and has it; otherwise
/// what the set-up built.
pub(crate) fn find(program: &'static str) -> Result<PathBuf, BedError> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(program));
    if let Some(path) = assets.filter(|path| path.is_file()) {
        return Ok(path);
    }
    let path = built().join("bin").join(program);
    if path.is_file() { Ok(path) } else { Err(BedError::Missing { program, path }) }
}
