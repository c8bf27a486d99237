//! A Rollout as a service.

use crate::{
    Options,
    analysis::About,
    blue_green, canary,
    difference::Report,
    duration::{self, Amount},
    field::Field,
    form, known, manifest,
    objects::{Object, Objects},
    service::{Draft, Names, name_of},
    testers::Testers,
    traffic::{self, Routes},
};

/// The service that a Rollout becomes; nothing when it has no pods or no strategy.
pub(crate) fn draft<'a>(
    owner: &'a Object<'a>,
    objects: &'a Objects<'a>,
    options: &'a Options,
    report: &mut Report,
) -> Option<Draft> {
    known::say(owner, report);
    let spec = owner.field.get("spec");
    let Some(spec) = spec else {
        report.error(&owner.field, "has no `spec`", "nothing is written for it");
        return None;
    };
    let workload = manifest::workload(owner, "workloadRef", objects, report)?;
    manifest::say_images(&workload.template, report);
    let name = name_of(owner, report);
    let about = About { objects, options, owner };
    let replicas = replicas(&spec, report);
    let (canary, green) = (spec.at("strategy.canary"), spec.at("strategy.blueGreen"));
    let How { routes, plan, watch_ms, strategy } =
        how(&spec, canary.as_ref(), green.as_ref(), &about, report)?;
    let (service, port) = service(owner, &strategy, &routes, &workload.template, objects, report);
    on_purpose(&strategy, !plan.gates.list.is_empty(), options, report);
    let (surge, unavailable) = bounds(&strategy, canary.is_some(), report);
    let testers = testers(&routes, plan.testers, &strategy, report);
    let shadow = plan.shadow.filter(|_| copies(&routes, &strategy, report));
    let named = Names { service: &service, namespace: owner.namespace, route: routes.route.as_ref() };
    if !named.are_good(&strategy, report) {
        return None;
    }
    Some(Draft {
        manifest: manifest::deployment(owner, &name, replicas, &workload),
        name,
        service,
        port,
        preview: green.as_ref().and_then(preview),
        namespace: owner.namespace.to_owned(),
        replicas,
        destination_rule: routes.rule,
        traffic: routes.route,
        testers,
        adopt: adopt(owner, &strategy, report),
        surge,
        unavailable,
        progress_ms: progress(&spec, report),
        strategy: plan.strategy,
        shadow,
        gates: plan.gates,
        watch_ms,
        keep_releases: spec.get("revisionHistoryLimit").and_then(|limit| limit.whole()).unwrap_or(10),
        analysed: options.compat,
        at: format!("{}:{}", owner.field.file, owner.field.place.line),
    })
}

/// How a Rollout takes over.
struct How<'a> {
    routes: Routes,
    plan: canary::Plan,
    watch_ms: u64,
    /// Its strategy, as it is written.
    strategy: Field<'a>,
}

fn how<'a>(
    spec: &Field<'a>,
    canary: Option<&Field<'a>>,
    green: Option<&Field<'a>>,
    about: &About<'a>,
    report: &mut Report,
) -> Option<How<'a>> {
    match (canary, green) {
        (Some(canary), None) => {
            let routes = traffic::routes(canary, about.objects, about.owner, report);
            let plan = canary::plan(canary, routes.routed, about, report);
            let delay = canary.get("scaleDownDelaySeconds");
            let usual = if routes.routed { 30_000 } else { 0 };
            let watch_ms = duration::seconds(delay.as_ref()).unwrap_or(usual);
            Some(How { routes, plan, watch_ms, strategy: canary.clone() })
        }
        (None, Some(green)) => {
            let plan = blue_green::plan(green, about, report);
            let watch_ms = blue_green::stays_ms(green, report);
            Some(How { routes: Routes::default(), plan, watch_ms, strategy: green.clone() })
        }
        (None, None) | (Some(_), Some(_)) => {
            let field = spec.get("strategy").unwrap_or_else(|| spec.clone());
            let theirs = "expected exactly one of `canary` and `blueGreen`";
            report.error(&field, theirs, "nothing is written for it");
            None
        }
    }
}

/// Whom the routes and the steps tell from others.
fn testers(routes: &Routes, of_steps: Testers, strategy: &Field<'_>, report: &mut Report) -> Testers {
    let route = routes.route.as_ref().map(|(kind, _)| *kind);
    if route == Some("ingress") {
        if !of_steps.is_empty() {
            report.warn(
                strategy,
                "`setHeaderRoute` does nothing behind ingress-nginx",
                "not written: a `canary-by-header` of the canary Ingress is what tells testers",
            );
        }
        return routes.testers.clone();
    }
    of_steps.behind(route, strategy, report)
}

/// The Rollout, where its pods can become the first stable release.
fn adopt(owner: &Object<'_>, strategy: &Field<'_>, report: &mut Report) -> Option<String> {
    let only_argo = ["trafficRouting.istio.destinationRule", "pingPong"];
    if !form::is_object(owner.name) || only_argo.iter().any(|path| strategy.at(path).is_some()) {
        return None;
    }
    report.note(
        &owner.field,
        "its controller gives it pods and points its Services to them",
        "`adopt_rollout`: its running pods are the stable release of the first deployment, and its controller leaves it alone from then on; take the key out where it never ran",
    );
    Some(owner.name.to_owned())
}

/// The Service that selects the new pods before the switch.
fn preview(green: &Field<'_>) -> Option<String> {
    let named = green.text_at("previewService")?.to_owned();
    form::is_object(&named).then_some(named)
}

fn replicas(spec: &Field<'_>, report: &mut Report) -> u32 {
    let Some(field) = spec.get("replicas") else { return 1 };
    let written = field.whole().unwrap_or(1);
    if !(1..=10_000).contains(&written) {
        report.warn(
            &field,
            format!("{written} pods"),
            "1: a release that serves has a pod; write `replicas` as it is meant",
        );
    }
    u32::try_from(written).unwrap_or(1).clamp(1, 10_000)
}

/// `maxSurge` and `maxUnavailable`, Argo's defaults written out.
fn bounds(strategy: &Field<'_>, canary: bool, report: &mut Report) -> (Option<Amount>, Option<Amount>) {
    if !canary {
        return (None, None);
    }
    let mut amount = |key: &str| {
        let field = strategy.get(key)?;
        let amount = Amount::of(&field)?;
        if matches!(amount, Amount::Percent(percent) if percent > 100) {
            report.warn(&field, "more than 100 %", "100 %: more pods at once are not started");
        }
        Some(amount)
    };
    let surge = amount("maxSurge").unwrap_or(Amount::Percent(25));
    let unavailable = amount("maxUnavailable").unwrap_or(Amount::Percent(25));
    if surge.is_none() && unavailable.is_none() {
        return (Some(surge), Some(Amount::Pods(1)));
    }
    (Some(surge), Some(unavailable))
}

/// Whether what moves the traffic can copy requests, too.
fn copies(routes: &Routes, strategy: &Field<'_>, report: &mut Report) -> bool {
    let can = routes.route.as_ref().is_some_and(|(kind, _)| ["http_route", "virtual_service"].contains(kind));
    if !can {
        report.warn(
            strategy,
            "copies of requests before the first user",
            "not written: only a VirtualService or an HTTPRoute copies requests",
        );
    }
    can
}

fn progress(spec: &Field<'_>, report: &mut Report) -> u64 {
    let field = spec.get("progressDeadlineSeconds");
    let aborts = spec.get("progressDeadlineAbort").and_then(|on| on.truth()) == Some(true);
    let at = field.as_ref().unwrap_or(spec);
    if aborts {
        report.note(
            at,
            "a start without progress is aborted; a pod that crashes and comes back begins the time anew",
            "turned back; a crash loop does not begin the time anew",
        );
    } else {
        report.note(at, "a start without progress is marked as degraded, and stays", "turned back: users are on the last good release, and `tidegate why` says which pod did not come up");
    }
    duration::seconds(field.as_ref()).unwrap_or(600_000).clamp(1_000, 86_400_000)
}

/// The Service that users come in by, and its port.
fn service(
    owner: &Object<'_>,
    strategy: &Field<'_>,
    routes: &Routes,
    template: &Field<'_>,
    objects: &Objects<'_>,
    report: &mut Report,
) -> (String, Option<u16>) {
    let named = strategy.text_at("stableService").or_else(|| strategy.text_at("activeService"));
    let named = named.map(str::to_owned).or_else(|| routes.host.clone());
    let selecting = || objects.of_kind("Service").find(|service| selects(service, template, owner));
    let Some(name) = named.or_else(|| selecting().map(|service| service.name.to_owned())) else {
        report.error(
            strategy,
            "needs no Service for shares by numbers of pods",
            format!(
                "users come in by a Service: name the file that has it; `{}` is written in its place",
                owner.name
            ),
        );
        return (owner.name.to_owned(), None);
    };
    let port = objects
        .named("Service", &name, owner.namespace)
        .and_then(|service| service.field.at("spec.ports")?.items().into_iter().next()?.get("port")?.whole())
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0);
    if port.is_none() && routes.route.is_some() {
        report.warn(
            strategy,
            format!("the port of the Service `{name}`"),
            "80 is taken: write `port` as it is, or name the file that has the Service",
        );
    }
    (name, port)
}

/// Whether a Service selects the pods of a template.
fn selects(service: &Object<'_>, template: &Field<'_>, owner: &Object<'_>) -> bool {
    let Some(selector) = service.field.at("spec.selector") else { return false };
    let near =
        service.namespace.is_empty() || owner.namespace.is_empty() || service.namespace == owner.namespace;
    let labels = template.at("metadata.labels");
    let labelled = |key: &str, value: &Field<'_>| {
        labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|label| label.text() == value.text())
    };
    let wanted = selector.entries();
    near && !wanted.is_empty() && wanted.iter().all(|(key, value)| labelled(key, value))
}

/// What is another way on purpose, wherever it matters.
fn on_purpose(strategy: &Field<'_>, asks: bool, options: &Options, report: &mut Report) {
    report.note(
        strategy,
        "an abort waits until the stable pods are all there, and for the new ones to be there in blue-green",
        "traffic returns at once, as much as the stable pods can carry, and more as they come",
    );
    report.note(
        strategy,
        "a new version in the middle of a rollout takes its place",
        "`queue: supersede`: the first one is turned back before the next one starts",
    );
    if !asks {
        return;
    }
    report.note(strategy, "an analysis that is terminated without a bad measurement counts as successful, without any measurement too", "what was cancelled has not passed");
    if options.compat {
        report.note(
            strategy,
            "NaN in a failure condition alone counts as good",
            "NaN is never a pass: it counts as an error",
        );
        report.note(
            strategy,
            "an inconclusive analysis pauses the rollout, and a new run begins when a person resumes it",
            "the step holds for a person at its end, and goes on when the person approves",
        );
        report.note(
            strategy,
            "empty answers reach the condition",
            "an answer without data is an error, which `consecutive_error_limit` counts",
        );
    } else {
        report.note(
            strategy,
            "a provider that does not answer 5 times, 10 s apart, aborts",
            "the step holds (`hold_max`) and then turns back; `--compat argo` keeps it",
        );
        report.note(
            strategy,
            "limits count the measurements of one run",
            "bad values are counted in each step (`failures_max`); `--compat argo` keeps the counting",
        );
        report.note(
            strategy,
            "inconclusive measurements beyond the limit pause the rollout",
            "the step holds for a person when its values decide nothing (`on_inconclusive: hold`)",
        );
    }
}
