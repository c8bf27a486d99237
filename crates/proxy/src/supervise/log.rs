//! Output of instances: `logs/{service}/{release}/{number}.log`, rotated to `.log.1`, `.log.2` and so on.
//!
//! The writer holds the file itself, so a log is rotated by copying and then emptying it: what is written between the
//! two, a few microseconds, is lost. Nothing else could keep the output whole while the supervisor is killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The last output that a status carries, bytes.
const TAIL_BYTES_MAX: u64 = 2 * 1_024;
/// Log folders of forgotten releases kept per service.
const FORGOTTEN_RELEASES_MAX: usize = 10;

/// Folder of one service's logs.
pub(super) fn service_folder(dir: &Path, service: &str) -> PathBuf {
    dir.join("logs").join(service)
}

/// Path of one instance's current log.
pub(super) fn path(dir: &Path, service: &str, release: &str, number: u32) -> PathBuf {
    service_folder(dir, service).join(release).join(format!("{number}.log"))
}

/// Creates a folder and those above it, for the owner only.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a log for appending and answers its length.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Rotates the log when it is larger than `size_max`; answers whether it did.
pub(super) fn rotate(path: &Path, size_max: u64, files_max: u32) -> io::Result<bool> {
    if fs::metadata(path).map_or(0, |meta| meta.len()) <= size_max {
        return Ok(false);
    }
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        PathBuf::from(name)
    };
    for n in (1..files_max).rev().filter(|n| numbered(*n).exists()) {
        fs::rename(numbered(n), numbered(n + 1))?;
    }
    if files_max > 0 {
        fs::copy(path, numbered(1))?;
    }
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    Ok(true)
}

/// The last lines written since the file was `from` bytes long, without control characters; `None` when there are none.
pub(super) fn tail(path: &Path, from: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // A file shorter than it was has been rotated: all of it is newer.
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_BYTES_MAX)))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = plain(&String::from_utf8_lossy(&bytes));
    (!text.is_empty()).then_some(text)
}

/// Deletes the oldest log folders of a service beyond a fixed number, never those of the `kept` releases.
pub(super) fn prune(dir: &Path, service: &str, kept: &[String]) -> io::Result<()> {
    let folder = service_folder(dir, service);
    let mut forgotten = Vec::new();
    for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
        if !kept.iter().any(|release| entry.file_name() == release.as_str()) {
            forgotten.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    forgotten.sort();
    let surplus = forgotten.len().saturating_sub(FORGOTTEN_RELEASES_MAX);
    forgotten.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_dir_all(path))
}

/// Leaves out terminal control sequences and control characters other than newline and tab.
fn plain(text: &str) -> String {
    let mut rest = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.peek() == Some(&'[') {
            // ECMA-48 control sequence: parameters, then one final byte from `@` to `~`.
            rest.next();
            rest.find(|c| ('@'..='~').contains(c));
        } else if !c.is_control() || c == '\n' || c == '\t' {
            plain.push(c);
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_rotated_and_its_writer_goes_on_at_the_start_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/1.log");
        let (mut file, _) = open(&path).unwrap();
        for text in ["first first", "second second", "third third"] {
            file.write_all(text.as_bytes()).unwrap();
            assert!(rotate(&path, 10, 2).unwrap());
        }
        file.write_all(b"now").unwrap();
        assert!(!rotate(&path, 10, 2).unwrap());
        let read = |name| fs::read_to_string(folder.path().join("a").join(name)).ok();
        assert_eq!(read("1.log").as_deref(), Some("now"));
        assert_eq!(read("1.log.1").as_deref(), Some("third third"));
        assert_eq!(read("1.log.2").as_deref(), Some("second second"));
        assert_eq!(read("1.log.3"), None);
    }

    #[test]
    fn a_tail_is_bounded_plain_and_of_this_life_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        fs::write(&path, "old\n\u{1b}[31mred\u{1b}[0m\u{7}\ttext\n").unwrap();
        assert_eq!(tail(&path, 4).as_deref(), Some("red\ttext"));
        assert_eq!(tail(&path, fs::metadata(&path).unwrap().len()), None);
        fs::write(&path, "x".repeat(5_000)).unwrap();
        assert_eq!(tail(&path, 0).unwrap().len(), 2_048);
    }

    #[test]
    fn logs_of_the_ten_newest_forgotten_releases_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..14 {
            create_folder(&service_folder(folder.path(), "web").join(format!("r{n:02}"))).unwrap();
        }
        prune(folder.path(), "web", &["r00".to_owned()]).unwrap();
        let left = fs::read_dir(service_folder(folder.path(), "web")).unwrap().count();
        assert_eq!(left, 11);
        assert!(service_folder(folder.path(), "web").join("r00").exists());
    }
}
