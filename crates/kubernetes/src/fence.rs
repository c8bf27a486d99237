//! Who may write an object: one Tidegate, its latest engine, its latest word.

use serde_json::{Map, Value, json};
use tidegate_core::plan::Plan;

/// The right to write, as one order has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fence<'a> {
    /// The service: several may share one route.
    pub(crate) service: &'a str,
    /// The name of the Tidegate's data directory.
    pub(crate) owner: &'a str,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    /// The earliest generation whose word on an object is as good as this one's, when it says the same.
    pub(crate) since: u64,
}

/// Why an object may not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FenceError {
    #[error(
        "{what} is looked after by another Tidegate (`{other}`): deploy from there, or remove the annotation `{key}` when that \
         one is gone for good"
    )]
    Owner { what: String, other: String, key: String },
    #[error("{what} was written by a newer engine or a newer deployment ({seen}, this is {own})")]
    Newer { what: String, seen: String, own: String },
}

impl<'a> Fence<'a> {
    /// For the intention of this plan with this generation.
    pub(crate) fn new(owner: &'a str, epoch: u64, plan: &'a Plan, generation: u64) -> Self {
        Self { service: &plan.service, owner, epoch, generation, since: generation }
    }

    /// The same, for what ends a deployment: no order of the deployment that could still come says anything else than what it
    /// wrote last.
    pub(crate) fn at_the_end(self, plan: &Plan) -> Self {
        Self { since: plan.generation(0), ..self }
    }

    /// The annotation that names the owner.
    pub(crate) fn owner_key(&self) -> String {
        format!("{}.tidegate.dev/owner", self.service)
    }

    /// The annotation that holds epoch and generation of the last write.
    pub(crate) fn key(&self) -> String {
        format!("{}.tidegate.dev/fence", self.service)
    }

    /// As it is written into the object.
    pub(crate) fn text(&self) -> String {
        format!("{}.{}", self.epoch, self.generation)
    }

    /// The annotations that carry it.
    pub(crate) fn annotations(&self) -> Map<String, Value> {
        Map::from_iter([(self.owner_key(), json!(self.owner)), (self.key(), json!(self.text()))])
    }

    /// Whether this very order has written the object already, or one that is as good.
    pub(crate) fn is_on(&self, object: &Value) -> bool {
        let seen = annotation(object, &self.key()).and_then(read);
        seen.is_some_and(|(epoch, generation)| {
            epoch == self.epoch && (self.since..=self.generation).contains(&generation)
        })
    }

    /// Whether an order of this deployment has written the object, by whichever engine.
    pub(crate) fn is_of_plan(&self, object: &Value, plan: &Plan) -> bool {
        let ours = annotation(object, &self.owner_key()) == Some(self.owner);
        let seen = annotation(object, &self.key()).and_then(read);
        ours && seen.is_some_and(|(_, generation)| generation >= plan.generation(0))
    }

    /// What puts it on an object that is changed by a JSON Patch.
    pub(crate) fn stamp(&self, object: &Value) -> Value {
        let mut all =
            object.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
        all.extend(self.annotations());
        json!({"op": "add", "path": "/metadata/annotations", "value": all})
    }

    /// A JSON Patch (RFC 6902) of an object as it was read: only that version, with the fence beside the operations.
    pub(crate) fn patch(&self, object: &Value, operations: impl IntoIterator<Item = Value>) -> Vec<Value> {
        [at_version(object), self.stamp(object)].into_iter().chain(operations).collect()
    }

    /// Whether this order may still write the object. One without annotations was never written by anybody of us.
    pub(crate) fn admits(&self, object: &Value, what: &str) -> Result<(), FenceError> {
        if let Some(other) = annotation(object, &self.owner_key()).filter(|other| *other != self.owner) {
            let key = self.owner_key();
            return Err(FenceError::Owner { what: what.to_owned(), other: other.to_owned(), key });
        }
        let Some(seen) = annotation(object, &self.key()) else { return Ok(()) };
        if read(seen).is_some_and(|seen| seen > (self.epoch, self.generation)) {
            let (seen, own) = (seen.to_owned(), self.text());
            return Err(FenceError::Newer { what: what.to_owned(), seen, own });
        }
        Ok(())
    }
}

/// Epoch and generation of [`Fence::text`].
fn read(text: &str) -> Option<(u64, u64)> {
    let (epoch, generation) = text.split_once('.')?;
    Some((epoch.parse().ok()?, generation.parse().ok()?))
}

/// The operation that makes a JSON Patch one of the version that was read.
pub(crate) fn at_version(object: &Value) -> Value {
    let version = object.pointer("/metadata/resourceVersion");
    json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})
}

/// The value of an annotation.
pub(crate) fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    let annotations = object.get("metadata").and_then(|metadata| metadata.get("annotations"));
    annotations.and_then(|all| all.get(key)).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(owner: &str, fence: &str) -> Value {
        json!({"metadata": {"annotations": {"shop.tidegate.dev/owner": owner, "shop.tidegate.dev/fence": fence}}})
    }

    #[test]
    fn an_older_epoch_and_an_older_generation_are_refused_and_another_tidegate_is_named() {
        let fence = Fence { service: "shop", owner: "here", epoch: 3, generation: 200_007, since: 200_007 };
        assert_eq!(fence.admits(&json!({}), "x"), Ok(()), "never written");
        for old in ["3.200007", "3.200006", "2.900000"] {
            assert_eq!(fence.admits(&object("here", old), "x"), Ok(()), "{old}");
        }
        for new in ["3.200008", "4.1"] {
            let refused = fence.admits(&object("here", new), "Service a/b").unwrap_err();
            assert!(refused.to_string().contains("newer"), "{refused}");
        }
        let refused = fence.admits(&object("there", "1.1"), "Service a/b").unwrap_err();
        assert!(refused.to_string().contains("`there`"), "{refused}");
        let last = Fence { since: 200_005, ..fence };
        for (seen, this, end) in [
            ("3.200007", true, true),
            ("3.200005", false, true),
            ("3.200004", false, false),
            ("2.200007", false, false),
        ] {
            assert_eq!(
                (fence.is_on(&object("here", seen)), last.is_on(&object("here", seen))),
                (this, end),
                "{seen}"
            );
        }
    }
}
