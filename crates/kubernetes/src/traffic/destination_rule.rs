//! Istio `DestinationRule` (<https://istio.io/latest/docs/reference/config/networking/destination-rule/>): the subsets that a
//! [`super::virtual_service`] sends to by name.
//!
//! The order matters: a subset is written and there before a route sends to it, and taken out once the route is at rest.
//! Argo Rollouts had an incident with the other order (its issue 4612).

use serde_json::{Map, Value, json};

use super::{
    RouteError, found,
    patch::{self, Slot},
    title, virtual_service,
};

/// A subset of ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subset<'a> {
    /// Its name, which nobody else uses.
    pub name: &'a str,
    /// The labels of its pods; `None` when it should not be there.
    pub labels: Option<&'a Map<String, Value>>,
}

const SUBSETS: &str = "/spec/subsets";

/// The subset of the stable release. A rule is for one host, so nobody else has one of this name.
pub const STABLE: &str = "tidegate-stable";

/// The subset of the release under way.
pub const NEW: &str = "tidegate-new";

/// The labels of a subset; `None` when there is none of this name. One without labels has none.
pub fn labels(object: &Value, name: &str) -> Option<Map<String, Value>> {
    let subsets = object.pointer(SUBSETS).and_then(Value::as_array)?;
    let subset = subsets.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(name))?;
    Some(subset.get("labels").and_then(Value::as_object).cloned().unwrap_or_default())
}

/// The patch after which our subsets are there with these labels, or not; empty when it is so already. All other subsets, the
/// traffic policies of ours, and the order stay. Fails when the rule is for another host than `root`.
pub fn changes(object: &Value, root: &str, ours: &[Subset<'_>]) -> Result<Vec<Value>, RouteError> {
    let malformed = |field: &str, expected, found| RouteError::Malformed {
        object: title(object),
        field: field.to_owned(),
        expected,
        found,
    };
    let kind = object.get("kind");
    if kind.and_then(Value::as_str) != Some("DestinationRule") {
        return Err(malformed("/kind", "DestinationRule", found(kind)));
    }
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("default");
    let host = object.pointer("/spec/host").and_then(Value::as_str).unwrap_or_default();
    if virtual_service::service(host, namespace).is_none_or(|(name, _)| name != root) {
        let (object, wanted) = (title(object), format!("subsets of host {root}"));
        return Err(RouteError::NotFound { object, wanted, found: host.to_owned(), root: root.to_owned() });
    }
    let there = match object.pointer(SUBSETS) {
        None => None,
        Some(Value::Array(list)) => Some(list.as_slice()),
        other => return Err(malformed(SUBSETS, "a list of subsets", found(other))),
    };
    let old = there.unwrap_or_default();
    let slots = desired(old, ours);
    let mut operations = Vec::new();
    match there {
        None if slots.is_empty() => {}
        None => {
            let list: Vec<Value> = slots.into_iter().map(|slot| slot.value).collect();
            operations.push(patch::add(SUBSETS, &Value::Array(list)));
        }
        Some([_, ..]) if slots.is_empty() => operations.push(patch::remove(SUBSETS)),
        Some(_) => patch::of_slots(old, &slots, SUBSETS, &mut operations),
    }
    patch::versioned(object, operations)
}

fn desired(old: &[Value], ours: &[Subset<'_>]) -> Vec<Slot> {
    let name = |one: &Value| one.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut slots = Vec::with_capacity(old.len() + ours.len());
    for (at, one) in old.iter().enumerate() {
        let our = ours.iter().find(|our| name(one).as_deref() == Some(our.name));
        let mut value = one.clone();
        match our.map(|our| our.labels) {
            None => {}
            Some(None) => continue,
            Some(Some(labels)) => {
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("labels".to_owned(), json!(labels));
                }
            }
        }
        slots.push(Slot { from: Some(at), value });
    }
    for our in ours {
        let is_there = old.iter().any(|one| name(one).as_deref() == Some(our.name));
        if let (false, Some(labels)) = (is_there, our.labels) {
            slots.push(Slot { from: None, value: json!({"name": our.name, "labels": labels}) });
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::fixture::applied;

    fn labels(release: &str) -> Map<String, Value> {
        Map::from_iter([("tidegate.dev/release".to_owned(), json!(release))])
    }

    fn rule(subsets: &Value) -> Value {
        json!({
            "kind": "DestinationRule",
            "metadata": {"namespace": "web", "name": "shop", "resourceVersion": "7"},
            "spec": {"host": "shop.web.svc.cluster.local", "subsets": subsets},
        })
    }

    #[test]
    fn our_subsets_come_and_go_and_those_of_others_stay_as_they_are() {
        let foreign = json!({"name": "old-tests", "labels": {"tier": "x"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}});
        let (a, b) = (labels("a"), labels("b"));
        let there =
            [Subset { name: "shop-a", labels: Some(&a) }, Subset { name: "shop-b", labels: Some(&b) }];
        let gone = there.map(|subset| Subset { labels: None, ..subset });
        for at_rest in [rule(&json!([foreign])), rule(&json!([foreign, {"name": "z", "labels": {}}]))] {
            let with = applied(&at_rest, &changes(&at_rest, "shop", &there).unwrap());
            assert_eq!(with["spec"]["subsets"][0], foreign);
            assert_eq!(with["spec"]["subsets"].as_array().unwrap().last().unwrap()["labels"], json!(b));
            assert_eq!(changes(&with, "shop", &there).unwrap(), Vec::<Value>::new());
            let moved = [Subset { name: "shop-a", labels: Some(&b) }];
            assert_eq!(changes(&with, "shop", &moved).unwrap().len(), 2, "one test, one value");
            assert_eq!(applied(&with, &changes(&with, "shop", &gone).unwrap()), at_rest);
        }
        let mut without = rule(&json!([]));
        without["spec"].as_object_mut().unwrap().remove("subsets");
        let with = applied(&without, &changes(&without, "shop", &there).unwrap());
        assert_eq!(with["spec"]["subsets"].as_array().unwrap().len(), 2);
        assert_eq!(applied(&with, &changes(&with, "shop", &gone).unwrap()), without);
    }

    #[test]
    fn a_rule_for_another_host_is_refused_by_name() {
        let error = changes(&rule(&json!([])), "cart", &[]).unwrap_err().to_string();
        assert!(
            error.contains("DestinationRule web/shop") && error.contains("shop.web.svc.cluster.local"),
            "{error}"
        );
    }
}
