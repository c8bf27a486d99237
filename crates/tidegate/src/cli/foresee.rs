//! What `plan` knows of a deployment's check before there is a deployment.

use std::{path::Path, sync::Arc};

use tidegate_adapters::clock::Clock;
use tidegate_core::plan::Plan;
use tidegate_kubernetes::{KubernetesTarget, Obstacle};

use super::Common;
use crate::{
    config,
    fault::{Exit, Fault},
};

/// What stands in the way of a plan, as its target sees it now.
pub(super) struct Ahead(Vec<Obstacle>);

impl Ahead {
    /// Asks the plan's target, which changes nothing. A local one has nothing to say.
    pub(super) async fn of(common: &Common, plan: &Arc<Plan>) -> Result<Self, Fault> {
        if plan.release.spec.kind != tidegate_kubernetes::KIND {
            return Ok(Self(Vec::new()));
        }
        // Who never wrote anything has no name yet, and none of the objects is its own.
        let owner = common.place()?.owner_known()?.unwrap_or_default();
        // A clock that nobody asks: nothing is measured.
        let clock = Arc::new(Clock::new(Path::new(".")));
        let target = KubernetesTarget::new(&owner, clock).with_manifests(config::read_objects);
        Ok(Self(target.foresee(plan).await))
    }

    /// In words, each as the deployment would say it.
    pub(super) fn problems(&self) -> Vec<&str> {
        self.0.iter().map(|obstacle| obstacle.why.as_str()).collect()
    }

    /// Refused, where a person has to do something; the world's, where trying again may help.
    pub(super) fn exit(&self) -> Exit {
        match self.0.as_slice() {
            [] => Exit::Success,
            all if all.iter().any(|obstacle| obstacle.permanent) => Exit::Refused,
            _ => Exit::World,
        }
    }
}
