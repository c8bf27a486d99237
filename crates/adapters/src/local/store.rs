//! The release store: files copied once into a directory named by their content, never changed afterwards.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::spec::Source;

/// Files in one release; a project with more should name what it needs.
pub(super) const FILES_MAX: usize = 100_000;

/// Bytes in one release.
pub(super) const BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Folders that never belong to a release.
const NEVER: [&str; 2] = [".git", ".tidegate"];

/// Why files make no release.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A named file or folder is not there.
    #[error("`{file}` is not in {root}: build it first, or correct `run.files`")]
    Missing {
        /// As it was written.
        file: String,
        /// The project.
        root: PathBuf,
    },
    /// A name leads out of the project.
    #[error("`{file}` leads out of the project: only files below {root} can be part of a release")]
    Outside {
        /// As it was written, or the link.
        file: String,
        /// The project.
        root: PathBuf,
    },
    /// A device, a socket or a pipe.
    #[error("`{}` is neither a file, a folder nor a link: leave it out with `run.exclude`", path.display())]
    Special {
        /// Which.
        path: PathBuf,
    },
    /// Nothing is left.
    #[error("no file is left for the release: see `run.files` and `run.exclude`")]
    Nothing,
    /// Too much.
    #[error(
        "the release has more than {FILES_MAX} files or {BYTES_MAX} bytes: name what it needs in `run.files`"
    )]
    TooMuch,
    /// The files are not what was planned.
    #[error("the files in {root} changed after the plan was made: plan again")]
    Changed {
        /// The project.
        root: PathBuf,
    },
    /// The store or the project cannot be read or written.
    #[error("cannot {attempt} {}", path.display())]
    Io {
        /// What.
        attempt: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a release consists of: path below the project → entry, and the digest of all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// SHA-256 over every entry's path, kind, mode and content, in order; 64 hex digits.
    pub sha256: String,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File { executable: bool, sha256: [u8; 32] },
    Link { to: PathBuf },
}

impl Manifest {
    /// Number of files and links.
    pub fn files(&self) -> usize {
        self.entries.len()
    }

    /// Reads a project's files.
    pub fn read(source: &Source) -> Result<Self, BuildError> {
        let mut reader = Reader { source, entries: BTreeMap::new(), bytes: 0 };
        for file in &source.files {
            reader.add(&below(file, &source.root)?)?;
        }
        if reader.entries.is_empty() {
            return Err(BuildError::Nothing);
        }
        Ok(Self::of(reader.entries))
    }

    fn of(entries: BTreeMap<PathBuf, Entry>) -> Self {
        let mut all = Sha256::new();
        let mut part = |bytes: &[u8]| {
            all.update((bytes.len() as u64).to_be_bytes());
            all.update(bytes);
        };
        for (path, entry) in &entries {
            part(path.as_os_str().as_encoded_bytes());
            match entry {
                Entry::File { executable, sha256 } => {
                    part(if *executable { b"program" } else { b"file" });
                    part(sha256);
                }
                Entry::Link { to } => {
                    part(b"link");
                    part(to.as_os_str().as_encoded_bytes());
                }
            }
        }
        let sha256 = all.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Self { sha256, entries }
    }
}

/// A path of a release, made of names only.
fn below(file: &str, root: &Path) -> Result<PathBuf, BuildError> {
    let outside = || BuildError::Outside { file: file.to_owned(), root: root.to_owned() };
    let mut clean = PathBuf::new();
    for part in Path::new(file).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    Ok(clean)
}

struct Reader<'a> {
    source: &'a Source,
    entries: BTreeMap<PathBuf, Entry>,
    bytes: u64,
}

impl Reader<'_> {
    fn add(&mut self, path: &Path) -> Result<(), BuildError> {
        if path.components().any(|part| NEVER.iter().any(|never| part.as_os_str() == *never))
            || self.excluded(path)
        {
            return Ok(());
        }
        let full = self.source.root.join(path);
        let kind = fs::symlink_metadata(&full).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                BuildError::Missing { file: path.display().to_string(), root: self.source.root.clone() }
            } else {
                BuildError::Io { attempt: "read", path: full.clone(), source }
            }
        })?;
        if kind.is_dir() {
            return self.folder(path, &full);
        }
        if self.entries.len() >= FILES_MAX || self.bytes > BYTES_MAX {
            return Err(BuildError::TooMuch);
        }
        let entry = if kind.is_symlink() {
            self.link(path, &full)?
        } else if kind.is_file() {
            self.bytes += kind.len();
            let executable = kind.permissions().mode() & 0o111 != 0;
            Entry::File { executable, sha256: hash(&full, &mut io::sink())? }
        } else {
            return Err(BuildError::Special { path: full });
        };
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    fn folder(&mut self, path: &Path, full: &Path) -> Result<(), BuildError> {
        let read = |source| BuildError::Io { attempt: "read the folder", path: full.to_owned(), source };
        for inside in fs::read_dir(full).map_err(read)? {
            self.add(&path.join(inside.map_err(read)?.file_name()))?;
        }
        Ok(())
    }

    /// A link may point anywhere inside the project, and nowhere else.
    fn link(&self, path: &Path, full: &Path) -> Result<Entry, BuildError> {
        let to = fs::read_link(full).map_err(|source| BuildError::Io {
            attempt: "read the link",
            path: full.to_owned(),
            source,
        })?;
        let outside =
            || BuildError::Outside { file: path.display().to_string(), root: self.source.root.clone() };
        let mut depth = path.components().count().saturating_sub(1);
        for part in to.components() {
            match part {
                Component::Normal(_) => depth += 1,
                Component::CurDir => {}
                Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(outside)?,
                Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        Ok(Entry::Link { to })
    }

    fn excluded(&self, path: &Path) -> bool {
        let whole = path.to_string_lossy();
        let name = path.file_name().map(std::ffi::OsStr::to_string_lossy).unwrap_or_default();
        self.source.exclude.iter().any(|glob| {
            fast_glob::glob_match(glob, whole.as_bytes()) || fast_glob::glob_match(glob, name.as_bytes())
        })
    }
}

/// Hashes a file while it is copied to `into`.
fn hash(path: &Path, into: &mut impl Write) -> Result<[u8; 32], BuildError> {
    let io = |source| BuildError::Io { attempt: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(io)?;
        let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else {
            return Ok(hash.finalize().into());
        };
        hash.update(chunk);
        into.write_all(chunk).map_err(|source| BuildError::Io {
            attempt: "copy",
            path: path.to_owned(),
            source,
        })?;
    }
}

/// Where releases lie.
#[derive(Clone, Debug)]
pub struct ReleaseStore {
    root: PathBuf,
}

impl ReleaseStore {
    /// The store below a data directory.
    pub fn new(data: &Path) -> Self {
        Self { root: data.join("releases") }
    }

    /// The directory of a release's files, whether it is there or not.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.root.join(sha256.get(..32).unwrap_or(sha256))
    }

    /// Whether a release's files are there, complete.
    pub fn has(&self, sha256: &str) -> bool {
        self.path(sha256).is_dir()
    }

    /// Brings a release's files into the store; nothing to do when they are there. The copy is made beside its place,
    /// compared with the planned digest, synced and then renamed, so that a directory with a digest's name is whole.
    pub fn bring(&self, source: &Source, sha256: &str) -> Result<PathBuf, BuildError> {
        let place = self.path(sha256);
        if place.is_dir() {
            return Ok(place);
        }
        let manifest = Manifest::read(source)?;
        let changed = || BuildError::Changed { root: source.root.clone() };
        if manifest.sha256 != sha256 {
            return Err(changed());
        }
        let io = |attempt, path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::Io { attempt, path, source }
        };
        let copy = self.root.join(format!(".{}-{}", sha256.get(..16).unwrap_or(sha256), std::process::id()));
        remove(&copy)?;
        fs::create_dir_all(&copy).map_err(io("make", &copy))?;
        for (path, entry) in &manifest.entries {
            let to = copy.join(path);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(io("make", folder))?;
            }
            match entry {
                Entry::Link { to: target } => symlink(target, &to).map_err(io("link", &to))?,
                Entry::File { executable, sha256 } => {
                    let mode = if *executable { 0o555 } else { 0o444 };
                    let mut file = fs::OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(mode)
                        .open(&to)
                        .map_err(io("write", &to))?;
                    if hash(&source.root.join(path), &mut file)? != *sha256 {
                        return Err(changed());
                    }
                    // The process's mask may have taken bits away.
                    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(io("write", &to))?;
                    file.sync_all().map_err(io("sync", &to))?;
                }
            }
        }
        fs::rename(&copy, &place).map_err(io("rename into", &place))?;
        File::open(&self.root).and_then(|folder| folder.sync_all()).map_err(io("sync", &self.root))?;
        Ok(place)
    }

    /// Removes the files of every release that is not in `keep` (digests) and was brought longer ago than `older_than`:
    /// a younger one may belong to a deployment that is just being written down. Returns how many were removed.
    pub fn prune(&self, keep: &[String], older_than: Duration) -> Result<usize, BuildError> {
        let kept: Vec<PathBuf> = keep.iter().map(|sha256| self.path(sha256)).collect();
        let read = |source| BuildError::Io { attempt: "read the folder", path: self.root.clone(), source };
        let mut removed = 0;
        if !self.root.is_dir() {
            return Ok(0);
        }
        for entry in fs::read_dir(&self.root).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            // A folder without a readable time counts as young.
            let changed = entry.metadata().and_then(|data| data.modified()).ok();
            let old = changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= older_than);
            if old && !kept.contains(&path) {
                remove(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn remove(path: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BuildError::Io { attempt: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let full = root.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, content).unwrap();
        }
        let source =
            Source { root: root.path().to_owned(), files: vec![".".to_owned()], exclude: Vec::new() };
        (root, source)
    }

    #[test]
    fn the_digest_follows_content_mode_and_path_and_nothing_else() {
        let (_root, source) = project(&[("a/b", "1"), ("c", "2"), (".git/x", "3"), (".tidegate/y", "4")]);
        let before = Manifest::read(&source).unwrap();
        assert_eq!(before.files(), 2, "version control and our own data are left out");
        fs::write(source.root.join(".git/x"), "changed").unwrap();
        assert_eq!(Manifest::read(&source).unwrap(), before);
        fs::set_permissions(source.root.join("c"), fs::Permissions::from_mode(0o755)).unwrap();
        let executable = Manifest::read(&source).unwrap();
        assert_ne!(executable.sha256, before.sha256);
        fs::write(source.root.join("c"), "3").unwrap();
        assert_ne!(Manifest::read(&source).unwrap().sha256, executable.sha256);
    }

    #[test]
    fn a_brought_release_is_read_only_and_survives_changes_of_the_project() {
        let (_root, source) = project(&[("run.sh", "echo 1"), ("x.log", "noise")]);
        let source = Source { exclude: vec!["*.log".to_owned()], ..source };
        let data = tempfile::tempdir().unwrap();
        let store = ReleaseStore::new(data.path());
        let sha256 = Manifest::read(&source).unwrap().sha256;
        let place = store.bring(&source, &sha256).unwrap();
        fs::write(source.root.join("run.sh"), "echo 2").unwrap();
        assert_eq!(store.bring(&source, &sha256).unwrap(), place, "what is there is left alone");
        assert_eq!(fs::read_to_string(place.join("run.sh")).unwrap(), "echo 1");
        assert_eq!(fs::metadata(place.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o444);
        assert!(!place.join("x.log").exists());
        assert_eq!(store.prune(std::slice::from_ref(&sha256), Duration::ZERO).unwrap(), 0);
        assert_eq!(store.prune(&[], Duration::from_mins(1)).unwrap(), 0, "it is young");
        assert_eq!(store.prune(&[], Duration::ZERO).unwrap(), 1);
        assert!(matches!(store.bring(&source, &sha256), Err(BuildError::Changed { .. })));
    }

    #[test]
    fn names_and_links_that_lead_out_of_the_project_are_refused() {
        let (_root, source) = project(&[("a/b", "1")]);
        for file in ["../x", "/etc/passwd", "a/../../x"] {
            let source = Source { files: vec![file.to_owned()], ..source.clone() };
            assert!(matches!(Manifest::read(&source), Err(BuildError::Outside { .. })), "{file}");
        }
        symlink("../../etc/passwd", source.root.join("a/link")).unwrap();
        assert!(matches!(Manifest::read(&source), Err(BuildError::Outside { .. })));
        let missing = Source { files: vec!["nope".to_owned()], ..source };
        assert!(Manifest::read(&missing).unwrap_err().to_string().contains("`nope` is not in"));
    }
}
