//! Where things lie: the data directory and what is in it.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::fault::Fault;

/// Longest path of a Unix socket on Linux, bytes, without the closing zero.
const SOCKET_PATH_MAX: usize = 107;

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// The directory that was named, else `.tidegate` beside the configuration (or in the present directory).
    pub(crate) fn choose(named: Option<&Path>, beside: Option<&Path>) -> Result<Self, Fault> {
        let root = match (named, beside) {
            (Some(named), _) => named.to_owned(),
            (None, Some(config)) => config.join(".tidegate"),
            (None, None) => PathBuf::from(".tidegate"),
        };
        let root = std::path::absolute(&root).map_err(Fault::world)?;
        let place = Self { root };
        let longest = place.proxy_socket();
        if longest.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(Fault::refuse(format!(
                "the data directory {} is too deep: {} would be longer than the {SOCKET_PATH_MAX} bytes of a socket's \
                 path; choose a shorter one with --data or TIDEGATE_DATA",
                place.root.display(),
                longest.display()
            )));
        }
        Ok(place)
    }

    /// Makes the directory. Others may pass through it, because instances that run as another user start in a release
    /// below it; what is theirs to know nothing of is closed by its own mode.
    pub(crate) fn make(&self) -> Result<(), Fault> {
        fs::DirBuilder::new().recursive(true).mode(0o711).create(&self.root).map_err(|error| {
            Fault::trouble(format!("cannot make the data directory {}: {error}", self.root.display()))
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("engine.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// What tells this data directory from every other wherever it leaves its mark: made once, and kept.
    pub(crate) fn owner(&self) -> Result<String, Fault> {
        use std::hash::{BuildHasher as _, RandomState};
        if let Some(owner) = self.owner_known()? {
            return Ok(owner);
        }
        let path = self.root.join("owner");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let owner =
            format!("{}-{:08x}", host.trim(), RandomState::new().hash_one(std::process::id()) & 0xffff_ffff);
        fs::write(&path, &owner).map_err(|error| unkept(&path, &error))?;
        Ok(owner)
    }

    /// The same, where it was made already.
    pub(crate) fn owner_known(&self) -> Result<Option<String>, Fault> {
        let path = self.root.join("owner");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|owner| !owner.is_empty())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unkept(&path, &error)),
        }
    }

    fn proxy_socket(&self) -> PathBuf {
        self.root.join("proxy").join("admin.sock")
    }
}

fn unkept(path: &Path, error: &std::io::Error) -> Fault {
    Fault::trouble(format!("cannot keep {}: {error}", path.display()))
}
