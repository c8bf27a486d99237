//! The way back. It needs the API server and the stable release's pods, and waits for no forward work.

use std::time::{Duration, Instant};

use tidegate_core::model::Share;

use super::{EffectError, LOOK, Rollout, root::Serves};
use crate::{
    replicas,
    spec::{Known, Traffic},
    view::Workload,
};

/// How long trouble that may pass is waited out before the try is reported as failed: less than the engine waits for an answer,
/// so that it hears why.
const PATIENCE: Duration = Duration::from_secs(8);

/// Wait before the way back is tried again while there is trouble.
const AGAIN: Duration = Duration::from_millis(500);

/// A way back, tried again while its trouble may pass. An API server that is away for minutes is no reason to give up: the
/// engine's tries are for what does not pass by itself.
pub(crate) async fn patiently<T, F>(service: &str, way_back: impl Fn() -> F) -> Result<T, EffectError>
where
    F: Future<Output = Result<T, EffectError>>,
{
    let began = Instant::now();
    loop {
        match way_back().await {
            Err(why) if !why.is_permanent() && began.elapsed() < PATIENCE => {
                tracing::debug!(service, %why, "the way back is tried again");
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

impl Rollout<'_> {
    /// All traffic belongs to the stable release, as fast as its pods can carry it.
    pub(super) async fn restore(&self, generation: u64) -> Result<(), EffectError> {
        patiently(&self.plan.service, || self.bring_back(generation)).await
    }

    async fn bring_back(&self, generation: u64) -> Result<(), EffectError> {
        // A service's first release leaves nobody to return to: its pods go, and that is the next effect.
        let Some(stable) = &self.stable else { return Ok(()) };
        let (lane, fence) = (self.cluster.back(), self.fence(generation));
        let (all, enough) = (self.wanted_back(stable), stable.spec.back_percent);
        let mut given = self.plan.stages.iter().map(|stage| stage.share).max().unwrap_or(Share::ALL);
        let (mut news, began) = (self.follow(stable), Instant::now());
        loop {
            let (now, followed) = if let Some(now) = self.glimpse(stable) {
                (Ok(Some(now)), Ok(stable.clone()))
            } else {
                tokio::join!(self.workload_now(lane, stable), self.followed(lane, stable))
            };
            // The pods that were there when it was adopted, when nothing else is known.
            let stable = &followed.unwrap_or_else(|_| stable.clone());
            let (ready, wanted) = match now {
                Ok(Some(now)) => (now.ready, now.wanted),
                // Somebody deleted it: there is nobody yet who could take the traffic.
                Ok(None) => (0, 0),
                // What cannot be asked keeps nothing back.
                Err(_) => (all, all),
            };
            given = replicas::way_back(all, ready, given, enough);
            // Traffic first, and one trouble does not keep the other from being tried.
            let back = given == Share::NONE;
            let serves = async {
                if self.new.spec.traffic == Traffic::Service && !back {
                    return Ok(());
                }
                if self.rule().is_some() {
                    // The subset's pods are the Service's: it stays as wide as it is until the route has left them.
                    return Ok(());
                }
                self.serve(lane, Serves::Only(stable), fence).await.map(drop)
            };
            let routes = async {
                if ready == 0 {
                    return Ok(());
                }
                if let Some(rule) = self.rule() {
                    return self.route_back_by_subsets(lane, rule, stable, given, fence).await;
                }
                self.route_back(lane, given, fence).await
            };
            let (served, routed) = tokio::join!(serves, routes);
            if wanted < all
                && let Err(why) = self.ensure(lane, stable, Some(all), fence).await
            {
                tracing::warn!(service = self.plan.service, %why, "the stable release cannot be given its pods back yet");
            }
            served?;
            routed?;
            if back {
                return Ok(());
            }
            if began.elapsed() >= PATIENCE {
                return Err(EffectError::Unready(format!(
                    "{ready} of {all} pods of {} are ready: {given} of the traffic stays with the new release until there are \
                     more",
                    stable.title()
                )));
            }
            news.next(LOOK).await;
        }
    }

    /// The stable release as the watches have it, when they have no doubt that all of it is ready and what it was: then nothing
    /// has to be asked before traffic moves.
    fn glimpse(&self, stable: &Known<'_>) -> Option<Workload> {
        let now = self.cluster.view(self.namespace()).workload(stable.workload()).ok().flatten()?;
        let all = self.wanted_back(stable);
        let whole = now.ready >= all && now.wanted >= all;
        // A Rollout's ReplicaSet has pods of one template only.
        let same = now.paused || stable.spec.adopted.is_none() || stable.is_rollout();
        (whole && same).then_some(now)
    }
}
