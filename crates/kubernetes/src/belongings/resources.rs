//! What a container may use when its manifest does not say.

use serde_json::{Value, json};
use tidegate_core::model::Criticality;

use super::security::object_in;

/// CPU and memory that a container asks for; its memory is limited to the same, its CPU is not.
pub const fn defaults(criticality: Criticality) -> (&'static str, &'static str) {
    match criticality {
        Criticality::Low => ("50m", "128Mi"),
        Criticality::Medium => ("100m", "256Mi"),
        Criticality::High => ("250m", "512Mi"),
        Criticality::Critical => ("500m", "1Gi"),
    }
}

/// Gives every container of the template that says nothing the requests and the limit of its criticality; answers what a
/// reader of the plan should know of it. A container that says anything is left as it is.
pub fn sized(template: &mut Value, criticality: Criticality) -> Option<String> {
    let (cpu, memory) = defaults(criticality);
    let mut given = Vec::new();
    for list in ["/spec/initContainers", "/spec/containers"] {
        for container in template.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let resources = container.as_object_mut().and_then(|one| object_in(one, "resources"));
            let Some(resources) = resources else { continue };
            let says = |key: &str| resources.get(key).is_some_and(|value| !value.is_null());
            if says("requests") || says("limits") {
                continue;
            }
            resources.insert("requests".to_owned(), json!({"cpu": cpu, "memory": memory}));
            resources.insert("limits".to_owned(), json!({"memory": memory}));
            given.push(name);
        }
    }
    (!given.is_empty()).then(|| {
        format!(
            "the manifest gives {} no resources: {cpu} CPU and {memory} memory, which is its limit too (`resources: manifest` \
             leaves it out)",
            given.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_resources_gets_those_of_its_criticality_and_one_with_any_is_left_alone() {
        let mut template = json!({"spec": {"containers": [
            {"name": "web"}, {"name": "log", "resources": {"limits": {"cpu": "1"}}}, {"name": "none", "resources": null},
        ]}});
        let note = sized(&mut template, Criticality::High).unwrap();
        assert!(note.contains("gives web, none no resources: 250m CPU and 512Mi"), "{note}");
        let own = json!({"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}});
        let seen = |at: usize| template["spec"]["containers"][at]["resources"].clone();
        assert_eq!((seen(0), seen(1), seen(2)), (own.clone(), json!({"limits": {"cpu": "1"}}), own));
        assert_eq!(sized(&mut template, Criticality::Low), None);
    }
}
