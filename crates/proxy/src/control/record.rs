//! A service's table on disk: one file each, replaced as a whole, written before it is in force.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::protocol::ServiceTable;

/// Format of the files; another one is refused.
const VERSION: u32 = 1;
/// Largest file read, bytes.
const SIZE_MAX: u64 = 16 * 1024 * 1024;

/// What is kept of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) service: String,
    /// Highest epoch seen, kept when the service is deleted.
    pub(crate) epoch: u64,
    /// The table; `None` once the service was deleted.
    pub(crate) table: Option<ServiceTable>,
    /// When the table's lease ended, milliseconds since the Unix epoch.
    pub(crate) lease_ended_at_unix_ms: Option<i64>,
}

/// Why the stored tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file or its folder cannot be read.
    #[error("cannot read the stored table {}: restore it or remove it, then start again", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("the stored table {} is damaged: restore it or remove it, then start again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file was written by a newer program.
    #[error("the stored table {} has format {found}, this program knows format {VERSION}: use the program that wrote it", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The format it names.
        found: u64,
    },
}

impl Record {
    pub(crate) fn new(table: ServiceTable) -> Self {
        Self {
            version: VERSION,
            service: table.service.clone(),
            epoch: table.epoch,
            table: Some(table),
            lease_ended_at_unix_ms: None,
        }
    }

    /// What stays of a deleted service: its epoch, so that a late writer of an older one is still refused.
    pub(crate) fn deleted(service: &str, epoch: u64) -> Self {
        Self {
            version: VERSION,
            service: service.to_owned(),
            epoch,
            table: None,
            lease_ended_at_unix_ms: None,
        }
    }

    /// Writes the record; it survives a crash once this returns.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let folder = folder(data);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.service));
        let temporary = folder.join(format!(".{}.new", self.service));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(&folder)?.sync_all()
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join("tables")
}

/// All stored records, by service.
pub(crate) fn read_records(data: &Path) -> Result<Vec<Record>, RecordError> {
    let folder = folder(data);
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| RecordError::Unreadable { path, source }
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(&folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(&folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Record, RecordError> {
    let unreadable = |source| RecordError::Unreadable { path: path.to_owned(), source };
    let damaged = |source| RecordError::Damaged { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > SIZE_MAX {
        return Err(unreadable(io::Error::other("it is larger than any table can be")));
    }
    let bytes = fs::read(path).map_err(unreadable)?;
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(VERSION) => {
            Err(RecordError::OtherVersion { path: path.to_owned(), found })
        }
        Some(_) | None => serde_json::from_value(value).map_err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_and_half_written_files_are_ignored() {
        let data = tempfile::tempdir().expect("directory");
        let record = Record::deleted("shop", 7);
        record.write(data.path()).expect("written");
        fs::write(data.path().join("tables/.shop.new"), "{").expect("torn");
        assert_eq!(read_records(data.path()).expect("read"), vec![record]);
    }

    #[test]
    fn damaged_and_newer_files_are_refused_by_name() {
        let data = tempfile::tempdir().expect("directory");
        fs::create_dir(data.path().join("tables")).expect("folder");
        for (text, expected) in
            [("{\"version\":1,", "damaged"), ("{\"version\":2}", "format 2"), ("", "damaged")]
        {
            fs::write(data.path().join("tables/shop.json"), text).expect("written");
            let error = read_records(data.path()).expect_err("refused").to_string();
            assert!(error.contains("shop.json") && error.contains(expected), "{error}");
        }
    }
}
