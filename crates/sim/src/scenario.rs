//! What a scenario is made of, and the world before anything happens in it.

use std::collections::BTreeMap;

use tidegate_core::{
    deployment::{Event, StateName, Verb},
    model::Actor,
    plan::{Plan, Request},
};
use tidegate_engine::{QueuePolicy, journal};

use crate::{
    fate::Fates,
    law::Violation,
    play::DAWN,
    target::{Health, Target},
    universe::{Universe, Weather},
};

/// A world and what happens in it.
pub(crate) struct Scenario {
    pub(crate) services: Vec<Service>,
    pub(crate) agenda: Vec<(i64, Happening)>,
    pub(crate) weather: Vec<(i64, String, Weather)>,
    pub(crate) fates: Fates,
    /// When everything that goes wrong by itself has stopped, milliseconds after dawn.
    pub(crate) well_at: i64,
    pub(crate) keeps_lines: bool,
}

/// A service before anything happens.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) instances: u32,
    pub(crate) rate: u64,
    /// The request of the deployment that left the release which runs.
    pub(crate) stable: Option<Request>,
}

/// Something that is done to the control plane.
#[derive(Clone)]
pub(crate) enum Happening {
    /// A client asks for a deployment until it is answered.
    Submit { key: String, request: Box<Request>, queue: QueuePolicy, health: Health, sends: u32 },
    /// A person asks something of the service's newest unfinished deployment, or of its oldest.
    Tell { service: String, newest: bool, verb: Verb },
    /// The process is killed.
    Kill { down: i64, survivors: usize, set_back: i64 },
    /// The process stands still, another one takes over, and later the first one wakes.
    Freeze { wakes: i64 },
    /// The frozen ones wake.
    Thaw,
    /// The newest or the oldest unfinished deployment of a service is poisoned: the world breaks down for it, or its events
    /// come back unreadable.
    Poison { service: String, newest: bool, panics: bool },
    /// Nothing is poisoned any more.
    Cure,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) hours: f64,
    pub(crate) faults: u64,
    pub(crate) appends: u64,
    pub(crate) calls: u64,
    pub(crate) events: u64,
    pub(crate) deployments: u64,
    pub(crate) restarts: u64,
    /// By request key: how it ended, and the events on the way.
    pub(crate) ends: BTreeMap<String, (StateName, Vec<&'static str>)>,
    pub(crate) lines: Vec<crate::rehearse::Line>,
}

/// Puts a service into the universe, with the release that runs there and the history that says so.
pub(crate) fn settle(universe: &mut Universe, service: &Service) {
    let running = service.stable.as_ref().map(|request| request.release.tag.clone());
    let target = Target::new(running.as_deref().map(|tag| (tag, service.instances)), service.rate, DAWN);
    universe.targets.insert(service.name.clone(), target);
    universe.instances.insert(service.name.clone(), service.instances);
    if let Some(request) = &service.stable {
        // A plan that cannot be made leaves the service without a past, which the checker will notice.
        let _: Option<()> = remember(universe, request);
    }
}

/// Writes the shortest history that ends with this release in charge.
fn remember(universe: &mut Universe, request: &Request) -> Option<()> {
    use futures_util::FutureExt as _;
    use tidegate_core::{
        deployment::{Recorded, fold},
        model::Timestamp,
        plan,
    };
    use tidegate_engine::{journal::Journal as _, record};

    let plan: Plan = plan::compile(request.clone()).ok()?;
    let at = Timestamp(DAWN - 1);
    let events = [
        Event::Planned {
            request: Box::new(request.clone()),
            plan: Box::new(plan.clone()),
            reason: String::new(),
        },
        Event::Verified,
    ];
    let recorded: Vec<Recorded> = events
        .into_iter()
        .zip(1..)
        .map(|(event, seq)| Recorded { seq, at, actor: Actor::engine(), event })
        .collect();
    let (plan, state) = fold(&recorded)?;
    universe.oracle.past.insert(plan.deployment.clone());
    let journal = universe.disk.journal();
    let append = journal::Append {
        deployment: plan.deployment.clone(),
        expected_seq: 0,
        epoch: journal.epoch(),
        events: recorded.iter().map(record::encode).collect::<Result<_, _>>().ok()?,
        row: record::row(&plan, &state, at),
        request: None,
    };
    journal.append(append).now_or_never()?.ok().map(drop)
}
