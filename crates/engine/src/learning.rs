//! What a service's past says of how it varies by itself, kept beside the journal: margins of the next deployment.

use tidegate_core::{
    judge::{Batch, Learned, learn},
    plan::Plan,
};

use crate::{
    evidence::{EvidenceError, chunks},
    journal::{AppendError, History, Journal, ReadError},
};

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The batches cannot be read.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// What was known cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is known now cannot be kept.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// What is known now cannot be written as JSON.
    #[error("what was learned cannot be written")]
    Encode(#[from] serde_json::Error),
}

/// What is known of a service; nothing when nothing was learned, or when another version wrote it.
pub async fn learned<H: History>(
    journal: &H,
    service: &str,
    environment: &str,
) -> Result<Option<Learned>, ReadError> {
    let kept = journal.meta(&key(service, environment)).await?;
    Ok(kept.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Learns from the batches of a deployment that has ended. Done again after a crash it may count them twice, which moves
/// a slow average by a hair.
pub(crate) async fn learn_from<J: Journal>(journal: &J, plan: &Plan) -> Result<(), LearnError> {
    let batches: Vec<Batch> =
        chunks(journal, &plan.deployment).await?.into_iter().flat_map(|(_, chunk)| chunk.batches).collect();
    if batches.is_empty() {
        return Ok(());
    }
    let before = learned(journal, &plan.service, &plan.environment).await?;
    let now = learn(before.as_ref(), &batches);
    let text = serde_json::to_string(&now)?;
    Ok(journal.put_meta(&key(&plan.service, &plan.environment), &text).await?)
}

fn key(service: &str, environment: &str) -> String {
    format!("learned/{service}/{environment}")
}
