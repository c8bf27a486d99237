//! Ballast: room set aside, thrown overboard when the disk is full, so that running deployments can still be ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How much is set aside: about a thousand appends of a few hundred bytes, far more than turning back everything takes.
pub(super) const BALLAST_BYTES: u64 = 4 << 20;

/// The ballast of one data directory.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    held: bool,
}

impl Ballast {
    /// Takes the ballast on, if there is room for it and as much again.
    pub(super) fn load(directory: &Path) -> Self {
        let mut ballast = Self { path: directory.join("ballast"), held: false };
        ballast.held = fs::metadata(&ballast.path).is_ok_and(|meta| meta.len() >= BALLAST_BYTES);
        ballast.regain();
        ballast
    }

    /// Whether the room is still set aside.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Gives the room back to the disk. False when there was none to give.
    pub(super) fn release(&mut self) -> bool {
        let had = self.held && fs::remove_file(&self.path).is_ok();
        self.held = false;
        had
    }

    /// Sets the room aside again when there is plenty. Says whether it is held now.
    pub(super) fn regain(&mut self) -> bool {
        if !self.held && self.room().is_some_and(|free| free >= 2 * BALLAST_BYTES) {
            self.held = self.create().is_ok();
            if !self.held {
                // Half a ballast would only keep space from those who need it now.
                let _absent = fs::remove_file(&self.path);
            }
        }
        self.held
    }

    fn room(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.path.parent()?).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }

    fn create(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        if !allocate(&file) {
            write_noise(&mut file)?;
        }
        file.sync_all()
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &File) -> bool {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, BALLAST_BYTES).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &File) -> bool {
    false
}

/// Fills the file with bytes that a compressing filesystem cannot shrink (xorshift64, Marsaglia 2003).
fn write_noise(file: &mut File) -> io::Result<()> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..BALLAST_BYTES / 4096 {
        let mut block = [0; 4096];
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(())
}
