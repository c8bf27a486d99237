//! The files that every deployment leaves behind.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};
use tidegate_core::{
    deployment::{Event, Recorded, fold},
    view,
};

use crate::fault::Fault;

/// Writes a deployment's artifacts and says where: `deployment_artifact_{id}.json`, `deployment_{id}.json` (the
/// transitions), `evidence_{id}.json`, `manifest_{id}.json` (what was applied) and, where a score was worked out,
/// `confidence_{id}.json`. Writing them again writes the same.
pub(crate) fn write(directory: &Path, history: &[Recorded]) -> Result<Vec<PathBuf>, Fault> {
    let Some((plan, _)) = fold(history) else {
        return Err(Fault::trouble("the history does not begin with a plan, so there is nothing to write"));
    };
    fs::create_dir_all(directory).map_err(|error| trouble(directory, &error))?;
    let id = &plan.deployment;
    let text = serde_json::to_vec(&plan).map_err(Fault::internal)?;
    let plan_digest: String =
        Sha256::digest(&text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let mut artifact = serde_json::to_value(view::artifact(history)).map_err(Fault::internal)?;
    if let Some(fields) = artifact.as_object_mut() {
        fields.insert("plan_digest".to_owned(), format!("sha256:{plan_digest}").into());
    }
    let evidence = serde_json::to_value(view::evidence(history)).map_err(Fault::internal)?;
    let log = serde_json::to_value(view::state_log(history)).map_err(Fault::internal)?;
    let requested = history.first().and_then(|first| {
        if let Event::Planned { request, .. } = &first.event { Some(request.strategy.clone()) } else { None }
    });
    // What was applied, under the name of the target that understands it.
    let applied: Option<serde_json::Value> = serde_json::from_str(&plan.release.spec.json).ok();
    let manifest = serde_json::json!({
        "release": plan.release,
        plan.release.spec.kind.as_str(): applied,
        "strategy": requested,
        "plan": plan,
    });
    let confidence =
        view::confidence(history).map(serde_json::to_value).transpose().map_err(Fault::internal)?;
    [
        (format!("deployment_artifact_{id}.json"), artifact),
        (format!("deployment_{id}.json"), log),
        (format!("evidence_{id}.json"), evidence),
        (format!("manifest_{id}.json"), manifest),
    ]
    .into_iter()
    .chain(confidence.map(|report| (format!("confidence_{id}.json"), report)))
    .map(|(name, value)| replace(&directory.join(name), &value))
    .collect()
}

/// Writes beside the place and renames, so that nobody reads half a file. What is there already is left alone: the
/// newest artifacts are asked for at every start. The disk is not waited for, for the same reason: what a loss of power
/// takes is written again from the journal.
fn replace(path: &Path, value: &serde_json::Value) -> Result<PathBuf, Fault> {
    // The engine and the command line may write the same file at once, each its own half.
    static HALVES: AtomicU64 = AtomicU64::new(0);
    let number = HALVES.fetch_add(1, Ordering::Relaxed);
    let half = path.with_extension(format!("json.{}-{number}.part", std::process::id()));
    let mut text = serde_json::to_vec_pretty(value).map_err(Fault::internal)?;
    text.push(b'\n');
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(path.to_owned());
    }
    fs::write(&half, &text).and_then(|()| fs::rename(&half, path)).map_err(|error| {
        drop(fs::remove_file(&half));
        trouble(path, &error)
    })?;
    Ok(path.to_owned())
}

fn trouble(path: &Path, error: &std::io::Error) -> Fault {
    Fault::trouble(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_writes_the_same_file_at_once_succeeds_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deployment_shop-1.json");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..25 {
                        replace(path, &serde_json::json!([writer, number])).expect("written");
                    }
                });
            }
        });
        let there: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(there.len(), 1, "{there:?}");
        let last: [u32; 2] = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
        assert_eq!(last[1], 24);
    }
}
