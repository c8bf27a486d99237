//! Whether the account may do what a rollout will ask for, before it begins.

use serde_json::Value;

use super::{EffectError, KubernetesTarget, Rollout};
use crate::{
    belongings::Autoscaling,
    cluster::Lane,
    fault::ClusterError,
    kinds::Kind,
    rights::Need,
    role::{self, Belonging},
    spec::{KubernetesSpec, Traffic},
};

impl Rollout<'_> {
    /// The account may do all that this rollout will ask for. `root` is what was answered to the first request: who does not
    /// answer is not asked more. A way back is never refused for a right that it may not need.
    pub(super) async fn rights_fit(
        &self,
        lane: &Lane,
        root: &Result<Option<Value>, ClusterError>,
    ) -> Result<(), EffectError> {
        if self.plan.way_back || !matches!(root, Ok(_) | Err(ClusterError::Forbidden { .. })) {
            return Ok(());
        }
        let mut lacks = self.cluster.lacks(self.namespace(), &self.asks_for()).await;
        if lacks.iter().any(|need| makes_scaler(*need)) && !self.gets_scaler(lane).await {
            lacks.retain(|need| !makes_scaler(*need));
        }
        let makes_preview = (Kind::Service, "create");
        if lacks.contains(&makes_preview)
            && matches!(self.object(lane, Kind::Service, &self.preview_name).await, Ok(Some(_)))
        {
            lacks.retain(|need| *need != makes_preview);
        }
        ClusterError::lacking(self.namespace(), &lacks).map_or(Ok(()), |why| Err(why.into()))
    }

    fn asks_for(&self) -> Vec<Need> {
        let mut brought = Belonging::of(&self.new.spec);
        if self.is_about_a_rollout() {
            brought.push(Belonging::Rollout);
        }
        // The first release moves no route.
        let traffic = if self.stable.is_some() { &self.new.spec.traffic } else { &Traffic::Service };
        let adopted = self.stable.iter().chain([&self.new]).any(|known| known.spec.adopted.is_some());
        let mut needs = role::needs(traffic, &brought);
        needs.retain(|need| match need {
            (Kind::ReplicaSet, "get") => adopted,
            (Kind::Service, "create") => self.has_preview(),
            (Kind::Deployment, "create") => self.new.spec.adopted.is_none(),
            _ => true,
        });
        needs
    }
}

/// Whether only a release that has an autoscaler of its own needs it.
fn makes_scaler((kind, verb): Need) -> bool {
    kind == Kind::HorizontalPodAutoscaler && verb != "list"
}

impl KubernetesTarget {
    /// The same refusal, with what else the account may not do for a release as it is described: what was refused first is
    /// seldom all.
    pub(super) async fn with_all_refused(&self, spec: &KubernetesSpec, refused: EffectError) -> EffectError {
        let EffectError::Cluster(ClusterError::Forbidden { verb, rule, namespace }) = &refused else {
            return refused;
        };
        let Ok(cluster) = self.cluster(&spec.address()).await else { return refused };
        let mut brought = Belonging::of(spec);
        brought.extend(spec.adopt_rollout.as_ref().map(|_| Belonging::Rollout));
        let follows = spec.belongings.autoscaling == Autoscaling::Follow;
        let mut needs = role::needs(&spec.traffic, &brought);
        needs.retain(|need| match need {
            (Kind::Service, "create") => spec.traffic != Traffic::Service,
            need => !(follows && makes_scaler(*need)),
        });
        let lacks = cluster.lacks(namespace, &needs).await;
        let is_it = |(kind, lacking): &Need| *lacking == verb.as_str() && kind.rule() == *rule;
        match ClusterError::lacking(namespace, &lacks) {
            Some(all) if lacks.iter().any(is_it) => all.into(),
            _ => refused,
        }
    }
}
