//! The status of a Rollout: a fold of its deployment's events, in Kubernetes' conventions. Without IO.

use serde_json::{Map, Value, json};
use tidegate_core::{
    deployment::{Event, Recorded, StateName},
    model::Timestamp,
    plan::Plan,
    view,
};

use crate::render;

/// Longest message, characters.
const MESSAGE_CHARS_MAX: usize = 4_000;

/// What a status is made from.
pub(super) struct Facts<'a> {
    /// The generation that this is about.
    pub(super) generation: i64,
    /// Which Tidegate this is, and under which epoch.
    pub(super) owner: &'a str,
    pub(super) epoch: u64,
    /// What was asked of the engine for this generation.
    pub(super) request: &'a str,
    /// What became of that.
    pub(super) came: Came<'a>,
    /// The newest deployment of the service, as far as it is.
    pub(super) history: Option<&'a [Recorded]>,
    /// Something that is tried again.
    pub(super) trouble: Option<String>,
    /// What was asked by annotation.
    pub(super) requests: &'a Map<String, Value>,
    pub(super) now: Timestamp,
}

/// What became of a generation.
#[derive(Clone, Copy)]
pub(super) enum Came<'a> {
    /// A deployment.
    Deployment,
    /// Nothing: it is what serves.
    Unchanged(&'a str),
    /// Nothing: it is refused.
    Refused(&'a str),
}

/// One condition.
struct Condition {
    name: &'static str,
    holds: Option<bool>,
    reason: String,
    message: String,
}

/// The status that follows; `before` is the present one, for the moments at which conditions changed.
pub(super) fn status(facts: &Facts<'_>, before: &Value) -> Value {
    let summary = facts.history.and_then(|history| view::summary(history, facts.now));
    let why = facts.history.and_then(|history| view::why(history, facts.now, &render::clock));
    let why = why.map(|why| match &facts.trouble {
        Some(trouble) => format!("{why} Last trouble: {trouble}"),
        None => why,
    });
    let shown = Shown { notes: notes(facts), ..Shown::of(facts, summary.as_ref(), why) };
    let conditions: Vec<Value> = shown.conditions().iter().map(|one| one.value(facts, before)).collect();
    let mut status = json!({
        "observedGeneration": facts.generation,
        "owner": facts.owner,
        "epoch": facts.epoch,
        "request": facts.request,
        "state": shown.word,
        "message": shown.message,
        "conditions": conditions,
    });
    let Some(fields) = status.as_object_mut() else { return status };
    if !facts.requests.is_empty() {
        fields.insert("requests".to_owned(), Value::Object(facts.requests.clone()));
    }
    if let (Some(summary), Some(history)) = (&summary, facts.history) {
        fields.insert("deployment".to_owned(), json!(summary.deployment));
        fields.insert("release".to_owned(), json!(summary.release));
        fields.insert("share".to_owned(), json!(summary.share.to_string().replace(' ', "")));
        fields.insert("transitions".to_owned(), json!(view::transitions(history).len()));
        let stage = summary.stage.as_ref().map(|stage| json!(format!("{}/{}", stage.number, stage.of)));
        fields.extend(stage.map(|stage| ("stage".to_owned(), stage)));
        let stable = summary.stable.as_ref().map(|stable| json!(stable));
        fields.extend(stable.map(|stable| ("stable".to_owned(), stable)));
    } else if let Came::Unchanged(tag) = facts.came {
        fields.insert("release".to_owned(), json!(tag));
        fields.insert("share".to_owned(), json!("100%"));
    }
    status
}

/// What is shown of it all.
struct Shown {
    /// The state's word.
    word: String,
    message: String,
    /// The deployment's, when the generation has come to it.
    state: Option<StateName>,
    refused: bool,
    /// What the plan says of it beforehand, a sentence each.
    notes: String,
}

/// What the plan in force says: exceptions from the rules for pods, and the like.
fn notes(facts: &Facts<'_>) -> String {
    fn plan(recorded: &Recorded) -> Option<&Plan> {
        if let Event::Planned { plan, .. } | Event::Replanned { plan } = &recorded.event {
            Some(plan)
        } else {
            None
        }
    }
    let plan = match facts.came {
        Came::Deployment => facts.history.and_then(|history| history.iter().rev().find_map(plan)),
        Came::Unchanged(_) | Came::Refused(_) => None,
    };
    let said = plan.into_iter().flat_map(|plan| plan.stable_note.iter().chain(&plan.notes));
    said.map(|note| render::sentence(note)).collect::<Vec<_>>().join(" ")
}

impl Shown {
    fn of(facts: &Facts<'_>, summary: Option<&view::Summary>, why: Option<String>) -> Self {
        let state = summary.map(|summary| summary.state);
        match facts.came {
            Came::Refused(message) => Self {
                word: "refused".to_owned(),
                message: cut(message),
                state,
                refused: true,
                notes: String::new(),
            },
            Came::Unchanged(tag) => Self {
                word: StateName::Verified.to_string(),
                message: format!("Nothing to do: {tag} serves, and it is what the spec asks for."),
                state: Some(StateName::Verified),
                refused: false,
                notes: String::new(),
            },
            Came::Deployment => Self {
                word: state.map(|state| state.to_string()).unwrap_or_default(),
                message: cut(&why.unwrap_or_default()),
                state,
                refused: false,
                notes: String::new(),
            },
        }
    }

    fn conditions(&self) -> [Condition; 5] {
        let word = if self.refused { "Refused".to_owned() } else { camel(&self.word) };
        let condition =
            |name, holds| Condition { name, holds, reason: word.clone(), message: self.message.clone() };
        let own = self.state.filter(|_| !self.refused);
        let accepted = Condition {
            reason: if self.refused { word.clone() } else { "Accepted".to_owned() },
            message: if self.refused {
                self.message.clone()
            } else {
                cut(format!("The spec was understood. {}", self.notes).trim_end())
            },
            ..condition("Accepted", Some(!self.refused))
        };
        // What runs goes on, whatever became of the newest spec.
        let under_way = Condition {
            reason: self.state.map_or_else(|| word.clone(), |state| camel(state.as_str())),
            ..condition("Progressing", self.state.map_or(Some(false), progressing))
        };
        let degraded = self.refused || own.is_some_and(is_bad);
        [
            accepted,
            condition("Ready", Some(own == Some(StateName::Verified))),
            under_way,
            condition("Degraded", Some(degraded)),
            condition("Stuck", Some(self.state == Some(StateName::Stuck))),
        ]
    }
}

impl Condition {
    fn value(&self, facts: &Facts<'_>, before: &Value) -> Value {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let known = before.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let same = |one: &&Value| {
            let is = |key: &str, value: &str| one.get(key).and_then(Value::as_str) == Some(value);
            is("type", self.name) && is("status", status)
        };
        let since = known.into_iter().find(same).and_then(|one| one.get("lastTransitionTime")).cloned();
        json!({
            "type": self.name,
            "status": status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": since.unwrap_or_else(|| json!(seconds(facts.now))),
            "observedGeneration": facts.generation,
        })
    }
}

/// Whether it goes on by itself; nobody knows while a person is waited for.
const fn progressing(state: StateName) -> Option<bool> {
    match state {
        StateName::Queued
        | StateName::Checking
        | StateName::Init
        | StateName::Building
        | StateName::Deploying
        | StateName::Canary
        | StateName::CanaryWaiting
        | StateName::CanaryEvaluating
        | StateName::Promoting
        | StateName::Promoted
        | StateName::Verifying
        | StateName::RollingBack => Some(true),
        StateName::Paused | StateName::AwaitingApproval => None,
        StateName::Verified
        | StateName::RolledBack
        | StateName::Stuck
        | StateName::Failed
        | StateName::Cancelled => Some(false),
    }
}

/// Whether what was asked for did not come about, or is being taken back.
pub(super) const fn is_bad(state: StateName) -> bool {
    matches!(
        state,
        StateName::RollingBack
            | StateName::RolledBack
            | StateName::Stuck
            | StateName::Failed
            | StateName::Cancelled
    )
}

/// Whether nothing more happens to a deployment in the state of this name.
pub(super) fn is_ended(word: &str) -> bool {
    [StateName::Verified, StateName::RolledBack, StateName::Failed, StateName::Cancelled]
        .iter()
        .any(|state| state.as_str() == word)
}

/// `rolling_back` as conditions and events have it, `RollingBack`.
pub(super) fn camel(word: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    };
    let camel: String = word.split('_').map(part).collect();
    if camel.is_empty() { "Unknown".to_owned() } else { camel }
}

/// RFC 3339 with whole seconds, as conditions have it.
fn seconds(at: Timestamp) -> String {
    let text = view::rfc3339(at);
    format!("{}Z", text.get(..19).unwrap_or_default())
}

fn cut(text: &str) -> String {
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(came: Came<'a>, requests: &'a Map<String, Value>) -> Facts<'a> {
        Facts {
            generation: 3,
            owner: "tidegate/tidegate",
            epoch: 4,
            request: "uid/3",
            came,
            history: None,
            trouble: None,
            requests,
            now: Timestamp(1_767_225_600_000),
        }
    }

    fn condition(status: &Value, name: &str) -> (String, String, String) {
        let all = status["conditions"].as_array().unwrap();
        let one = all.iter().find(|one| one["type"] == name).unwrap();
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        (text("status"), text("reason"), text("lastTransitionTime"))
    }

    #[test]
    fn a_refused_spec_is_degraded_with_its_message_and_a_condition_keeps_the_moment_at_which_it_changed() {
        let none = Map::new();
        let refused = status(&facts(Came::Refused("spec.port: too large"), &none), &Value::Null);
        assert_eq!(refused["state"], "refused");
        assert_eq!(refused["message"], "spec.port: too large");
        let at = "2026-01-01T00:00:00Z".to_owned();
        assert_eq!(condition(&refused, "Accepted"), ("False".into(), "Refused".into(), at.clone()));
        assert_eq!(condition(&refused, "Degraded"), ("True".into(), "Refused".into(), at.clone()));
        let later = Facts { now: Timestamp(1_767_225_660_000), ..facts(Came::Unchanged("abc-1"), &none) };
        let good = status(&later, &refused);
        let new = "2026-01-01T00:01:00Z".to_owned();
        assert_eq!(condition(&good, "Ready"), ("True".into(), "Verified".into(), new.clone()));
        assert_eq!(condition(&good, "Degraded").2, new);
        assert_eq!(condition(&good, "Stuck").2, at, "it did not change");
        assert_eq!(good["release"], "abc-1");
        let again = status(&Facts { now: Timestamp(1_767_225_999_000), ..later }, &good);
        assert_eq!(again, good, "nothing to write when nothing changed");
    }

    #[test]
    fn states_become_words_of_kubernetes() {
        assert_eq!(camel("rolling_back"), "RollingBack");
        assert_eq!(camel(""), "Unknown");
    }
}
