//! `replay`: every verdict of a deployment computed once more from the batches that were kept.

use clap::Args;
use tidegate_engine::{
    evidence,
    replay::{Comparison, Replayed, replay as compute},
};

use super::{
    Common,
    control::which,
    out::{say, sayln},
    print_json,
};
use crate::{
    fault::{Exit, Fault},
    render,
};

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// The deployment, or a service: its newest; default: the one under way, else the newest.
    deployment: Option<String>,
}

pub(super) async fn replay(common: &Common, args: ReplayArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    let history = client.history(&id).await?;
    let chunks = match client.journal()? {
        Some(journal) => evidence::chunks(&journal, &id).await.map_err(Fault::world)?,
        None => Vec::new(),
    };
    let verdicts = compute(&history, &chunks);
    let differing = verdicts.iter().filter(|one| matches!(one.outcome, Comparison::Differs { .. })).count();
    if common.json {
        let rows: Vec<_> = verdicts.iter().map(row).collect();
        print_json(&serde_json::json!({ "deployment": id, "verdicts": rows, "identical": differing == 0 }))?;
    } else if verdicts.is_empty() {
        sayln!("{id}: no gate was asked yet");
    } else {
        for verdict in &verdicts {
            say!("{}", render::replayed(verdict));
        }
        sayln!("{id}: {}", outcome(&verdicts, differing));
    }
    if differing == 0 {
        return Ok(Exit::Success);
    }
    Err(Fault::trouble(format!(
        "{differing} of {} verdicts of {id} do not follow from their evidence: the journal was changed, or another version of \
         tidegate decided; `tidegate audit {id}` tells which",
        verdicts.len()
    )))
}

fn row(verdict: &Replayed) -> serde_json::Value {
    let (outcome, more) = match &verdict.outcome {
        Comparison::Identical => ("identical", None),
        Comparison::Differs { events } => ("differs", serde_json::to_value(events).ok()),
        Comparison::NoEvidence { why } => ("no_evidence", Some(serde_json::json!(why))),
    };
    serde_json::json!({
        "seq": verdict.seq, "at_unix_ms": verdict.at.0, "stage": verdict.stage, "batches": verdict.batches,
        "judgements": verdict.judgements, "outcome": outcome, "instead": more,
    })
}

fn outcome(verdicts: &[Replayed], differing: usize) -> String {
    let missing = verdicts.iter().filter(|one| matches!(one.outcome, Comparison::NoEvidence { .. })).count();
    let same = verdicts.len() - differing - missing;
    let mut said = format!("{same} of {} verdicts follow bit by bit from their evidence", verdicts.len());
    if missing > 0 {
        said = format!("{said}; for {missing} it is not kept any more");
    }
    said
}
