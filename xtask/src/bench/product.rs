//! The product as the benches run it: the program that users build with `cargo build --release`.

use std::path::{Path, PathBuf};

use crate::package;

/// The proxy's command line: the one place that knows it.
pub(super) struct ProxyCommand {
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
}

/// Builds the product and says how to run its proxy with one data-plane thread and its files in `data`.
pub(super) fn proxy(data: &Path) -> anyhow::Result<ProxyCommand> {
    let program = package::release("tidegate", "tidegate")?;
    let arguments =
        ["proxy", "run", "--data", &data.display().to_string(), "--workers", "1"].map(str::to_owned);
    Ok(ProxyCommand { program, arguments: arguments.to_vec() })
}
