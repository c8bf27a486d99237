//! The rules for the parts of a pod template that name other things: volumes, environments, probes, and where a pod may run.

use std::{collections::BTreeSet, net::IpAddr};

use tidegate_yaml::finding::Code;

use super::{
    Said, is_empty,
    pods::{is_dns, is_key, known, word},
};
use crate::field::Field;

/// What a variable may be taken from.
const SOURCES: [&str; 5] = ["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The volumes that name what they are of, by the key that does.
const NAMED: [(&str, &str); 3] =
    [("configMap", "name"), ("secret", "secretName"), ("persistentVolumeClaim", "claimName")];

/// A pod's `spec`.
pub(super) fn pod(spec: &Field<'_>, said: &mut Said) {
    word(spec, "dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], said);
    if spec.text_at("dnsPolicy") == Some("None") && spec.get("dnsConfig").is_none() {
        said.missing(spec, "dnsConfig", "name servers, as `dnsPolicy` is `None`");
    }
    for key in ["hostname", "subdomain", "priorityClassName", "runtimeClassName"] {
        named(spec, key, key.ends_with("ClassName"), said);
    }
    if let Some(os) = spec.get("os") {
        word(&os, "name", &["linux", "windows"], said);
    }
    security(spec, said);
    for alias in items(spec, "hostAliases") {
        if let Some(ip) =
            alias.get("ip").filter(|ip| ip.text().is_some_and(|ip| ip.parse::<IpAddr>().is_err()))
        {
            said.add(
                &ip,
                Code::BadText,
                format!("{} is no address", ip.found()),
                "write it as 10.9.8.7 or 2001:db8::1",
            );
        }
    }
    for volume in items(spec, "volumes") {
        self::volume(&volume, said);
    }
    for toleration in items(spec, "tolerations") {
        self::toleration(&toleration, said);
    }
    for spread in items(spec, "topologySpreadConstraints") {
        word(&spread, "whenUnsatisfiable", &["DoNotSchedule", "ScheduleAnyway"], said);
        if let Some(skew) = spread.get("maxSkew").filter(|skew| skew.whole().is_some_and(|skew| skew < 1)) {
            said.add(&skew, Code::OutOfRange, format!("{} is below 1", skew.found()), "write 1 or more");
        }
    }
    nodes(spec, said);
    for key in ["podAffinity", "podAntiAffinity"] {
        if let Some(affinity) = spec.at(&format!("affinity.{key}")) {
            self::affinity(&affinity, said);
        }
    }
}

/// The pod's own `securityContext`, and a container's.
fn security(around: &Field<'_>, said: &mut Said) {
    let Some(context) = around.get("securityContext") else { return };
    if let Some(group) = context.get("fsGroup").filter(|group| group.whole().is_some_and(|group| group < 0)) {
        said.add(&group, Code::OutOfRange, format!("{} is below zero", group.found()), "write 0 or more");
    }
    let Some(profile) = context.get("seccompProfile") else { return };
    word(&profile, "type", &["Localhost", "RuntimeDefault", "Unconfined"], said);
    if profile.text_at("type") == Some("Localhost") && is_empty(profile.text_at("localhostProfile")) {
        said.missing(&profile, "localhostProfile", "the profile's file, as `type` is `Localhost`");
    }
}

/// Which nodes are asked for.
fn nodes(spec: &Field<'_>, said: &mut Said) {
    let Some(affinity) = spec.at("affinity.nodeAffinity") else { return };
    let required = affinity.at("requiredDuringSchedulingIgnoredDuringExecution");
    let required = required.iter().flat_map(|required| items(required, "nodeSelectorTerms"));
    let preferred = items(&affinity, "preferredDuringSchedulingIgnoredDuringExecution");
    let preferred = preferred.iter().filter_map(|preferred| preferred.get("preference"));
    for term in required.chain(preferred) {
        for expression in items(&term, "matchExpressions") {
            word(&expression, "operator", &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"], said);
        }
    }
}

/// A container, or one that runs before the others.
pub(super) fn container(container: &Field<'_>, is_first: bool, said: &mut Said) {
    if is_first {
        first(container, said);
    }
    security(container, said);
    word(container, "terminationMessagePolicy", &["File", "FallbackToLogsOnError"], said);
    for variable in items(container, "env") {
        self::variable(&variable, said);
    }
    for source in items(container, "envFrom") {
        one_of(&source, &["configMapRef", "secretRef"], said);
    }
    let mut paths = BTreeSet::new();
    for mount in items(container, "volumeMounts") {
        if let Some(path) =
            mount.get("mountPath").filter(|path| !paths.insert(path.text().unwrap_or_default()))
        {
            said.add(
                &path,
                Code::DuplicateKey,
                format!("a second mount at {}", path.found()),
                "mount it elsewhere",
            );
        }
        inside(&mount, "subPath", said);
    }
    if let Some(resources) = container.get("resources") {
        known(&resources, &["claims", "limits", "requests"], said);
    }
    for key in ["postStart", "preStop"] {
        if let Some(handler) = container.at(&format!("lifecycle.{key}")) {
            one_of(&handler, &["exec", "httpGet", "sleep", "tcpSocket"], said);
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get(key) {
            self::probe(&probe, key, said);
        }
    }
}

/// What holds only of containers that run before the others.
fn first(container: &Field<'_>, said: &mut Said) {
    for key in ["name", "image"] {
        if is_empty(container.text_at(key)) {
            said.missing(container, key, "a text");
        }
    }
    word(container, "restartPolicy", &["Always"], said);
    if container.get("restartPolicy").is_some() {
        return;
    }
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(field) = container.get(key) {
            let message = format!("`{key}` of a container that ends before the others begin");
            said.conflict(
                &field,
                message,
                "take it out, or write `restartPolicy: Always` for one that stays",
            );
        }
    }
}

fn variable(variable: &Field<'_>, said: &mut Said) {
    if let Some(name) =
        variable.get("name").filter(|name| !name.text().unwrap_or_default().chars().all(is_printed))
    {
        let message = format!("{} cannot be the name of a variable", name.found());
        said.add(&name, Code::BadText, message, "write no space and no `=`");
    }
    let Some(from) = variable.get("valueFrom") else { return };
    one_of(&from, &SOURCES, said);
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = from.get(key).filter(|reference| is_empty(reference.text_at("key"))) {
            said.missing(&reference, "key", "which of its keys");
        }
    }
}

/// Any character that is printed but `=`; what Kubernetes has taken since 1.34.
fn is_printed(c: char) -> bool {
    c.is_ascii_graphic() && c != '='
}

fn volume(volume: &Field<'_>, said: &mut Said) {
    named(volume, "name", false, said);
    for (kind, key) in NAMED {
        if let Some(source) = volume.get(kind).filter(|source| is_empty(source.text_at(key))) {
            said.missing(&source, key, "which one");
        }
    }
    if let Some(path) = volume.get("hostPath") {
        inside(&path, "path", said);
    }
}

/// A path that goes up nowhere.
fn inside(around: &Field<'_>, key: &str, said: &mut Said) {
    if let Some(path) =
        around.get(key).filter(|path| path.text().unwrap_or_default().split('/').any(|part| part == ".."))
    {
        said.add(&path, Code::BadText, format!("{} has `..` in it", path.found()), "write where it leads to");
    }
}

fn toleration(toleration: &Field<'_>, said: &mut Said) {
    word(toleration, "effect", &EFFECTS, said);
    let exists = toleration.text_at("operator") == Some("Exists");
    if is_empty(toleration.text_at("key")) && !exists {
        said.missing(toleration, "key", "the key of a taint, or `operator: Exists` for all of them");
    }
    if let Some(value) = toleration.get("value").filter(|value| exists && !is_empty(value.text())) {
        said.conflict(&value, "`Exists` compares no value", "take the value out, or write `operator: Equal`");
    }
    if let Some(seconds) = toleration.get("tolerationSeconds")
        && toleration.text_at("effect") != Some("NoExecute")
    {
        said.conflict(
            &seconds,
            "only `NoExecute` is borne for a time",
            "write `effect: NoExecute`, or take it out",
        );
    }
}

fn affinity(affinity: &Field<'_>, said: &mut Said) {
    let term = |term: &Field<'_>, said: &mut Said| {
        if is_empty(term.text_at("topologyKey")) {
            said.missing(term, "topologyKey", "the label of nodes that tells places apart");
        }
    };
    for required in items(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
        term(&required, said);
    }
    for preferred in items(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
        let weight = preferred.get("weight");
        if let Some(weight) =
            weight.filter(|weight| weight.whole().is_some_and(|weight| !(1..=100).contains(&weight)))
        {
            let message = format!("{} is out of range: 1 to 100", weight.found());
            said.add(&weight, Code::OutOfRange, message, "write how much it weighs");
        }
        if let Some(inner) = preferred.get("podAffinityTerm") {
            term(&inner, said);
        }
    }
}

fn probe(probe: &Field<'_>, key: &str, said: &mut Said) {
    for handler in ["httpGet", "tcpSocket"].iter().filter_map(|handler| probe.get(handler)) {
        word(&handler, "scheme", &["HTTP", "HTTPS"], said);
        let Some(port) = handler.get("port") else {
            said.missing(&handler, "port", "a port of the container, by number or name");
            continue;
        };
        if port.whole().is_some_and(|port| !(1..=65_535).contains(&port)) {
            let message = format!("{} is out of range: 1 to 65535", port.found());
            said.add(&port, Code::OutOfRange, message, "write the port that the container listens on");
        }
    }
    if let Some(exec) = probe.get("exec").filter(|exec| items(exec, "command").is_empty()) {
        said.missing(&exec, "command", "the command and its arguments");
    }
    let Some(grace) = probe.get("terminationGracePeriodSeconds") else { return };
    if key == "readinessProbe" {
        said.conflict(&grace, "a readiness probe stops nothing", "take it out");
    } else if grace.whole().is_some_and(|grace| grace < 1) {
        said.add(&grace, Code::OutOfRange, format!("{} is below 1", grace.found()), "write 1 or more");
    }
}

/// Exactly one of several keys.
fn one_of(field: &Field<'_>, keys: &[&str], said: &mut Said) {
    let found: Vec<&str> = keys.iter().copied().filter(|key| field.get(key).is_some()).collect();
    match found.as_slice() {
        [] => {
            said.add(field, Code::MissingKey, "it says nothing", format!("write one of {}", keys.join(", ")));
        }
        [_] => {}
        [one, other, ..] => {
            said.conflict(field, format!("`{one}` and `{other}` exclude each other"), "keep one of the two");
        }
    }
}

/// A name of DNS; one with dots where `is_long`.
fn named(around: &Field<'_>, key: &str, is_long: bool, said: &mut Said) {
    let Some(name) = around.get(key).filter(|name| !is_empty(name.text())) else { return };
    let text = name.text().unwrap_or_default();
    let fits = if is_long { text.split('.').all(is_dns) } else { is_dns(text) };
    if !fits {
        let message = format!("{} cannot be a name here", name.found());
        said.add(
            &name,
            Code::BadText,
            message,
            "write up to 63 of a-z, 0-9 and `-`, with letters or digits at both ends",
        );
    }
}

/// Keys of annotations.
pub(super) fn annotations(template: &Field<'_>, said: &mut Said) {
    for (key, value) in template.at("metadata.annotations").map(|all| all.entries()).unwrap_or_default() {
        // Their letters may be large before the `/`, too.
        if !is_key(&key.to_ascii_lowercase()) {
            let message =
                format!("`{}` cannot be the key of an annotation", tidegate_yaml::finding::shown(key));
            said.add(&value, Code::BadText, message, "write up to 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, with letters or digits at both ends; `PREFIX/` may stand before it");
        }
    }
}

fn items<'a>(field: &Field<'a>, key: &str) -> Vec<Field<'a>> {
    field.get(key).map(|list| list.items()).unwrap_or_default()
}
