//! The rules for a pod template, as far as Kubernetes itself refuses it.

use std::collections::BTreeSet;

use tidegate_yaml::{
    finding::{Code, shown},
    near::nearest,
};

use super::{Said, containers, is_empty, parts};
use crate::field::Field;

/// Every field of a pod's `spec`.
const POD: [&str; 41] = [
    "activeDeadlineSeconds",
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "ephemeralContainers",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
];

/// The pods of a Rollout.
pub(super) fn check(template: &Field<'_>, said: &mut Said) {
    known(template, &["metadata", "spec"], said);
    for labels in ["metadata.labels", "spec.nodeSelector"].iter().filter_map(|path| template.at(path)) {
        for (key, value) in labels.entries() {
            label(key, &value, said);
        }
    }
    let Some(spec) = template.get("spec") else { return };
    known(&spec, &POD, said);
    word(&spec, "restartPolicy", &["Always"], said);
    for (key, why) in [
        ("activeDeadlineSeconds", "pods that are replaced have no deadline"),
        ("ephemeralContainers", "these are added to pods that run"),
    ] {
        if let Some(field) = spec.get(key) {
            said.conflict(&field, format!("`{key}` has no place in a pod template: {why}"), "take it out");
        }
    }
    if let Some(account) = spec.get("serviceAccountName").filter(|account| !is_empty(account.text())) {
        let parts_fit = account.text().unwrap_or_default().split('.').all(is_dns);
        if !parts_fit {
            let message = format!("{} is not the name of an account", account.found());
            said.add(&account, Code::BadText, message, "use a-z, 0-9, `-` and `.`");
        }
    }
    for toleration in spec.get("tolerations").map(|list| list.items()).unwrap_or_default() {
        word(&toleration, "operator", &["Equal", "Exists"], said);
    }
    parts::annotations(template, said);
    parts::pod(&spec, said);
    let volumes = volumes(&spec, said);
    let mut names = BTreeSet::new();
    for key in ["containers", "initContainers"] {
        for container in spec.get(key).map(|list| list.items()).unwrap_or_default() {
            unique(&container, &mut names, said);
            containers::check(&container, &volumes, said);
            parts::container(&container, key == "initContainers", said);
        }
    }
}

/// The volumes' names.
fn volumes<'a>(spec: &Field<'a>, said: &mut Said) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for volume in spec.get("volumes").map(|list| list.items()).unwrap_or_default() {
        unique(&volume, &mut names, said);
        let entries = volume.entries();
        let sources: Vec<&str> = entries.iter().map(|(key, _)| *key).filter(|key| *key != "name").collect();
        if let [first, second, ..] = sources.as_slice() {
            let (first, second) = (shown(first), shown(second));
            said.conflict(&volume, format!("`{first}` and `{second}` in one volume"), "keep one of the two");
        }
    }
    names
}

/// Each has a name that nothing before it has.
pub(super) fn unique<'a>(one: &Field<'a>, names: &mut BTreeSet<&'a str>, said: &mut Said) {
    let Some(name) = one.get("name") else { return };
    if let Some(text) = name.text().filter(|text| !text.is_empty())
        && !names.insert(text)
    {
        said.add(
            &name,
            Code::DuplicateKey,
            format!("a second one called {}", name.found()),
            "give it its own name",
        );
    }
}

/// Fields that Kubernetes does not know.
pub(super) fn known(field: &Field<'_>, keys: &[&'static str], said: &mut Said) {
    for (key, value) in field.entries() {
        if !keys.contains(&key) {
            let help = nearest(key, keys.iter().copied().filter(|known| field.get(known).is_none()))
                .map_or_else(|| "take it out".to_owned(), |near| format!("did you mean `{near}`?"));
            let message = format!("`{}` is not a field in `{}`", shown(key), field.path);
            said.add(&value, Code::UnknownKey, message, help);
        }
    }
}

/// One of a closed list of words, where it is written.
pub(super) fn word(around: &Field<'_>, key: &str, words: &[&str], said: &mut Said) {
    let Some(field) = around.get(key).filter(|field| !is_empty(field.text())) else { return };
    if !words.contains(&field.text().unwrap_or_default()) {
        let message = format!("{} is not possible here", field.found());
        said.add(&field, Code::UnknownWord, message, format!("write {}", words.join(", ")));
    }
}

/// A label's key and value.
pub(super) fn label(key: &str, value: &Field<'_>, said: &mut Said) {
    if !is_key(key) {
        let message = format!("`{}` cannot be the key of a label", shown(key));
        said.add(value, Code::BadText, message, "write up to 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, with letters or digits at both ends; `PREFIX/` may stand before it");
    }
    if value.text().is_some_and(|text| !text.is_empty() && !is_label(text)) {
        let message = format!("{} cannot be the value of a label", value.found());
        said.add(
            value,
            Code::BadText,
            message,
            "write up to 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, with letters or digits at both ends",
        );
    }
}

/// Whether it can be the key of a label: `app`, `example.org/app`.
pub(super) fn is_key(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    is_label(name) && prefix.is_none_or(|prefix| prefix.split('.').all(is_dns))
}

fn is_label(text: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && end(text.chars().next())
        && end(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether it can be a name of DNS: the name of a container.
pub(super) fn is_dns(text: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.starts_with(small)
        && text.ends_with(small)
        && text.chars().all(|c| small(c) || c == '-')
}
