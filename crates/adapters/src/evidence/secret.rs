//! Secrets: read late, never shown.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

/// Longest secret that is read.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A password or a token. It can not be printed; [`Secret::expose`] is the one way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is read from, each time it is needed: a token that is rotated on disk is taken up without a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable of this process.
    Environment(String),
    /// A file; blanks at its end are cut off.
    File(PathBuf),
}

/// Why a secret can not be read. Says where it should have been, never what it is.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or not text.
    #[error("the environment variable `{0}` with the secret is not set; set it for the server's process")]
    NotSet(String),
    /// The file can not be read.
    #[error("can not read the secret from {path}; check that the file exists and is readable for the server")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is empty, too long, or no text that a header can carry.
    #[error(
        "the secret from {0} is empty, longer than {SECRET_BYTES_MAX} bytes, or has control characters in it"
    )]
    Unusable(String),
}

impl SecretSource {
    /// Reads it now. Files are small and local; the caller need not leave the runtime for it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (place, text) = match self {
            Self::Environment(name) => {
                let text = std::env::var(name).map_err(|_| SecretError::NotSet(name.clone()))?;
                (format!("the environment variable `{name}`"), text)
            }
            Self::File(path) => (path.display().to_string(), file(path)?),
        };
        let text = text.trim_end();
        let too_long = u64::try_from(text.len()).is_ok_and(|length| length > SECRET_BYTES_MAX);
        if text.is_empty() || too_long || text.chars().any(char::is_control) {
            return Err(SecretError::Unusable(place));
        }
        Ok(Secret::new(text))
    }
}

fn file(path: &Path) -> Result<String, SecretError> {
    let unreadable = |source| SecretError::Unreadable { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_anew_each_time_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = SecretSource::File(path.clone());
        assert!(source.read().unwrap_err().to_string().contains("can not read the secret from"));
        for token in ["first", "second"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            let secret = source.read().unwrap();
            assert_eq!(secret.expose(), token);
            assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        }
        for bad in ["", "\n", "a\nb", &"x".repeat(70_000)] {
            std::fs::write(&path, bad).unwrap();
            let error = source.read().unwrap_err().to_string();
            assert!(error.contains("is empty, longer"), "{error}");
        }
        let unset = SecretSource::Environment("TIDEGATE_NO_SUCH_VARIABLE".into());
        assert!(unset.read().unwrap_err().to_string().contains("TIDEGATE_NO_SUCH_VARIABLE"));
    }
}
