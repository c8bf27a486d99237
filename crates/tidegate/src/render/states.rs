//! The state machine as text and as a Mermaid diagram, both made from the machine itself.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    deployment::{
        Recorded, StateName, decide, evolve,
        table::{self, Reached},
    },
    judge::Judge,
    model::{Actor, Millis},
};

/// Every change of state that the machine can make, with the events that make it.
///
/// Found by giving every state that the sample plan reaches every piece of news, soon and when everything is due, and by
/// looking at the state after each single event: what the journal of a deployment shows as a transition is one of these.
pub(super) fn crossings() -> BTreeMap<(StateName, StateName), BTreeSet<&'static str>> {
    let plan = table::sample_plan();
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for Reached { state, now } in table::explore().0 {
        for now in [now.after(Millis::secs(1)), now.after(Millis::hours(48))] {
            for (_, input) in table::news(&plan, &state, now) {
                let mut here = state.clone();
                for event in decide(&plan, &state, &Judge::of(&plan), &input, now).unwrap_or_default() {
                    let (from, name) = (here.name(), event.name());
                    let recorded = Recorded { seq: here.seq + 1, at: now, actor: Actor::engine(), event };
                    here = evolve(&plan, here, &recorded);
                    if here.name() != from {
                        all.entry((from, here.name())).or_default().insert(name);
                    }
                }
            }
        }
    }
    all
}

/// What a deployment does in a state.
const fn meaning(state: StateName) -> &'static str {
    match state {
        StateName::Queued => "waits for its turn: a service has one deployment at a time",
        StateName::Checking => "asks the target whether it can do what the plan says",
        StateName::Init => "reads the counters before anything is touched",
        StateName::Building => "brings the release to the target",
        StateName::Deploying => "starts the first instances, without traffic",
        StateName::AwaitingApproval => "a person must agree",
        StateName::Canary => "brings a stage into force: instances first, then traffic",
        StateName::CanaryWaiting => "the stage bakes; a gate that clearly fails turns back at once",
        StateName::CanaryEvaluating => "the bake is over: the gates are asked for the last time",
        StateName::Promoting => "makes the release the stable one",
        StateName::Promoted => "opens the watch",
        StateName::Verifying => "watches all traffic, the last good release kept warm; then stops that",
        StateName::Verified => "ended well",
        StateName::Paused => "stands still by request; gates go on",
        StateName::RollingBack => "moves all traffic back to the stable release, then stops the new one",
        StateName::RolledBack => "ended on the stable release",
        StateName::Stuck => "the way back failed: a person is needed",
        StateName::Failed => "ended before anything was touched",
        StateName::Cancelled => "called off before anything was touched",
    }
}

/// The states, and every change between them with the events that make it, for a program.
pub(crate) fn states_json() -> serde_json::Value {
    let states = StateName::ALL.map(|state| {
        serde_json::json!({ "state": state, "meaning": meaning(state), "terminal": state.is_terminal() })
    });
    let changes: Vec<_> = crossings()
        .into_iter()
        .map(|((from, to), events)| serde_json::json!({ "from": from, "to": to, "events": events }))
        .collect();
    serde_json::json!({ "states": states, "changes": changes })
}

/// The states with their meaning, the changes between them, and the whole table of states and news.
pub(crate) fn states_text() -> String {
    let mut text = String::from("States\n\n");
    for state in StateName::ALL {
        let end = if state.is_terminal() { "*" } else { " " };
        text = format!("{text}{end} {:18} {}\n", state.as_str(), meaning(state));
    }
    text.push_str(
        "\n* nothing more happens by itself\n\nChanges of state, with the events that make them\n\n",
    );
    let mut before = None;
    for ((from, to), events) in crossings() {
        let shown = if before == Some(from) { "" } else { from.as_str() };
        text = format!("{text}  {shown:18} -> {:18} {}\n", to.as_str(), joined(&events));
        before = Some(from);
    }
    text.push_str("\nEvery state and every news: the events that follow, and the state after them\n\n");
    text.push_str(&table::render());
    text
}

fn joined(events: &BTreeSet<&'static str>) -> String {
    events.iter().copied().collect::<Vec<_>>().join(", ")
}

/// A Mermaid state diagram (`stateDiagram-v2`): one arrow per change of state, named by its events.
pub(crate) fn states_mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> queued: planned\n");
    for ((from, to), events) in crossings() {
        text = format!("{text}    {from} --> {to}: {}\n", joined(&events));
    }
    for state in StateName::ALL.into_iter().filter(|state| state.is_terminal() && *state != StateName::Stuck)
    {
        text = format!("{text}    {state} --> [*]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mermaid_diagram_has_the_main_path_and_the_way_back() {
        let text = states_mermaid();
        for line in [
            "stateDiagram-v2",
            "    [*] --> queued: planned",
            "    deploying --> canary: deployed",
            "    canary --> canary_waiting: exposed",
            "    canary_waiting --> rolling_back: rollback_began",
            "    rolling_back --> rolled_back: rolled_back",
            "    verified --> [*]",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn the_text_names_every_state_and_holds_the_table() {
        let text = states_text();
        assert!(StateName::ALL.iter().all(|state| text.contains(meaning(*state))));
        assert!(text.ends_with(&table::render()));
    }
}
