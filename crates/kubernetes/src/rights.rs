//! What the account may do in a namespace, asked of the API server before anything is done there.
//!
//! One question tells the rules. What they do not allow is asked for once more, verb by verb: rules need not be all that
//! decides, and a rollout is never refused for a right that is there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{cluster::Lane, fault::ClusterError, kinds::Kind};

/// A kind of object and what is to be done with it.
pub(crate) type Need = (Kind, &'static str);

/// So long what is allowed is taken to stay so.
const REMEMBERED: Duration = Duration::from_mins(1);

/// What was allowed lately, in one namespace.
#[derive(Default)]
pub(crate) struct Rights(BTreeMap<Need, Instant>);

impl Rights {
    /// Whether all of these are allowed, as far as that is still known.
    pub(crate) fn allow(&self, needs: &[Need]) -> bool {
        needs.iter().all(|need| self.0.get(need).is_some_and(|at| at.elapsed() < REMEMBERED))
    }

    /// These are allowed now.
    pub(crate) fn note<'a>(&mut self, allowed: impl Iterator<Item = &'a Need>) {
        let now = Instant::now();
        self.0.extend(allowed.map(|need| (*need, now)));
    }
}

/// What is not allowed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Surely.
    pub(crate) refused: Vec<Need>,
    /// Nobody says.
    pub(crate) unknown: Vec<Need>,
}

/// What of these the account may not do in a namespace.
pub(crate) async fn lacks(lane: &Lane, namespace: &str, needs: &[Need]) -> Lacks {
    let rules = match lane.review(Kind::RulesReview, namespace, &json!({"namespace": namespace})).await {
        Ok(answer) => Rules::of(&answer),
        Err(
            ClusterError::Unreachable { .. }
            | ClusterError::Unauthorized { .. }
            | ClusterError::NotLeading { .. }
            | ClusterError::Trouble { .. },
        ) => return Lacks { refused: Vec::new(), unknown: needs.to_vec() },
        // It does not say so, but may say yes or no.
        Err(_) => Rules::default(),
    };
    let open: Vec<Need> = needs.iter().copied().filter(|need| !rules.allow(*need)).collect();
    let asked = open.iter().map(|need| is_allowed(lane, namespace, *need));
    let mut lacks = Lacks::default();
    for (need, allowed) in open.iter().zip(join_all(asked).await) {
        match allowed {
            Some(true) => {}
            Some(false) => lacks.refused.push(*need),
            None if rules.complete => lacks.refused.push(*need),
            None => lacks.unknown.push(*need),
        }
    }
    lacks
}

/// Whether one thing is allowed; `None` when it is not told.
async fn is_allowed(lane: &Lane, namespace: &str, (kind, verb): Need) -> Option<bool> {
    let resource = kind.resource();
    let attributes =
        json!({"namespace": namespace, "verb": verb, "group": resource.group, "resource": resource.plural});
    let spec = json!({"resourceAttributes": attributes});
    let answer = lane.review(Kind::AccessReview, namespace, &spec).await.ok()?;
    let status = answer.get("status")?;
    let allowed = status.get("allowed").and_then(Value::as_bool)?;
    // An authorizer that failed has not said no.
    let failed = text(status.get("evaluationError")).is_some() && !allowed;
    (!failed).then_some(allowed)
}

/// The rules of an account in a namespace.
#[derive(Debug, Default)]
struct Rules {
    rules: Vec<Value>,
    /// Whether these are all.
    complete: bool,
}

impl Rules {
    fn of(answer: &Value) -> Self {
        let status = answer.get("status");
        let of = |key: &str| status.and_then(|status| status.get(key));
        let rules = of("resourceRules").and_then(Value::as_array).cloned();
        let complete = of("incomplete").and_then(Value::as_bool) == Some(false)
            && text(of("evaluationError")).is_none()
            && rules.is_some();
        Self { rules: rules.unwrap_or_default(), complete }
    }

    /// A rule for certain names only counts too: whether it is the right name shows when it is asked for.
    fn allow(&self, (kind, verb): Need) -> bool {
        let resource = kind.resource();
        self.rules.iter().any(|rule| {
            has(rule, "verbs", verb)
                && has(rule, "apiGroups", &resource.group)
                && has(rule, "resources", &resource.plural)
        })
    }
}

/// Whether a list of a rule has this, or everything.
fn has(rule: &Value, key: &str, word: &str) -> bool {
    let list = rule.get(key).and_then(Value::as_array);
    list.is_some_and(|list| list.iter().filter_map(Value::as_str).any(|one| one == word || one == "*"))
}

/// A text that says something.
fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: Need = (Kind::HttpRoute, "patch");

    #[test]
    fn a_rule_allows_what_it_names_or_everything_and_rules_with_an_error_are_not_all() {
        let rules =
            |rule: Value| Rules::of(&json!({"status": {"resourceRules": [rule], "incomplete": false}}));
        let group = "gateway.networking.k8s.io";
        for (groups, resources, verbs, allowed) in [
            (group, "httproutes", "patch", true),
            ("*", "*", "*", true),
            (group, "httproutes", "get", false),
            (group, "httproutes/status", "patch", false),
            ("", "httproutes", "patch", false),
        ] {
            let rule = json!({"apiGroups": [groups], "resources": [resources], "verbs": ["list", verbs]});
            assert_eq!(rules(rule.clone()).allow(PATCH), allowed, "{rule}");
        }
        assert!(rules(json!({})).complete);
        for status in [
            json!({"resourceRules": [], "incomplete": true}),
            json!({"resourceRules": [], "incomplete": false, "evaluationError": "no Role `shop`"}),
            json!({"incomplete": false}),
            json!("?"),
        ] {
            assert!(!Rules::of(&json!({"status": status})).complete, "{status}");
        }
    }

    #[test]
    fn only_what_was_allowed_is_remembered() {
        let mut rights = Rights::default();
        assert!(rights.allow(&[]) && !rights.allow(&[PATCH]));
        rights.note([PATCH].iter());
        assert!(rights.allow(&[PATCH]) && !rights.allow(&[PATCH, (Kind::HttpRoute, "get")]));
    }
}
