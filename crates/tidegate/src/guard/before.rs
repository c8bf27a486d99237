//! What a revision has shown before anybody judged it. A guard that begins to look at what has run well for days has a good
//! revision to return to at once, and not only when a bake of its own is over.
//!
//! What pods show counts from then. What gates ask of requests and metrics has to be seen as it happens, and nobody looked: a
//! gate is asked once, what answers in that time may refuse the revision, and the rest is said to be missing. Where an
//! earlier good revision is known such gates are waited for as usual: there is something to return to already.

use tidegate_core::{
    gate::{Gate, OnInconclusive},
    judge::Settings,
    model::Millis,
    plan::{Request, StrategySpec},
    view,
};
use tidegate_kubernetes::guard::Ran;

use super::Terms;
use crate::render;

/// Time in which a metric can answer once.
const ONE_LOOK: Millis = Millis::secs(2);

/// Whether what was before is asked for at all. `recorded`: an earlier revision is known as good.
pub(super) const fn may_count(terms: &Terms, recorded: bool, tries: usize) -> bool {
    // One that could not be judged, or was found bad, has to show itself.
    tries == 0 && (terms.gates.is_empty() || !recorded)
}

/// Whether it was long enough.
pub(super) fn counts(ran: &Ran, terms: &Terms) -> bool {
    ran.lasted >= terms.bake
}

/// What it rests on, for the record.
pub(super) fn rests(ran: &Ran, terms: &Terms) -> String {
    let pods =
        if ran.pods == 1 { "its pod has".to_owned() } else { format!("all its {} pods have", ran.pods) };
    let asked = if terms.gates.is_empty() { "" } else { "; its gates are asked once, and need not answer" };
    format!(
        "it ran well before it was guarded: {pods} been ready since {}, for {}, and a bake lasts {}{asked}",
        render::clock(ran.since),
        view::rough(ran.lasted),
        terms.bake
    )
}

/// The same request without the bake that has been already.
pub(super) fn without_bake(request: Request, terms: &Terms, rests: String) -> Request {
    let bake = if terms.gates.is_empty() { Millis::ZERO } else { ONE_LOOK.min(terms.bake) };
    let at_once = |gate: Gate| Gate { on_inconclusive: OnInconclusive::Promote, ..gate };
    Request {
        strategy: StrategySpec::AllAtOnce { bake },
        gates: request.gates.into_iter().map(at_once).collect(),
        // Its instances are warm.
        judge: Settings { warmup: Millis::ZERO, ..request.judge },
        notes: vec![rests],
        ..request
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        gate::Rule,
        model::{Actor, Share, Timestamp},
    };

    use super::*;

    #[test]
    fn what_ran_for_a_bake_counts_and_gates_over_time_are_waited_for_where_something_good_is_known() {
        let plain = Terms::plain(Actor::engine());
        let ran = |lasted| Ran { pods: 2, since: Timestamp(0), lasted: Millis(lasted) };
        assert!(counts(&ran(60_000), &plain) && !counts(&ran(59_999), &plain));
        let gate = Gate::new("cpu", Rule::Cpu { limit: Share::percent(80) });
        let gated = Terms { gates: vec![gate], ..plain.clone() };
        for (terms, recorded, tries, may) in [
            (&plain, false, 0, true),
            (&plain, true, 0, true),
            (&plain, false, 1, false),
            (&gated, false, 0, true),
            (&gated, true, 0, false),
        ] {
            assert_eq!(may_count(terms, recorded, tries), may, "{recorded} {tries} {}", terms.gates.len());
        }
        let said = rests(&ran(93_600_000), &plain);
        assert!(
            said.ends_with("for 26 h, and a bake lasts 60 s") && said.contains("all its 2 pods"),
            "{said}"
        );
        assert!(rests(&ran(1), &gated).contains("asked once"));
    }
}
