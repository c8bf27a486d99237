//! What users met on the new release.

use alloc::{collections::BTreeSet, string::String};

use serde::Serialize;

use super::scene::Story;
use crate::{
    deployment::{Event, Recorded},
    gate::{Judgement, Reading, Rule, Unit},
};

/// Users' requests that the new release answered, as far as the journal knows: between the looks of a running bake, and
/// in windows that were too short to judge, there may be more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Users {
    /// Requests.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
}

impl Users {
    fn and(self, more: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            failures: self.failures.saturating_add(more.failures),
        }
    }

    /// Between two readings; `None` when the counters restarted in between.
    fn between(from: &Reading, to: &Reading) -> Option<Self> {
        if from.boot != to.boot {
            return None;
        }
        let requests = to.new.requests.checked_sub(from.new.requests)?;
        Some(Self { requests, failures: to.new.failures.checked_sub(from.new.failures)? })
    }

    /// In the window that a look was about.
    fn looked(judgements: &[Judgement], error_gates: &BTreeSet<&str>) -> Self {
        let requests = judgements.iter().map(|judgement| judgement.requests).max().unwrap_or(0);
        let rate = judgements.iter().filter(|judgement| error_gates.contains(judgement.gate.as_str()));
        let rate = rate.filter_map(|judgement| judgement.value).find(|value| value.unit == Unit::Ppm);
        // The rate was rounded down to a millionth, so rounding up finds the count again below a million requests.
        let failures =
            rate.map_or(0, |rate| (u128::from(rate.number) * u128::from(requests)).div_ceil(1_000_000));
        Self { requests, failures: u64::try_from(failures).unwrap_or(u64::MAX) }
    }
}

/// What users met on the new release so far; `live` are the judgements of the present moment, empty when there are none.
pub fn users(history: &[Recorded], live: &[Judgement]) -> Users {
    let Some(story) = Story::of(history) else { return Users::default() };
    let gates = story.plan.stages.iter().flat_map(|stage| &stage.gates).chain(&story.plan.watch_gates);
    let gates: BTreeSet<&str> = gates
        .filter(|gate| matches!(gate.rule, Rule::ErrorRate { .. }))
        .map(|gate| -> &String { &gate.name })
        .map(String::as_str)
        .collect();
    let mut sum = Users::default();
    // The window that is open: its opening, and what the last look at it saw.
    let (mut opening, mut seen) = (None::<&Reading>, Users::default());
    for recorded in history {
        if let Event::Judged { judgements, .. } = &recorded.event {
            seen = Users::looked(judgements, &gates);
        }
        if let Event::Initialised { reading }
        | Event::Exposed { reading, .. }
        | Event::WatchOpened { reading, .. } = &recorded.event
        {
            sum = sum.and(opening.and_then(|from| Users::between(from, reading)).unwrap_or(seen));
            (opening, seen) = (Some(reading), Users::default());
        }
    }
    // Once the way back has begun, what is read says nothing about users any more.
    let turned = story.state.cause.is_some() || story.state.is_terminal();
    let last = if live.is_empty() || turned { seen } else { Users::looked(live, &gates) };
    sum.and(last)
}
