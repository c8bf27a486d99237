//! Annotations as verbs: somebody with `kubectl` has no socket. Each value is heard once.

use serde_json::{Map, Value, json};
use tidegate_core::{
    deployment::Recorded,
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
/// knows: what a verb made carries the annotation's value as its actor.
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
    let actor = Actor { kind: ActorKind::Person, name: format!("annotation tidegate.dev/{verb}: {id}") };
    let Some(to) = meant(engine, service, environment).await? else {
        return Ok(Some("nothing was there to ask".to_owned()));
    };
    let history = run::history(&**engine.journal(), &to.deployment).await.map_err(|why| chain(&why))?;
    if history.iter().any(|event: &Recorded| event.actor == actor) {
        return Ok(Some(format!("done to {}", to.deployment)));
    }
    match engine.tell(&to.deployment, actor, action.verb(id.to_owned())).await {
        Ok(_) => Ok(Some(format!("done to {}", to.deployment))),
        Err(TellError::Overloaded(_)) => Ok(None),
        Err(why) => Ok(Some(format!("not done: {}", chain(&why)))),
    }
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
    for standing in [Some(Standing::Running), None] {
        let found = journal.deployments(filter(standing, 1)).await.map_err(|why| chain(&why))?;
        if let Some(one) = found.into_iter().next() {
            return Ok(Some(one));
        }
    }
    Ok(None)
}
