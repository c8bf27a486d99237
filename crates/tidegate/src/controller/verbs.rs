//! Annotations as verbs: somebody with `kubectl` has no socket. Each value is heard once.

use serde_json::{Map, Value, json};
use tidegate_core::{
    deployment::{Cause, Event, Recorded, Verb},
    model::{Actor, ActorKind},
};
use tidegate_engine::{
    TellError,
    journal::{Filter, History, Kept, Standing},
    run,
};

use super::rollout::Rollout;
use crate::{
    fault::chain,
    server::{Action, TargetEngine},
};

/// The annotations, and what each asks for.
const VERBS: [(&str, Action); 7] = [
    ("abort", Action::Abort),
    ("approve", Action::Approve),
    ("pause", Action::Pause),
    ("promote", Action::Promote),
    ("promote-full", Action::PromoteFull),
    ("resume", Action::Resume),
    ("retry", Action::Retry),
];

/// Longest value that is kept, characters.
const ID_CHARS_MAX: usize = 200;

/// Does what the annotations ask for that was not done yet, and says what came of each.
///
/// `requests` is what was answered so far. Where that was lost between the doing and the writing down, the journal still
/// knows: what a verb made carries the annotation's value as its reason, or where it has none in its actor's name.
pub(super) async fn hear(
    engine: &TargetEngine,
    rollout: Rollout<'_>,
    environment: &str,
    requests: &mut Map<String, Value>,
) -> Result<(), String> {
    for (verb, action) in VERBS {
        let Some(asked) = rollout.annotation(&format!("tidegate.dev/{verb}")) else { continue };
        let id: String = asked.chars().take(ID_CHARS_MAX).collect();
        let known = requests.get(verb).and_then(|one| one.get("id")).and_then(Value::as_str);
        if known == Some(&id) {
            continue;
        }
        if let Some(answer) = answered(engine, rollout.name(), environment, (verb, action), &id).await? {
            requests.insert(verb.to_owned(), json!({"id": id, "answer": answer}));
        }
    }
    Ok(())
}

/// What came of it; `None` asks to try again later.
async fn answered(
    engine: &TargetEngine,
    service: &str,
    environment: &str,
    (verb, action): (&str, Action),
    id: &str,
) -> Result<Option<String>, String> {
    let Some(to) = meant(engine, service, environment).await? else {
        return Ok(Some("nothing was there to ask".to_owned()));
    };
    let history = run::history(&**engine.journal(), &to.deployment).await.map_err(|why| chain(&why))?;
    if history.iter().any(|event| is_answer(event, verb, id)) {
        return Ok(Some(format!("done to {}", to.deployment)));
    }
    let asked = action.verb(id.to_owned());
    let actor = match &asked {
        Verb::Abort { .. } | Verb::Pause { .. } => annotation(verb),
        Verb::Resume | Verb::Promote { .. } | Verb::Approve | Verb::Retry | Verb::Supersede { .. } => {
            marked(verb, id)
        }
    };
    match engine.tell(&to.deployment, actor, asked).await {
        Ok(_) => Ok(Some(format!("done to {}", to.deployment))),
        Err(TellError::Overloaded(_)) => Ok(None),
        Err(why) => Ok(Some(format!("not done: {}", chain(&why)))),
    }
}

fn annotation(verb: &str) -> Actor {
    Actor { kind: ActorKind::Person, name: format!("annotation tidegate.dev/{verb}") }
}

/// The same with the annotation's value.
fn marked(verb: &str, id: &str) -> Actor {
    let Actor { kind, name } = annotation(verb);
    Actor { kind, name: format!("{name}: {id}") }
}

/// Whether an event is what came of an annotation with this value.
fn is_answer(event: &Recorded, verb: &str, id: &str) -> bool {
    let reason = if let Event::PauseAsked { reason }
    | Event::Paused { reason, .. }
    | Event::Abandoned { reason }
    | Event::Cancelled { reason }
    | Event::RollbackBegan { cause: Cause::Aborted { reason } } = &event.event
    {
        Some(reason.as_str())
    } else {
        None
    };
    event.actor == marked(verb, id) || (event.actor == annotation(verb) && reason == Some(id))
}

/// The deployment that is meant: the one that runs, else the newest.
async fn meant(engine: &TargetEngine, service: &str, environment: &str) -> Result<Option<Kept>, String> {
    let filter = |standing, limit| Filter {
        standing,
        service: Some(service.to_owned()),
        environment: Some(environment.to_owned()),
        limit: Some(limit),
        ..Filter::default()
    };
    let journal = engine.journal();
    for standing in [&[Standing::Running][..], &[]] {
        let found = journal.deployments(filter(standing, 1)).await.map_err(|why| chain(&why))?;
        if let Some(one) = found.into_iter().next() {
            return Ok(Some(one));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use tidegate_core::model::Timestamp;

    use super::*;

    #[test]
    fn what_an_annotation_made_is_known_by_its_reason_and_where_it_has_none_by_its_actor() {
        let event = |actor: Actor, event: Event| Recorded { seq: 2, at: Timestamp(0), actor, event };
        let aborted = || Event::RollbackBegan { cause: Cause::Aborted { reason: "orders drop".to_owned() } };
        let made = event(annotation("abort"), aborted());
        assert!(is_answer(&made, "abort", "orders drop"));
        assert!(!is_answer(&made, "abort", "again") && !is_answer(&made, "pause", "orders drop"));
        assert!(is_answer(&event(marked("resume", "1"), Event::Resumed), "resume", "1"));
        assert!(!is_answer(&event(marked("resume", "1"), Event::Resumed), "resume", "2"));
        // As it was written before.
        assert!(is_answer(&event(marked("abort", "orders drop"), aborted()), "abort", "orders drop"));
    }
}
