//! What is known of a release, read where the project is: the change, its coverage, the safety gates' report.

use std::path::Path;

use tidegate_adapters::facts::{
    coverage::{CoverageReport, Origin, coverage_of},
    git::{self, Change},
    safety,
};
use tidegate_core::{
    confidence::{Absence, Factor, FactorKind, Points, change_complexity, safety_score},
    model::{Release, Timestamp},
    plan::{Known, Request},
};

use crate::{config::confidence::Confidence, fault::Fault};

/// Fills in what is known of the request's release beside the stable one, which the request has already. `root` is the
/// project's directory. Reports that cannot be understood are refused.
pub(in crate::cli) async fn know(
    root: &Path,
    configured: &Confidence,
    request: &mut Request,
) -> Result<(), Fault> {
    let (root, configured) = (root.to_owned(), configured.clone());
    let (new, running) = (request.release.clone(), request.stable.clone());
    let known = tokio::task::spawn_blocking(move || known(&root, &configured, &new, running.as_ref()))
        .await
        .map_err(Fault::internal)??;
    request.confidence = Some(known);
    Ok(())
}

fn known(
    root: &Path,
    configured: &Confidence,
    new: &Release,
    running: Option<&Release>,
) -> Result<Known, Fault> {
    let change = change(root, new, running);
    let complexity = match &change {
        Ok(change) => change_complexity(&change.size, &[]),
        Err(absent) => absent.clone(),
    };
    let coverage = coverage(root, configured, change.as_ref().ok())?;
    let safety = safety_factor(root, configured)?;
    Ok(Known {
        enforce: configured.enforce,
        factors: vec![safety, complexity, coverage],
        since: running.and_then(|running| running.commit.clone()),
        change: change.ok().map(|change| change.size),
        dependents: configured.dependents,
        history_prior: configured.history_prior_bp.map(Points::new),
    })
}

/// The change from the running commit, or the complexity factor that says why it is not known.
fn change(root: &Path, new: &Release, running: Option<&Release>) -> Result<Change, Factor> {
    let absent = |why, reason: &str| Factor::absent(FactorKind::Complexity, why, reason);
    let Some(running) = running else {
        return Err(absent(Absence::NotApplicable, "the first release changes nothing that runs"));
    };
    let (Some(from), Some(to)) = (&running.commit, &new.commit) else {
        return Err(absent(Absence::NotGiven, "one of the two releases was made outside version control"));
    };
    for (release, which) in [(new, "new"), (running, "running")] {
        if release.is_dirty() {
            let reason = format!(
                "uncommitted changes are in the {which} release, and no commit says how it differs: commit them"
            );
            return Err(absent(Absence::Unreadable, &reason));
        }
    }
    if from == to && !running.same_content(new) {
        let reason = "the files differ from those that run, and no commit says how: commit the change";
        return Err(absent(Absence::Unreadable, reason));
    }
    git::changed(root, from, to).map_err(|why| why.factor())
}

/// The safety gates' factor. Without a report it is absent; where the score decides, a report that is named must be there.
fn safety_factor(root: &Path, configured: &Confidence) -> Result<Factor, Fault> {
    let Some(path) = configured.safety_report.as_ref().map(|path| root.join(path)) else {
        return Ok(Factor::absent(
            FactorKind::Safety,
            Absence::NotGiven,
            "`safety_report` is not configured",
        ));
    };
    if !configured.enforce && !path.exists() {
        return Ok(missing(FactorKind::Safety, configured.safety_report.as_deref()));
    }
    let report = safety::read(&path).map_err(Fault::caller)?;
    Ok(safety_score(&report))
}

fn coverage(root: &Path, configured: &Confidence, change: Option<&Change>) -> Result<Factor, Fault> {
    let absent = |why, reason: &str| Ok(Factor::absent(FactorKind::Coverage, why, reason));
    let Some(path) = configured.coverage.as_ref().map(|path| root.join(path)) else {
        return absent(Absence::NotGiven, "`coverage` is not configured");
    };
    if !path.exists() {
        return Ok(missing(FactorKind::Coverage, configured.coverage.as_deref()));
    }
    let report = CoverageReport::read(&path).map_err(Fault::caller)?;
    let Some(change) = change else {
        return absent(Absence::NotApplicable, "the changed lines are not known");
    };
    let origin = Origin {
        commit: configured.coverage_commit.as_deref(),
        written_at: report.written_at().or_else(|| written_at(&path)),
    };
    Ok(coverage_of(change, &report, origin))
}

fn missing(kind: FactorKind, file: Option<&str>) -> Factor {
    Factor::absent(kind, Absence::NotGiven, &format!("there is no {}", file.unwrap_or("such file")))
}

/// When the file was last written.
fn written_at(path: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Timestamp)
}
