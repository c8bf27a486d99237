//! A release's own description, which its target alone understands: JSON beside the name of the target's kind.

use serde::{Serialize, de::DeserializeOwned};
use tidegate_core::model::{Release, TargetSpec};

/// Why a stored description is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Another target's.
    #[error("release {release} belongs to a target of kind `{kind}`, not `{wanted}`")]
    Kind {
        /// The release.
        release: String,
        /// Its kind.
        kind: String,
        /// The kind that asked.
        wanted: &'static str,
    },
    /// Not readable.
    #[error("the description of release {release} cannot be read; it was made by another version")]
    Malformed {
        /// The release.
        release: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the description of a release for a target of this kind.
pub fn read<S: DeserializeOwned>(release: &Release, kind: &'static str) -> Result<S, SpecError> {
    if release.spec.kind != kind {
        let (release, other) = (release.tag.clone(), release.spec.kind.clone());
        return Err(SpecError::Kind { release, kind: other, wanted: kind });
    }
    serde_json::from_str(&release.spec.json)
        .map_err(|source| SpecError::Malformed { release: release.tag.clone(), source })
}

/// The description as a release keeps it.
pub fn write<S: Serialize>(spec: &S, kind: &str) -> Result<TargetSpec, serde_json::Error> {
    Ok(TargetSpec { kind: kind.to_owned(), json: serde_json::to_string(spec)?, place: None })
}
