//! Old releases leave the store; those that may still be needed stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tidegate_adapters::local::{LocalSpec, ReleaseStore};
use tidegate_core::{
    deployment::{Event, Recorded, StateName},
    model::{Artifact, Release},
};
use tidegate_engine::{
    journal::{Filter, History, Standing},
    record, run,
};

use crate::fault::Fault;

/// Files younger than this stay, whatever the journal says.
const YOUNG: Duration = Duration::from_mins(10);

/// Removes the files of releases that no service needs any more: kept are those of everything that has not ended, and of
/// each service its last `keep_releases` releases that were good, by the newest one's own setting. Answers how many left.
pub(super) async fn prune(journal: &impl History, store: &ReleaseStore) -> Result<usize, Fault> {
    let mut needed = BTreeSet::new();
    let mut good: BTreeMap<(String, String), (usize, BTreeSet<String>)> = BTreeMap::new();
    let mut before = None;
    loop {
        let filter = Filter { before, ..Filter::default() };
        let page = journal.deployments(filter).await.map_err(Fault::world)?;
        let Some(last) = page.last() else { break };
        before = Some(last.first_position);
        for kept in &page {
            let under_way = kept.row.standing != Standing::Ended;
            if !under_way && record::state_name(&kept.row) != Some(StateName::Verified) {
                continue;
            }
            let service = (kept.row.service.clone(), kept.row.environment.clone());
            if !under_way && good.get(&service).is_some_and(|(most, kept)| kept.len() >= *most) {
                continue;
            }
            let history = run::history(journal, &kept.deployment).await.map_err(Fault::world)?;
            for release in releases(&history, under_way) {
                let Artifact::Files { sha256 } = &release.artifact else { continue };
                needed.insert(sha256.clone());
                let most = LocalSpec::of(release).map_or(usize::MAX, |spec| spec.keep_releases as usize);
                good.entry(service.clone())
                    .or_insert_with(|| (most, BTreeSet::new()))
                    .1
                    .insert(sha256.clone());
            }
        }
    }
    let needed: Vec<String> = needed.into_iter().collect();
    store.prune(&needed, YOUNG).map_err(Fault::world)
}

/// The releases of a deployment that may still be run: its own, and while it is under way also the one it returns to.
fn releases(history: &[Recorded], under_way: bool) -> Vec<&Release> {
    let plans = history.iter().filter_map(|recorded| {
        if let Event::Planned { plan, .. } | Event::Replanned { plan } = &recorded.event {
            Some(plan)
        } else {
            None
        }
    });
    plans
        .flat_map(|plan| [Some(&plan.release), plan.stable.as_ref().filter(|_| under_way)])
        .flatten()
        .collect()
}
