//! The data directory: who owns it, and whether a journal may live there.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::journal::OpenError;

pub(super) const DATABASE: &str = "journal.db";
const LOCK: &str = "lock";
/// Longest lock file that is looked at; ours has 40 bytes.
const LOCK_BYTES_MAX: u64 = 256;
const OPEN_MARK: &str = "state open";

/// A data directory that this process owns until the value is dropped.
#[derive(Debug)]
pub(super) struct DataDirectory {
    pub(super) path: PathBuf,
    /// False when the last owner did not get to close the journal.
    pub(super) was_closed: bool,
    lock: File,
}

impl DataDirectory {
    /// Creates the directory if needed, refuses an unfit one, and takes its lock.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        create(path)?;
        refuse_network(path)?;
        let lock_path = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| refine("open the lock file", path, &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Owned { pid: pid(&content(&mut lock)), path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => {
                return Err(refine("lock", path, &lock_path, source));
            }
        }
        let was_closed = !content(&mut lock).contains(OPEN_MARK);
        let mut directory = Self { path: path.to_owned(), was_closed, lock };
        // On a full disk the mark may not fit. It only decides whether the next start looks closer, so go on without it.
        match directory.mark(OPEN_MARK) {
            Err(source) if source.kind() != io::ErrorKind::StorageFull => {
                Err(refine("write the lock file", path, &lock_path, source))
            }
            Ok(()) | Err(_) => Ok(directory),
        }
    }

    /// Notes that the journal was closed properly. Losing the note costs one check at the next start, so errors do not matter.
    pub(super) fn mark_closed(&mut self) {
        let _unimportant = self.mark("state closed");
    }

    fn mark(&mut self, state: &str) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        self.lock.write_all(format!("pid {}\n{state}\n", std::process::id()).as_bytes())?;
        self.lock.sync_data()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started shares it for a moment, and would hold the lock.
        let _unlocked_by_closing = self.lock.unlock();
    }
}

fn content(lock: &mut File) -> String {
    let mut bytes = Vec::new();
    // An unreadable note is no note: the lock itself decides about ownership.
    let _read = lock.rewind().and_then(|()| lock.take(LOCK_BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn pid(content: &str) -> Option<u32> {
    content.lines().find_map(|line| line.strip_prefix("pid "))?.trim().parse().ok()
}

fn create(path: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| refine("create the data directory", path, path, source))?;
    let at = |source| refine("use the data directory", path, path, source);
    let mode = fs::metadata(path).map_err(at)?.permissions().mode();
    let open_to_others = mode & 0o077;
    if open_to_others != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at)?;
    }
    // A new directory is only there after a power cut if the one above it says so.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), |above| File::open(above).and_then(|above| above.sync_all())).or_else(|source| {
        // A parent that may not be read cannot be synced by us; it was not made by us either.
        if source.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(at(source)) }
    })
}

/// Creates the database file for this user only. `SQLite` gives its side files the same mode.
pub(super) fn create_private(directory: &Path, file: &Path) -> Result<(), OpenError> {
    let attempt = "create the journal file";
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(|source| refine(attempt, directory, file, source))
}

/// An IO error with its advice.
pub(super) fn refine(attempt: &'static str, directory: &Path, path: &Path, source: io::Error) -> OpenError {
    let kind = source.kind();
    if matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        return OpenError::ReadOnly { path: directory.to_owned(), source };
    }
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return OpenError::Full { path: directory.to_owned() };
    }
    OpenError::Io { attempt, path: path.to_owned(), source }
}

#[cfg(target_os = "linux")]
#[expect(clippy::useless_conversion, reason = "the field is 32 bits wide on some architectures")]
fn refuse_network(path: &Path) -> Result<(), OpenError> {
    let stat = rustix::fs::statfs(path)
        .map_err(|errno| refine("look at the filesystem of", path, path, errno.into()))?;
    match network_filesystem(i64::from(stat.f_type)) {
        Some(kind) => Err(OpenError::NetworkFilesystem { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_path: &Path) -> Result<(), OpenError> {
    Ok(())
}

/// The name of a filesystem that is shared over a network, by its magic number (`statfs(2)`, `linux/magic.h`).
///
/// FUSE is let through: it carries local disks too (virtiofs under desktop virtual machines among them), and does not say which.
#[cfg(target_os = "linux")]
fn network_filesystem(magic: i64) -> Option<&'static str> {
    // The field is signed or not, 32 or 64 bits wide, by architecture; the magic numbers are 32 bits.
    match magic & 0xFFFF_FFFF {
        0x6969 => Some("NFS"),
        0x517B | 0xFE53_4D42 | 0xFF53_4D42 => Some("SMB"),
        0x0102_1997 => Some("9p"),
        0x5346_414F | 0x6B41_4653 => Some("AFS"),
        0x00C3_6400 => Some("Ceph"),
        0x7375_7245 => Some("Coda"),
        0x0BD0_0BD0 => Some("Lustre"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636F => Some("OCFS2"),
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_filesystems_are_known_by_number_and_local_ones_are_let_through() {
        for (magic, kind) in [(0x6969, "NFS"), (0xFF53_4D42, "SMB"), (0x0102_1997, "9p")] {
            assert_eq!(network_filesystem(magic), Some(kind));
        }
        // The same number as a 32-bit architecture hands it over: sign-extended.
        assert_eq!(network_filesystem(i64::from(0xFF53_4D42_u32.cast_signed())), Some("SMB"));
        for local in [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E, 0x6573_5546] {
            assert_eq!(network_filesystem(local), None);
        }
    }

    #[test]
    fn a_dropped_directory_is_free_even_while_a_starting_process_shares_its_lock_file() {
        let home = tempfile::tempdir().unwrap();
        let owned = DataDirectory::claim(home.path()).unwrap();
        let shared = owned.lock.try_clone().unwrap();
        assert!(matches!(DataDirectory::claim(home.path()), Err(OpenError::Owned { .. })));
        drop(owned);
        DataDirectory::claim(home.path()).unwrap();
        drop(shared);
    }

    #[test]
    fn the_owner_is_read_from_the_lock_file_however_it_looks() {
        assert_eq!(pid("pid 42\nstate open\n"), Some(42));
        for odd in ["", "pid", "pid x\n", "pid 99999999999\n", "state open"] {
            assert_eq!(pid(odd), None);
        }
    }
}
