//! What a deployment would be refused for, told before there is one. Nothing is changed.

use std::sync::Arc;

use tidegate_core::plan::Plan;

use super::{EffectError, KubernetesTarget, Place, Rollout};
use crate::{fault::ClusterError, kinds::Kind};

/// What stands in the way of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is and what to do, as the deployment would say it; with its cell where there are several places.
    pub why: String,
    /// Whether asking again cannot help until a person has done something.
    pub permanent: bool,
}

impl Obstacle {
    fn of(why: &EffectError, cell: &str) -> Self {
        let said = tidegate_adapters::chain(why);
        let why_here = if cell.is_empty() { said } else { format!("cell {cell}: {said}") };
        Self { why: why_here, permanent: why.is_permanent() }
    }
}

impl KubernetesTarget {
    /// What the check of a deployment by this plan would end with, in every place; nothing when it would pass. The objects are
    /// only read, and the API server is asked, with nothing kept, whether it would take the new ones.
    pub async fn foresee(&self, plan: &Arc<Plan>) -> Vec<Obstacle> {
        let placed = match self.placed(plan) {
            Ok(placed) => placed,
            Err(why) => return vec![Obstacle::of(&why, "")],
        };
        let places = placed.new.iter().map(|place| self.foresee_in(plan, place, &placed.stable));
        futures_util::future::join_all(places).await.concat()
    }

    async fn foresee_in(&self, plan: &Plan, place: &Place, stable: &[Place]) -> Vec<Obstacle> {
        // No engine has begun anything: whatever is there was written before.
        let why = match self.rollout((plan, u64::MAX), place, stable).await {
            Ok(rollout) => rollout.foresee().await,
            Err(why) => vec![why],
        };
        why.iter().map(|why| Obstacle::of(why, &place.cell)).collect()
    }
}

impl Rollout<'_> {
    /// The rights that are missing, and the first thing that does not fit.
    async fn foresee(&self) -> Vec<EffectError> {
        let view = self.cluster.view(self.namespace());
        if self.is_about_a_rollout() {
            view.also(Kind::ReplicaSet);
        }
        view.listed().await;
        let lane = self.cluster.forward();
        let root = self.root_asked(lane).await;
        let rights = self.rights_fit(lane, &root).await.err();
        let objects = match root {
            Ok(root) => self.objects_fit(lane, root).await.err(),
            Err(why) => Some(why.into()),
        };
        // What may not even be looked at was said with the rights.
        let said = |why: &EffectError| matches!(why, EffectError::Cluster(ClusterError::Forbidden { .. }));
        let objects = objects.filter(|why| rights.is_none() || !said(why));
        rights.into_iter().chain(objects).collect()
    }
}
