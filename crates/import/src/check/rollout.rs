//! The rules for a Rollout.

use tidegate_yaml::finding::{Code, shown};

use super::{Said, is_empty, pods, steps};
use crate::{duration::Amount, field::Field};

/// Argo's own, where nothing is written.
const HISTORY: i64 = 10;
const DEADLINE_S: i64 = 600;

/// Routers that need a Service for each side.
const NEED_SERVICES: [&str; 7] = ["alb", "smi", "apisix", "ambassador", "nginx", "appMesh", "traefik"];

pub(super) fn check(root: &Field<'_>, said: &mut Said) {
    let Some(spec) = root.get("spec") else { return };
    said.not_negative(&spec, "replicas");
    let history = said.not_negative(&spec, "revisionHistoryLimit").unwrap_or(HISTORY);
    let ready = said.not_negative(&spec, "minReadySeconds").unwrap_or(0);
    let deadline = said.not_negative(&spec, "progressDeadlineSeconds").unwrap_or(DEADLINE_S);
    if deadline >= 0 && deadline <= ready {
        let field = spec.get("progressDeadlineSeconds").unwrap_or_else(|| spec.clone());
        let message =
            format!("`progressDeadlineSeconds`, {deadline}, is not more than `minReadySeconds`, {ready}");
        said.conflict(&field, message, "raise it: no pod could be available in time");
    }
    pods(&spec, said);
    let Some(strategy) = spec.get("strategy") else { return };
    match (strategy.get("canary"), strategy.get("blueGreen")) {
        (Some(canary), None) => self::canary(&canary, root, said),
        (None, Some(green)) => blue_green(&green, history, said),
        (Some(_), Some(green)) => {
            said.conflict(&green, "`canary` and `blueGreen` exclude each other", "keep one of the two");
        }
        // `canary: {}` is one; `canary:` with nothing is none.
        (None, None) => said.missing(&strategy, "canary", "exactly one of `canary` and `blueGreen`"),
    }
}

/// The selector, the pod template, or what they are taken from.
fn pods(spec: &Field<'_>, said: &mut Said) {
    let template = spec.get("template").filter(|template| !template.entries().is_empty());
    if let Some(reference) = spec.get("workloadRef") {
        if let Some(template) = template {
            said.conflict(
                &template,
                "`template` and `workloadRef` exclude each other",
                "take the pod template out, or the reference",
            );
        }
        if reference.text_at("kind").is_some() && is_empty(reference.text_at("name")) {
            said.missing(&reference, "name", "the name of the workload");
        }
        return;
    }
    let Some(template) = template else {
        said.missing(spec, "template", "a pod template, or `workloadRef`");
        return;
    };
    let containers = template.at("spec.containers").map(|list| list.items()).unwrap_or_default();
    if containers.is_empty() {
        said.missing(&template, "spec.containers", "at least one container");
    }
    for container in &containers {
        for key in ["name", "image"] {
            if is_empty(container.text_at(key)) {
                said.missing(container, key, "a text");
            }
        }
    }
    pods::check(&template, said);
    selector(spec, &template, said);
}

/// It is there, selects something, and selects these pods.
fn selector(spec: &Field<'_>, template: &Field<'_>, said: &mut Said) {
    let Some(selector) = spec.get("selector") else {
        said.missing(spec, "selector", "the labels of the pods");
        return;
    };
    let labels = selector.get("matchLabels");
    let wanted = labels.as_ref().map(Field::entries).unwrap_or_default();
    let expressions = selector.get("matchExpressions").map(|list| list.items()).unwrap_or_default();
    if wanted.is_empty() && expressions.is_empty() {
        said.add(
            &selector,
            Code::OutOfRange,
            "the selector is empty",
            "write the labels of the pods under `matchLabels`",
        );
    }
    for one in &expressions {
        expression(one, template, said);
    }
    for (key, value) in &wanted {
        let label = template.at("metadata.labels").and_then(|labels| labels.get(key));
        if label.as_ref().and_then(Field::text) != value.text() {
            let message = format!(
                "the selector asks for `{key}: {}`, and the pod template does not have it",
                value.text().unwrap_or_default()
            );
            said.conflict(value, message, "write the same label under `template.metadata.labels`");
        }
    }
}

/// Expressions that can be read, and that these pods fit.
fn expression(expression: &Field<'_>, template: &Field<'_>, said: &mut Said) {
    let key = expression.text_at("key").unwrap_or_default();
    let label = template.at("metadata.labels").and_then(|labels| labels.get(key));
    let label = label.as_ref().and_then(Field::text);
    let values = expression.get("values").map(|list| list.items()).unwrap_or_default();
    let among = values.iter().any(|value| value.text() == label && label.is_some());
    let operator = expression.text_at("operator").unwrap_or_default();
    let fits = match operator {
        "In" => among,
        "NotIn" => !among,
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => {
            let message = format!("`{}` is not a way to compare", shown(operator));
            said.add(expression, Code::UnknownWord, message, "write In, NotIn, Exists or DoesNotExist");
            return;
        }
    };
    if values.is_empty() == operator.ends_with("In") {
        let help = "`In` and `NotIn` have values, `Exists` and `DoesNotExist` have none";
        said.conflict(expression, format!("`{operator}` does not fit its `values`"), help);
    } else if !fits {
        let message =
            format!("the selector asks something of `{}` that the pod template does not fit", shown(key));
        said.conflict(expression, message, "correct it, or the labels under `template.metadata.labels`");
    }
}

fn blue_green(green: &Field<'_>, history: i64, said: &mut Said) {
    let (active, preview) = (green.text_at("activeService"), green.get("previewService"));
    if active.is_none() && green.get("activeService").is_some() {
        said.missing(green, "activeService", "the Service that users come in by");
    }
    if let Some(preview) = preview.filter(|preview| preview.text() == active && active.is_some()) {
        said.conflict(
            &preview,
            "`activeService` and `previewService` are the same Service",
            "name two: the preview must not reach users",
        );
    }
    if let Some(limit) = green.get("scaleDownDelayRevisionLimit")
        && limit.whole().is_some_and(|limit| limit > history)
    {
        let message =
            format!("more revisions keep their pods than `revisionHistoryLimit`, {history}, keeps at all");
        said.conflict(&limit, message, "lower it, or raise `revisionHistoryLimit`");
    }
    affinity(green, said);
}

fn canary(canary: &Field<'_>, root: &Field<'_>, said: &mut Said) {
    bounds(canary, said);
    services(canary, said);
    routing(canary, said);
    affinity(canary, said);
    steps::check(canary, root, said);
}

fn bounds(canary: &Field<'_>, said: &mut Said) {
    let amount = |key: &str, said: &mut Said| {
        let field = canary.get(key)?;
        let amount = Amount::of(&field);
        if amount.is_none() {
            said.add(
                &field,
                Code::WrongType,
                format!("expected a number of pods or a percentage, found {}", field.found()),
                "write `2` or `25%`",
            );
        }
        amount.map(|amount| (field, amount))
    };
    let surge = amount("maxSurge", said);
    let unavailable = amount("maxUnavailable", said);
    if let (Some((field, surge)), Some((_, unavailable))) = (surge, unavailable)
        && surge.is_none()
        && unavailable.is_none()
    {
        said.conflict(
            &field,
            "`maxSurge` and `maxUnavailable` are both zero: no pod could be replaced",
            "raise one of the two",
        );
    }
}

fn services(canary: &Field<'_>, said: &mut Said) {
    let (stable, new) = (canary.get("stableService"), canary.get("canaryService"));
    if let (Some(stable), Some(new)) = (&stable, &new)
        && stable.text() == new.text()
        && !is_empty(stable.text())
    {
        said.conflict(
            stable,
            "`canaryService` and `stableService` are the same Service",
            "name two: one for each side",
        );
    }
    let Some(routing) = canary.get("trafficRouting") else { return };
    let pings = canary.get("pingPong").is_some();
    let hosts = routing.get("istio").is_some_and(|istio| istio.get("destinationRule").is_none()) && !pings;
    let needs = NEED_SERVICES.iter().find(|key| routing.get(key).is_some() && !(**key == "alb" && pings));
    if let Some(router) = needs.copied().or_else(|| hosts.then_some("istio")) {
        for key in ["stableService", "canaryService"] {
            if is_empty(canary.text_at(key)) {
                said.missing(canary, key, &format!("a Service: `{router}` splits traffic between two"));
            }
        }
    }
}

fn routing(canary: &Field<'_>, said: &mut Said) {
    let (delay, dynamic) = (canary.get("scaleDownDelaySeconds"), canary.get("dynamicStableScale"));
    let dynamic = dynamic.filter(|dynamic| dynamic.truth() == Some(true));
    let routing = canary.get("trafficRouting");
    match (&routing, &delay, &dynamic) {
        (None, _, _) => {
            for field in delay.iter().chain(&dynamic) {
                said.conflict(field, "this needs `trafficRouting`", "name a router, or take it out");
            }
        }
        (Some(_), Some(_), Some(dynamic)) => {
            said.conflict(
                dynamic,
                "`dynamicStableScale` and `scaleDownDelaySeconds` exclude each other",
                "keep one of the two",
            );
        }
        (Some(_), _, _) => {}
    }
    if let Some(max) = routing.as_ref().and_then(|routing| routing.get("maxTrafficWeight")) {
        let takes = |key: &str| routing.as_ref().is_some_and(|routing| routing.get(key).is_some());
        if !takes("nginx") && !takes("plugins") {
            said.conflict(
                &max,
                "`maxTrafficWeight` is only known to `nginx` and `plugins`",
                "take it out: weights are 0 to 100",
            );
        }
    }
    ping_pong(canary, routing.as_ref(), said);
}

fn ping_pong(canary: &Field<'_>, routing: Option<&Field<'_>>, said: &mut Said) {
    let Some(pings) = canary.get("pingPong") else { return };
    for key in ["pingService", "pongService"] {
        if is_empty(pings.text_at(key)) {
            said.missing(&pings, key, "a Service");
        }
    }
    if pings.text_at("pingService").is_some() && pings.text_at("pingService") == pings.text_at("pongService")
    {
        said.conflict(&pings, "`pingService` and `pongService` are the same Service", "name two");
    }
    let Some(routing) = routing else { return };
    if ["alb", "istio", "plugins"].iter().all(|router| routing.get(router).is_none()) {
        said.conflict(
            &pings,
            "`pingPong` needs one of the routers `alb`, `istio` and `plugins`",
            "take it out, or name one of them",
        );
    }
    if let Some(alb) = routing.get("alb").filter(|alb| is_empty(alb.text_at("rootService"))) {
        said.missing(&alb, "rootService", "a Service, beside `pingPong`");
    }
}

fn affinity(strategy: &Field<'_>, said: &mut Said) {
    let Some(affinity) = strategy.get("antiAffinity") else { return };
    let preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution");
    let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution");
    if preferred.is_some() == required.is_some() {
        said.conflict(&affinity, "expected exactly one of `preferredDuringSchedulingIgnoredDuringExecution` and `requiredDuringSchedulingIgnoredDuringExecution`", "keep one of the two");
    }
    if let Some(preferred) = preferred {
        let weight = preferred.get("weight").and_then(|weight| weight.whole()).unwrap_or(0);
        if !(1..=100).contains(&weight) {
            let field = preferred.get("weight").unwrap_or(preferred);
            said.add(
                &field,
                Code::OutOfRange,
                format!("`{weight}` is out of range: 1 to 100"),
                "write how much it weighs",
            );
        }
    }
}
