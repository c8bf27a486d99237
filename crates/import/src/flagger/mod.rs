//! A Canary of Flagger's as a service.

mod metrics;
mod webhooks;

use crate::{
    Options,
    canary::ask,
    difference::Report,
    duration,
    field::Field,
    gate::Gates,
    known, manifest,
    objects::{Object, Objects},
    service::{Draft, Names, name_of},
    strategy::{Shadow, Step, Strategy},
    testers::{self, Testers},
};

/// Flagger checks no more often than this.
const INTERVAL_MS_MIN: u64 = 10_000;
const STEPS_MAX: usize = 50;

/// The service that a Canary becomes; nothing when it has no pods.
pub(crate) fn draft<'a>(
    owner: &'a Object<'a>,
    objects: &'a Objects<'a>,
    options: &'a Options,
    report: &mut Report,
) -> Option<Draft> {
    known::say(owner, report);
    let spec = owner.field.get("spec")?;
    let workload = manifest::workload(owner, "targetRef", objects, report)?;
    manifest::say_images(&workload.template, report);
    let name = name_of(owner, report);
    let target = spec.text_at("targetRef.name").unwrap_or(owner.name);
    let service = spec.text_at("service.name").unwrap_or(target).to_owned();
    let traffic = route(&spec, &service, report);
    let empty = spec.clone();
    let analysis = spec.get("analysis").or_else(|| spec.get("canaryAnalysis")).unwrap_or(empty);
    let interval = analysis.text_at("interval").and_then(duration::go).and_then(|ms| u64::try_from(ms).ok());
    let interval = interval.unwrap_or(60_000).max(INTERVAL_MS_MIN);
    let named = Names { service: &service, namespace: owner.namespace, route: traffic.as_ref() };
    if !named.are_good(&spec, report) {
        return None;
    }
    let mut strategy = strategy(&spec, &analysis, traffic.is_some(), interval, report);
    webhooks::say(&analysis, &mut strategy, report);
    let testers = testers(&analysis, traffic.as_ref().map(|(kind, _)| *kind), &strategy, report);
    let about = metrics::About { objects, options, owner, spec: &spec, service: &name, interval };
    let mut gates = Gates::default();
    let steps = asked_at(&strategy);
    for gate in metrics::gates(&analysis, &about, report) {
        ask(&mut gates, gate, steps.clone(), &analysis, report);
    }
    on_purpose(&analysis, report);
    let replicas = workload.replicas();
    let shadow =
        shadow(&analysis, traffic.as_ref().is_some_and(|(kind, _)| *kind != "ingress"), interval, report);
    Some(Draft {
        manifest: manifest::deployment(owner, &name, replicas, &workload),
        name,
        service,
        port: spec
            .at("service.port")
            .and_then(|port| port.whole())
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0),
        preview: None,
        namespace: owner.namespace.to_owned(),
        replicas,
        traffic,
        destination_rule: None,
        testers,
        adopt: None,
        surge: None,
        unavailable: None,
        progress_ms: duration::seconds(spec.get("progressDeadlineSeconds").as_ref())
            .unwrap_or(600_000)
            .clamp(1_000, 86_400_000),
        strategy,
        shadow,
        gates,
        watch_ms: 0,
        keep_releases: 5,
        analysed: false,
        at: format!("{}:{}", owner.field.file, owner.field.place.line),
    })
}

/// Whose requests get the new release: in an A/B test, which has `iterations` and no weights.
fn testers(
    analysis: &Field<'_>,
    route: Option<&'static str>,
    strategy: &Strategy,
    report: &mut Report,
) -> Testers {
    let Some(conditions) = analysis.get("match").filter(|conditions| !conditions.items().is_empty()) else {
        return Testers::default();
    };
    let Some(route) = route else {
        report.note(&conditions, "conditions of an A/B test mean nothing without a router", "not written");
        return Testers::default();
    };
    if !matches!(strategy, Strategy::BlueGreen { .. }) {
        report.error(
            &conditions,
            "only requests like these are divided by weight",
            "not written: shares are shares of all requests; with `iterations` it is an A/B test, which becomes `testers`",
        );
        return Testers::default();
    }
    let nginx = route == "ingress";
    let mut testers = testers::of_match(&conditions, nginx, report);
    if nginx {
        testers = testers.for_nginx(&conditions, report);
    }
    if !testers.is_empty() {
        report.note(
            &conditions,
            "users whose requests are so get the new release for so many checks, and then everybody",
            "the same: `testers` do through the preview of `blue_green`, and then everybody",
        );
    }
    testers
}

/// The router's word. Where none is written, what the Canary names beside it says which one, else Flagger's own default.
fn provider_of<'a>(spec: &Field<'a>) -> &'a str {
    let named = |path: &str| spec.at(path).is_some();
    spec.text_at("provider").unwrap_or_else(|| match () {
        () if named("ingressRef") => "nginx",
        () if named("service.gatewayRefs") => "gatewayapi",
        () => "istio",
    })
}

/// What moves traffic: an object of the Service's name, which Flagger makes.
fn route(spec: &Field<'_>, service: &str, report: &mut Report) -> Option<(&'static str, String)> {
    let provider = spec.get("provider");
    let word = provider_of(spec);
    let at = provider.as_ref().unwrap_or(spec);
    if provider.is_none() {
        report.warn(
            at,
            "the router is what its controller was started with (`-mesh-provider`, istio when that is not said)",
            format!("taken for `{word}`: write `provider` where that is wrong"),
        );
    }
    match word {
        "istio" => Some(("virtual_service", service.to_owned())),
        "nginx" => Some(("ingress", spec.text_at("ingressRef.name").unwrap_or(service).to_owned())),
        word if word.starts_with("gatewayapi") => Some(("http_route", service.to_owned())),
        "kubernetes" | "none" => {
            report.note(at, "no traffic is shifted", "the selector of the Service is moved");
            None
        }
        other => {
            report.error(at, format!("`{other}` moves the weights"), "not one of Tidegate's routers: name an HTTPRoute, a VirtualService or an Ingress under `run.kubernetes.traffic`");
            None
        }
    }
}

fn strategy(
    spec: &Field<'_>,
    analysis: &Field<'_>,
    routed: bool,
    interval: u64,
    report: &mut Report,
) -> Strategy {
    if let Some(skip) = spec.get("skipAnalysis").filter(|skip| skip.truth() == Some(true)) {
        report.note(&skip, "the new release is promoted without an analysis", "`all_at_once`");
        return Strategy::AllAtOnce;
    }
    let number = |key: &str| analysis.get(key).and_then(|field| field.whole()).filter(|number| *number > 0);
    if let Some(iterations) = number("iterations").and_then(|number| u64::try_from(number).ok()) {
        let preview_ms = interval.saturating_mul(iterations);
        return Strategy::BlueGreen { preview_ms, bake_ms: 0, approval: false };
    }
    let weights = weights(analysis, number("stepWeight"), number("maxWeight"), report);
    if weights.is_empty() {
        report.warn(analysis, "no weights and no iterations", "`all_at_once`");
        return Strategy::AllAtOnce;
    }
    if !routed {
        report.note(analysis, "weights without a router", "shares by numbers of pods");
    }
    let step = |weight: &u16| Step { share_bp: weight * 100, bake_ms: interval, approval: false };
    let mut steps: Vec<Step> = weights.iter().map(step).collect();
    if steps.last().is_none_or(|step| step.share_bp < 10_000) {
        steps.push(Step { share_bp: 10_000, bake_ms: 0, approval: false });
    }
    Strategy::Canary(steps)
}

/// The weights that are gone through; each is more than the one before.
fn weights(analysis: &Field<'_>, step: Option<i64>, max: Option<i64>, report: &mut Report) -> Vec<u16> {
    let max = u16::try_from(max.unwrap_or(100).min(100)).unwrap_or(100);
    let mut weights: Vec<u16> = match (analysis.get("stepWeights"), step) {
        (Some(list), _) => {
            let items = list.items();
            let whole = |item: &Field<'_>| item.whole().and_then(|weight| u16::try_from(weight).ok());
            items.iter().filter_map(whole).filter(|weight| (1..=100).contains(weight)).collect()
        }
        (None, Some(step)) => {
            let step = u16::try_from(step.min(100)).unwrap_or(100);
            (1..=100 / step.max(1)).map(|number| number * step).filter(|weight| *weight <= max).collect()
        }
        (None, None) => Vec::new(),
    };
    let before = weights.len();
    let mut last = 0;
    weights.retain(|weight| {
        let rises = *weight > last;
        last = last.max(*weight);
        rises
    });
    if weights.len() < before {
        report.error(analysis, "weights that do not rise", "shares only rise: those are left out");
    }
    if weights.len() > STEPS_MAX {
        // The last one stays, so that the largest share is still watched.
        let nth = weights.len().div_ceil(STEPS_MAX - 1);
        let count = weights.len();
        weights = weights
            .into_iter()
            .enumerate()
            .filter(|(at, _)| at % nth == 0 || at + 1 == count)
            .map(|(_, weight)| weight)
            .collect();
        report.warn(
            analysis,
            format!("{count} steps"),
            format!("a canary has at most {STEPS_MAX}: every {nth}th is taken"),
        );
    }
    weights
}

/// Where metrics are checked: at every weight, or before the switch.
fn asked_at(strategy: &Strategy) -> Vec<usize> {
    match strategy {
        Strategy::Canary(steps) => {
            let watched = steps.iter().filter(|step| step.bake_ms > 0).count();
            (1..=watched.max(1)).collect()
        }
        Strategy::BlueGreen { .. } | Strategy::Rolling(_) | Strategy::AllAtOnce => vec![1],
    }
}

fn shadow(analysis: &Field<'_>, routed: bool, interval: u64, report: &mut Report) -> Option<Shadow> {
    let mirror = analysis.get("mirror").filter(|mirror| mirror.truth() == Some(true))?;
    if !routed {
        report.warn(
            &mirror,
            "copies of requests",
            "not written: only a VirtualService or an HTTPRoute copies requests",
        );
        return None;
    }
    let percent = analysis.get("mirrorWeight").and_then(|weight| weight.whole()).unwrap_or(100).clamp(1, 100);
    report.note(
        &mirror,
        "copies of all requests for one interval",
        "the same: what a copied POST does is done twice",
    );
    Some(Shadow { percent: u16::try_from(percent).unwrap_or(100), bake_ms: interval })
}

fn on_purpose(analysis: &Field<'_>, report: &mut Report) {
    report.note(
        analysis,
        "a copy of the Deployment, `-primary`, serves, and the new release is copied over it",
        "every release is a Deployment of its own, and the new one itself becomes the stable one",
    );
    report.note(
        analysis,
        "pods that are not ready suspend the analysis, and the canary keeps its weight meanwhile",
        "gates go on, and pods that do not become ready turn the release back",
    );
    report.note(
        analysis,
        "failed checks of all metrics are counted together over the whole run",
        "bad values are counted for each metric in each step (`failures_max`)",
    );
    report.note(
        analysis,
        "a metric without values is a failed check",
        "the step holds (`hold_max`) and then turns back",
    );
}
