//! What moves traffic.

use crate::{
    difference::Report,
    field::Field,
    form,
    objects::{Object, Objects},
    testers::{self, Testers},
};

/// Argo's plugin for Gateway API.
const GATEWAY_API: &str = "argoproj-labs/gatewayAPI";

/// What moves traffic, and the Service behind it where that says more than the Rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes {
    /// The key under `traffic`, and the object's name.
    pub(crate) route: Option<(&'static str, String)>,
    /// The `DestinationRule` that goes with a `VirtualService`.
    pub(crate) rule: Option<String>,
    /// The host that a `DestinationRule` splits.
    pub(crate) host: Option<String>,
    /// Whether weights were moved there, whatever is moved here.
    pub(crate) routed: bool,
    /// Whom annotations of the route tell from others.
    pub(crate) testers: Testers,
}

/// Reads `trafficRouting` of a canary.
pub(crate) fn routes(
    canary: &Field<'_>,
    objects: &Objects<'_>,
    owner: &Object<'_>,
    report: &mut Report,
) -> Routes {
    let Some(routing) = canary.get("trafficRouting") else {
        report.note(
            canary,
            "without a router shares are made by numbers of pods, rounded",
            "the same rounding; `tidegate plan` says which share that really is",
        );
        return Routes::default();
    };
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let (mut host, mut rule) = (None, None);
    let mut testers = Testers::default();
    if let Some(istio) = routing.get("istio") {
        let one = istio.get("virtualService").into_iter();
        let several = istio.get("virtualServices").map(|list| list.items()).unwrap_or_default();
        for service in one.chain(several) {
            found.extend(service.text_at("name").map(|name| ("virtual_service", bare(name, owner))));
        }
        if let Some(field) = istio.get("destinationRule") {
            (rule, host) = subsets(&field, objects, owner, report);
        }
    }
    if let Some(nginx) = routing.get("nginx") {
        let one = nginx.text_at("stableIngress").map(str::to_owned).into_iter();
        let several = nginx.get("stableIngresses").map(|list| list.items()).unwrap_or_default();
        let several = several.iter().filter_map(|item| item.text().map(str::to_owned));
        found.extend(one.chain(several).map(|name| ("ingress", name)));
        for key in ["additionalIngressAnnotations", "canaryIngressAnnotations"] {
            if let Some(annotations) = nginx.get(key) {
                testers::of_annotations(&annotations, &mut testers, report);
            }
        }
    }
    if let Some(plugins) = routing.get("plugins") {
        gateway(&plugins, &mut found, report);
    }
    let routed = !routing.entries().is_empty();
    let mut found = found.into_iter();
    let route = found.next();
    let rule = rule.filter(|_| route.as_ref().is_some_and(|(kind, _)| *kind == "virtual_service"));
    let more: Vec<String> = found.map(|(_, name)| format!("`{name}`")).collect();
    if let (Some((_, first)), false) = (&route, more.is_empty()) {
        let theirs = format!("weights of several routes: `{first}`, {}", more.join(", "));
        report.error(
            &routing,
            theirs,
            format!("only `{first}` is moved: the others would keep all users on the old release"),
        );
    }
    Routes { route, rule, host, routed, testers }
}

/// A name without the namespace that may stand before it.
fn bare(name: &str, owner: &Object<'_>) -> String {
    let of_namespace = name.split_once('/').filter(|(namespace, _)| *namespace == owner.namespace);
    of_namespace.map_or(name, |(_, name)| name).to_owned()
}

/// The `DestinationRule` whose subsets tell the releases apart, and its host.
fn subsets(
    rule: &Field<'_>,
    objects: &Objects<'_>,
    owner: &Object<'_>,
    report: &mut Report,
) -> (Option<String>, Option<String>) {
    let name = rule.text_at("name").unwrap_or_default();
    if !form::is_object(name) {
        report.error(
            rule,
            "the labels of two subsets are edited to tell stable and canary apart",
            "not written: the rule has no name that an object can have",
        );
        return (None, None);
    }
    report.warn(
        rule,
        "the labels of two subsets, which the routes name for good, are edited to tell stable and canary apart",
        "`destination_rule`: the routes name subsets of Tidegate's own, `tidegate-stable` and `tidegate-new`, and only while a rollout runs; take `subset` out of the VirtualService before, and the Rollout cannot be adopted as it is",
    );
    let host = objects.named("DestinationRule", name, owner.namespace).and_then(|found| {
        let host = found.field.text_at("spec.host")?;
        Some(host.split('.').next().unwrap_or(host).to_owned())
    });
    (Some(name.to_owned()), host)
}

fn gateway(plugins: &Field<'_>, found: &mut Vec<(&'static str, String)>, report: &mut Report) {
    for (name, plugin) in plugins.entries() {
        if name != GATEWAY_API {
            report.error(&plugin, format!("`{name}` moves the weights"), "not one of Tidegate's routers: name an HTTPRoute, a VirtualService or an Ingress under `run.kubernetes.traffic`");
            continue;
        }
        found.extend(plugin.text_at("httpRoute").map(|route| ("http_route", route.to_owned())));
        for route in plugin.get("httpRoutes").map(|list| list.items()).unwrap_or_default() {
            found.extend(route.text_at("name").map(|route| ("http_route", route.to_owned())));
        }
        for (key, value) in plugin.entries() {
            match key {
                "httpRoute" | "httpRoutes" => {}
                "namespace" => report.note(
                    &value,
                    "the namespace of the route",
                    "the route is looked for in the namespace of the service",
                ),
                "grpcRoute" | "grpcRoutes" | "tcpRoute" | "tcpRoutes" | "tlsRoute" | "tlsRoutes" => {
                    report.error(&value, "weights of another kind of route", "only HTTPRoutes are moved");
                }
                _ => report.warn(&value, format!("`{key}` of the plugin"), "not written"),
            }
        }
    }
}
