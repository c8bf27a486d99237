//! The folder of one control plane, removed even when nobody is left to remove it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::BedError;

/// Removes the folder once its standard input ends, which is when the bed drops it or dies in whatever way. By then the
/// programs that write there are being killed; a file that one of them still adds is the reason for the second try.
const REMOVER: &str = r#"trap '' HUP INT TERM
cat > /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$0" 2> /dev/null && exit 0; sleep 0.2; done"#;

/// A new folder for temporary files, gone when this is dropped or its process has ended.
pub(crate) struct Folder {
    path: PathBuf,
    remover: Child,
}

impl Folder {
    /// Makes one. Its path is short enough for the Unix sockets in it.
    pub(crate) fn new() -> Result<Self, BedError> {
        let above = std::env::temp_dir();
        let made =
            tempfile::Builder::new().prefix("tidegate-bed-").tempdir().map_err(BedError::file(above))?;
        let path = made.path().to_path_buf();
        let remover = Command::new("sh")
            .args(["-c", REMOVER])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(BedError::file("sh"))?;
        Ok(Self { path: made.keep(), remover })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file and gives back its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf, BedError> {
        let path = self.path.join(name);
        std::fs::write(&path, content).map_err(BedError::file(&path))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // It ends within seconds by itself; an error here has nobody to go to.
        let _ended = self.remover.wait();
    }
}
