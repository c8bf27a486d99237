//! The rules for a container of a pod template.

use std::collections::BTreeSet;

use tidegate_yaml::finding::Code;

use super::{
    Said, is_empty,
    pods::{is_dns, known, unique, word},
};
use crate::field::Field;

/// Every field of a container.
const CONTAINER: [&str; 25] = [
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const TIMES: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
/// What a quantity may end with, and how much that is.
const UNITS: [(&str, f64); 16] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];

pub(super) fn check(container: &Field<'_>, volumes: &BTreeSet<&str>, said: &mut Said) {
    known(container, &CONTAINER, said);
    if let Some(name) = container.get("name").filter(|name| !is_empty(name.text()))
        && !is_dns(name.text().unwrap_or_default())
    {
        let message = format!("{} cannot be the name of a container", name.found());
        said.add(
            &name,
            Code::BadText,
            message,
            "write up to 63 of a-z, 0-9 and `-`, with letters or digits at both ends",
        );
    }
    word(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], said);
    ports(container, said);
    environment(container, said);
    for mount in container.get("volumeMounts").map(|list| list.items()).unwrap_or_default() {
        if let Some(name) =
            mount.get("name").filter(|name| !volumes.contains(name.text().unwrap_or_default()))
        {
            let message = format!("there is no volume {}", name.found());
            said.add(&name, Code::UnknownWord, message, "add it to `volumes` of the pod template");
        }
    }
    resources(container, said);
    for key in PROBES {
        if let Some(probe) = container.get(key) {
            self::probe(&probe, key, said);
        }
    }
    security(container, said);
}

fn ports(container: &Field<'_>, said: &mut Said) {
    let mut names = BTreeSet::new();
    for port in container.get("ports").map(|list| list.items()).unwrap_or_default() {
        let number = port.get("containerPort");
        match number.as_ref().map(Field::whole) {
            Some(Some(1..=65535)) => {}
            Some(_) => {
                let field = number.unwrap_or_else(|| port.clone());
                let message = format!("{} is out of range: 1 to 65535", field.found());
                said.add(&field, Code::OutOfRange, message, "write the port that the container listens on");
            }
            None => said.missing(&port, "containerPort", "1 to 65535"),
        }
        word(&port, "protocol", &["TCP", "UDP", "SCTP"], said);
        unique(&port, &mut names, said);
        if let Some(name) = port.get("name").filter(|name| !is_empty(name.text())) {
            let text = name.text().unwrap_or_default();
            let letters = text.contains(|c: char| c.is_ascii_lowercase()) && !text.contains("--");
            if text.len() > 15 || !is_dns(text) || !letters {
                let message = format!("{} cannot be the name of a port", name.found());
                said.add(
                    &name,
                    Code::BadText,
                    message,
                    "write up to 15 of a-z, 0-9 and `-`, one letter at least",
                );
            }
        }
    }
}

fn environment(container: &Field<'_>, said: &mut Said) {
    for variable in container.get("env").map(|list| list.items()).unwrap_or_default() {
        if is_empty(variable.text_at("name")) {
            said.missing(&variable, "name", "the variable's name");
        }
        if let Some(from) = variable.get("valueFrom").filter(|_| variable.text_at("value").is_some()) {
            said.conflict(&from, "`value` and `valueFrom` exclude each other", "keep one of the two");
        }
    }
}

/// Quantities that can be read, none below zero, and no request above its limit.
fn resources(container: &Field<'_>, said: &mut Said) {
    let limits = container.at("resources.limits");
    for (_, field) in limits.as_ref().map(Field::entries).unwrap_or_default() {
        amount(&field, said);
    }
    for (name, field) in container.at("resources.requests").map(|all| all.entries()).unwrap_or_default() {
        let limit = limits.as_ref().and_then(|limits| quantity(limits.get(name)?.text()?));
        if let (Some(asked), Some(limit)) = (amount(&field, said), limit)
            && asked > limit
        {
            let message = format!("{} is more than its limit", field.found());
            said.conflict(&field, message, "raise the limit, or lower it");
        }
    }
}

fn amount(field: &Field<'_>, said: &mut Said) -> Option<f64> {
    let amount = quantity(field.text().unwrap_or_default());
    match amount {
        None => {
            let message = format!("expected a quantity, found {}", field.found());
            said.add(field, Code::BadText, message, "write 500m, 2, 128Mi or 1Gi");
        }
        Some(amount) if amount < 0.0 => {
            said.add(field, Code::OutOfRange, format!("{} is below zero", field.found()), "write 0 or more");
        }
        Some(_) => {}
    }
    amount
}

/// A quantity of Kubernetes as a number; nothing when it is none.
fn quantity(text: &str) -> Option<f64> {
    let number = |text: &str| {
        let plain = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
        (plain && text.contains(|c: char| c.is_ascii_digit())).then(|| text.parse::<f64>().ok()).flatten()
    };
    UNITS.iter().find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?)? * factor))
}

fn probe(probe: &Field<'_>, key: &str, said: &mut Said) {
    let found: Vec<&str> = HANDLERS.into_iter().filter(|handler| probe.get(handler).is_some()).collect();
    match found.as_slice() {
        [] => said.missing(probe, "httpGet", "one of exec, httpGet, tcpSocket and grpc"),
        [_] => {}
        [first, second, ..] => {
            said.conflict(probe, format!("`{first}` and `{second}` in one probe"), "keep one of the two");
        }
    }
    for time in TIMES {
        said.not_negative(probe, time);
    }
    if let Some(times) = probe.get("successThreshold")
        && key != "readinessProbe"
        && times.whole().is_some_and(|times| times > 1)
    {
        said.add(
            &times,
            Code::OutOfRange,
            format!("one success is enough for a `{key}`"),
            "write 1, or take it out",
        );
    }
}

fn security(container: &Field<'_>, said: &mut Said) {
    let Some(context) = container.get("securityContext") else { return };
    for key in ["runAsUser", "runAsGroup"] {
        if let Some(field) = context.get(key)
            && field.whole().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id))
        {
            let message = format!("{} is out of range: 0 to 2147483647", field.found());
            said.add(&field, Code::OutOfRange, message, "write the number of a user or a group");
        }
    }
    let truth = |key: &str| context.get(key).and_then(|field| field.truth());
    if truth("privileged") == Some(true) && truth("allowPrivilegeEscalation") == Some(false) {
        said.conflict(
            &context,
            "`privileged: true` and `allowPrivilegeEscalation: false` exclude each other",
            "keep one of the two",
        );
    }
}
