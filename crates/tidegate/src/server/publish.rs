//! Artifacts: written when a deployment has ended, and at the next start when the engine died in between.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tidegate_core::deployment::Recorded;
use tidegate_engine::{
    journal::{Filter, History, Standing},
    run,
};

use crate::artifacts;

/// Ended deployments that are looked at when the engine starts, newest first: more than can end within one moment.
const LOOKED_AT: usize = 64;

/// Writes a deployment's artifacts when it has ended.
pub(super) fn publisher(directory: PathBuf) -> tidegate_adapters::local::Publisher {
    Arc::new(move |history: &[Recorded]| write(&directory, history))
}

/// Writes what the engine did not come to before it died. Trouble is logged and keeps nobody waiting.
pub(super) async fn missing(journal: &impl History, directory: &Path) {
    let filter = Filter { standing: Some(Standing::Ended), limit: Some(LOOKED_AT), ..Filter::default() };
    let ended = match journal.deployments(filter).await {
        Ok(ended) => ended,
        Err(why) => return tracing::warn!(%why, "cannot look for deployments without artifacts"),
    };
    for kept in ended.iter().filter(|kept| !artifacts::are_there(directory, &kept.deployment)) {
        match run::history(journal, &kept.deployment).await {
            Ok(history) => write(directory, &history),
            Err(why) => tracing::warn!(deployment = kept.deployment, %why, "no artifacts"),
        }
    }
}

fn write(directory: &Path, history: &[Recorded]) {
    if let Err(why) = artifacts::write(directory, history) {
        tracing::error!(%why, "the artifacts could not be written; `tidegate artifacts` writes them again");
    }
}
