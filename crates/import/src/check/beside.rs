//! Whether the Services and `VirtualServices` in the same file fit a Rollout.

use tidegate_yaml::finding::{Code, shown};

use super::{Said, is_empty};
use crate::{
    field::Field,
    objects::{Object, Objects},
};

/// The label that Argo Rollouts writes into selectors itself.
const HASH: &str = "rollouts-pod-template-hash";

/// Services of a Rollout, by the field that names them.
const SERVICES: [&str; 6] = [
    "spec.strategy.canary.stableService",
    "spec.strategy.canary.canaryService",
    "spec.strategy.canary.pingPong.pingService",
    "spec.strategy.canary.pingPong.pongService",
    "spec.strategy.blueGreen.activeService",
    "spec.strategy.blueGreen.previewService",
];

pub(super) fn check(rollout: &Object<'_>, objects: &Objects<'_>, said: &mut Said) {
    let names = SERVICES.iter().filter_map(|path| rollout.field.at(path));
    for name in names.filter(|name| !is_empty(name.text())) {
        let service = objects.named("Service", name.text().unwrap_or_default(), rollout.namespace);
        if let (Some(service), Some(labels)) = (service, labels(rollout, objects)) {
            selects(&name, &service.field, &labels, said);
        }
    }
    let Some(canary) = rollout.field.at("spec.strategy.canary") else { return };
    let Some(istio) = canary.at("trafficRouting.istio") else { return };
    let several = istio.get("virtualServices").map(|list| list.items()).unwrap_or_default();
    for named in istio.get("virtualService").into_iter().chain(several) {
        let name = named.text_at("name").unwrap_or_default();
        if let Some(route) = objects.named("VirtualService", name, rollout.namespace) {
            routes(&named, &route.field, &canary, said);
        }
    }
}

/// The labels of the pods, where they can be known.
fn labels<'a>(rollout: &Object<'a>, objects: &Objects<'a>) -> Option<Field<'a>> {
    let of = |field: &Field<'a>| field.at("spec.template.metadata.labels");
    let Some(workload) = rollout.field.at("spec.workloadRef") else { return of(&rollout.field) };
    let name = workload.text_at("name").unwrap_or_default();
    of(&objects.named(workload.text_at("kind")?, name, rollout.namespace)?.field)
}

/// Each label that the Service asks for is one of the pods'.
fn selects(name: &Field<'_>, service: &Field<'_>, labels: &Field<'_>, said: &mut Said) {
    let asked = service.at("spec.selector").map(|selector| selector.entries()).unwrap_or_default();
    for (key, value) in asked.iter().filter(|(key, _)| *key != HASH) {
        let label = labels.get(key);
        let label = label.as_ref().and_then(Field::text);
        if label != value.text() {
            let found = label.map_or_else(|| "do not have it".to_owned(), |label| format!("have `{label}`"));
            let (key, asked) = (shown(key), shown(value.text().unwrap_or_default()));
            let message = format!("the Service selects `{key}: {asked}`, and the pods {found}");
            let help = format!("line {} of the Service, or the labels of the pod template", value.place.line);
            said.conflict(name, message, format!("correct one of the two: {help}"));
        }
    }
}

/// The routes that are named are there, and have both sides.
fn routes(named: &Field<'_>, route: &Field<'_>, canary: &Field<'_>, said: &mut Said) {
    let rules = route.at("spec.http").map(|list| list.items()).unwrap_or_default();
    if rules.is_empty() {
        if ["spec.tls", "spec.tcp"].iter().all(|path| route.at(path).is_none()) {
            said.conflict(named, "the VirtualService has no `http`, `tls` or `tcp`", "give it a route");
        }
        return;
    }
    // Its sides change with every rollout.
    if canary.get("pingPong").is_some() {
        return;
    }
    let names = named.get("routes").map(|list| list.items()).unwrap_or_default();
    for name in &names {
        let found: Vec<_> = rules.iter().filter(|rule| rule.text_at("name") == name.text()).collect();
        if found.is_empty() {
            let known: Vec<_> = rules.iter().filter_map(|rule| rule.text_at("name")).map(shown).collect();
            let help = if known.is_empty() {
                "no route of it has a name".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            };
            let message = format!("the VirtualService has no route called {}", name.found());
            said.add(name, Code::UnknownWord, message, help);
        }
        for rule in found {
            sides(named, rule, canary, said);
        }
    }
    if names.is_empty() {
        only(named, &rules, canary, said);
    }
}

/// Without names, there is one route besides those that steps make.
fn only(named: &Field<'_>, rules: &[Field<'_>], canary: &Field<'_>, said: &mut Said) {
    let made = canary.at("trafficRouting.managedRoutes").map(|list| list.items()).unwrap_or_default();
    let is_made = |rule: &&Field<'_>| {
        let name = rule.text_at("name");
        name.is_some() && made.iter().any(|made| made.text_at("name") == name)
    };
    let own: Vec<_> = rules.iter().filter(|rule| !is_made(rule)).collect();
    match own.as_slice() {
        [rule] => sides(named, rule, canary, said),
        [] => {}
        _ => {
            let message = format!("the VirtualService has {} routes, and none is named", own.len());
            said.conflict(named, message, "name those that users come in by under `routes`");
        }
    }
}

/// A route has a destination for the stable release and one for the new one.
fn sides(named: &Field<'_>, rule: &Field<'_>, canary: &Field<'_>, said: &mut Said) {
    let destinations = rule.get("route").map(|list| list.items()).unwrap_or_default();
    let subsets = canary.at("trafficRouting.istio.destinationRule");
    let (around, path, keys) = match &subsets {
        Some(rule) => (rule, "destination.subset", ["stableSubsetName", "canarySubsetName"]),
        None => (canary, "destination.host", ["stableService", "canaryService"]),
    };
    for side in keys.iter().filter_map(|key| around.get(key)).filter(|side| !is_empty(side.text())) {
        let of = |destination: &Field<'_>| {
            let found = destination.text_at(path).unwrap_or_default();
            // A host may be written with its namespace.
            let found = if subsets.is_none() { found.split('.').next().unwrap_or_default() } else { found };
            Some(found) == side.text()
        };
        if !destinations.iter().any(of) {
            let line = rule.place.line;
            let message = format!("the route on line {line} has no destination {}", side.found());
            said.conflict(named, message, "write one for each side, with weights 100 and 0");
        }
    }
}
