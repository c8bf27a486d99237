//! The rules for the steps of a canary.

use tidegate_yaml::finding::{Code, shown};

use super::{Said, is_empty, pods};
use crate::{duration, field::Field};

/// Kinds of steps of which one step has at most one.
const ALONE: [&str; 4] = ["setWeight", "pause", "experiment", "analysis"];
/// All kinds.
const KINDS: [&str; 8] = [
    "setWeight",
    "pause",
    "experiment",
    "analysis",
    "setCanaryScale",
    "setHeaderRoute",
    "setMirrorRoute",
    "plugin",
];
/// Fields of its own metadata that a Rollout may take arguments from.
const METADATA: [&str; 5] = ["annotations", "labels", "name", "namespace", "uid"];

pub(super) fn check(canary: &Field<'_>, root: &Field<'_>, said: &mut Said) {
    let routing = canary.get("trafficRouting");
    let max = canary.at("trafficRouting.maxTrafficWeight").and_then(|max| max.whole()).unwrap_or(100);
    if let Some(block) = canary.get("analysis") {
        arguments(&block, root, said);
    }
    for step in canary.get("steps").map(|steps| steps.items()).unwrap_or_default() {
        kinds(&step, said);
        weight(&step, max, said);
        pause(&step, said);
        if let Some(scale) = step.get("setCanaryScale").filter(|_| routing.is_none()) {
            said.conflict(&scale, "`setCanaryScale` needs `trafficRouting`", "name a router, or take it out");
        }
        header(&step, routing.as_ref(), said);
        mirror(&step, routing.as_ref(), said);
        experiment(&step, routing.as_ref(), root, said);
        if let Some(analysis) = step.get("analysis") {
            arguments(&analysis, root, said);
        }
    }
}

/// A pause may be written as nothing at all: it is one without end.
fn has(step: &Field<'_>, kind: &str) -> bool {
    step.get(kind).is_some()
}

fn kinds(step: &Field<'_>, said: &mut Said) {
    let found: Vec<&str> = ALONE.into_iter().filter(|kind| has(step, kind)).collect();
    if let [first, second, ..] = found.as_slice() {
        said.conflict(
            step,
            format!("`{first}` and `{second}` in one step"),
            "write two steps, one below the other",
        );
    }
    if !KINDS.iter().any(|kind| has(step, kind)) && step.is_map() {
        let help = "write one of setWeight, pause, analysis, experiment, setCanaryScale, setHeaderRoute, setMirrorRoute and plugin; a pause without end is `pause: {}`";
        said.add(step, Code::MissingKey, "the step does nothing", help);
    }
}

fn weight(step: &Field<'_>, max: i64, said: &mut Said) {
    let Some(field) = step.get("setWeight") else { return };
    if field.whole().is_some_and(|weight| !(0..=max).contains(&weight)) {
        said.add(
            &field,
            Code::OutOfRange,
            format!("{} is out of range: 0 to {max}", field.found()),
            "write the share in percent",
        );
    }
}

fn pause(step: &Field<'_>, said: &mut Said) {
    let Some(field) = step.at("pause.duration") else { return };
    match duration::pause(&field) {
        Some(ms) if ms >= 0 => {}
        Some(_) => said.add(
            &field,
            Code::OutOfRange,
            format!("{} is below zero", field.found()),
            "write how long it lasts",
        ),
        None => {
            let message = format!("expected seconds or a duration, found {}", field.found());
            said.add(&field, Code::BadText, message, "write 30, \"30\", 30s, 5m or 1h");
        }
    }
}

fn header(step: &Field<'_>, routing: Option<&Field<'_>>, said: &mut Said) {
    let Some(route) = step.get("setHeaderRoute") else { return };
    let takes = |key: &str| routing.is_some_and(|routing| routing.get(key).is_some());
    if ["istio", "alb", "apisix", "plugins"].iter().any(|key| takes(key)) {
        for one in route.get("match").map(|matches| matches.items()).unwrap_or_default() {
            let value = one.get("headerValue").unwrap_or_else(|| one.clone());
            text_match(&value, takes("alb"), said);
        }
    } else {
        said.conflict(
            &route,
            "`setHeaderRoute` needs a router that can route by headers: istio, alb, apisix or a plugin",
            "name one, or take the step out",
        );
    }
    managed(&route, routing, said);
}

fn mirror(step: &Field<'_>, routing: Option<&Field<'_>>, said: &mut Said) {
    let Some(route) = step.get("setMirrorRoute") else { return };
    let takes = |key: &str| routing.is_some_and(|routing| routing.get(key).is_some());
    if !takes("istio") && !takes("plugins") {
        said.conflict(
            &route,
            "`setMirrorRoute` needs a router that can copy requests: istio, or a plugin",
            "name one, or take the step out",
        );
    }
    if let Some(percent) =
        route.get("percentage").filter(|percent| percent.whole().is_some_and(|p| !(0..=100).contains(&p)))
    {
        said.add(
            &percent,
            Code::OutOfRange,
            format!("{} is out of range: 0 to 100", percent.found()),
            "write it in percent",
        );
    }
    for one in route.get("match").map(|matches| matches.items()).unwrap_or_default() {
        for value in ["method", "path"].iter().filter_map(|key| one.get(key)) {
            text_match(&value, false, said);
        }
    }
    managed(&route, routing, said);
}

/// Exactly one way to compare a text.
fn text_match(field: &Field<'_>, exact_only: bool, said: &mut Said) {
    let written: Vec<&str> =
        ["exact", "regex", "prefix"].into_iter().filter(|key| !is_empty(field.text_at(key))).collect();
    if exact_only && written != ["exact"] {
        said.conflict(field, "`alb` only compares with `exact`", "write `exact` alone");
    } else if written.len() != 1 {
        said.conflict(field, "expected exactly one of `exact`, `regex` and `prefix`", "keep one of them");
    }
}

/// Routes that are made are named beforehand.
fn managed(route: &Field<'_>, routing: Option<&Field<'_>>, said: &mut Said) {
    let Some(routing) = routing else { return };
    let name = route.text_at("name").unwrap_or_default();
    match routing.get("managedRoutes") {
        None => said.missing(
            routing,
            "managedRoutes",
            &format!("the names of routes that steps make, `{}` among them", shown(name)),
        ),
        Some(routes) => {
            let known = routes.items();
            if !known.iter().any(|route| route.text_at("name") == Some(name)) {
                let message = format!("`{}` is not one of `managedRoutes`", shown(name));
                let help = tidegate_yaml::near::nearest(
                    name,
                    known.iter().filter_map(|route| route.text_at("name")),
                )
                .map_or_else(|| "name it there".to_owned(), |near| format!("did you mean `{near}`?"));
                said.add(route, Code::UnknownWord, message, help);
            }
        }
    }
}

fn experiment(step: &Field<'_>, routing: Option<&Field<'_>>, root: &Field<'_>, said: &mut Said) {
    let Some(experiment) = step.get("experiment") else { return };
    let takes = |key: &str| routing.is_some_and(|routing| routing.get(key).is_some());
    let weighs = ["alb", "smi", "istio", "plugins"].iter().any(|key| takes(key));
    for template in experiment.get("templates").map(|list| list.items()).unwrap_or_default() {
        if let Some(weight) = template.get("weight").filter(|_| !weighs) {
            said.conflict(
                &weight,
                "weights of an experiment need the router istio, alb, smi or a plugin",
                "take it out",
            );
        }
    }
    for analysis in experiment.get("analyses").map(|list| list.items()).unwrap_or_default() {
        arguments(&analysis, root, said);
    }
}

/// Arguments from the Rollout's own metadata name what it has.
pub(super) fn arguments(block: &Field<'_>, root: &Field<'_>, said: &mut Said) {
    for argument in block.get("args").map(|args| args.items()).unwrap_or_default() {
        let Some(path) = argument.at("valueFrom.fieldRef.fieldPath") else { continue };
        let Some(inside) = path.text().and_then(|path| path.strip_prefix("metadata")) else { continue };
        if !is_of_metadata(inside.strip_prefix('.').unwrap_or_default()) || root.get("metadata").is_none() {
            let message = format!("{} is not a part of the metadata that can be taken", path.found());
            said.add(&path, Code::BadText, message, "write metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'] or metadata.annotations['KEY']");
        }
    }
}

/// `name`, or `labels['KEY']`.
fn is_of_metadata(path: &str) -> bool {
    let key = |of: &str| path.strip_prefix(of)?.strip_prefix("['")?.strip_suffix("']");
    METADATA.contains(&path) || ["labels", "annotations"].into_iter().filter_map(key).any(pods::is_key)
}
