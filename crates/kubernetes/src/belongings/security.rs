//! What a pod may do: the profile that a release's pod template has to keep, filled in where the template is silent.

use std::fmt;

use serde_json::{Map, Value, json};

use super::standards::violations;
pub use super::standards::{Rule, Violation};

/// A profile of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nothing but what a server needs; the default.
    #[default]
    Restricted,
    /// Nothing that is known to reach the node.
    Baseline,
    /// Anything.
    Privileged,
}

impl Profile {
    /// As the standards call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::Privileged => "privileged",
        }
    }
}

/// What is asked of a pod template.
#[derive(Clone, Debug, Default)]
pub struct PodSecurity {
    /// The profile.
    pub profile: Profile,
    /// Names of rules, and paths of fields, that need not keep it.
    pub allow: Vec<String>,
    /// Pods get the token of their service account although the template does not say so.
    pub service_account_token: bool,
}

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityError {
    /// Fields that break a rule; at least one.
    Breaks {
        /// The profile.
        profile: Profile,
        /// All of them.
        violations: Vec<Violation>,
    },
    /// Something is allowed that nothing breaks.
    AllowsNothing {
        /// As it was written.
        allow: String,
    },
}

impl std::error::Error for SecurityError {}

impl fmt::Display for SecurityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaks { profile, violations } => {
                write!(f, "the pod template breaks Pod Security `{}`", profile.name())?;
                for Violation { rule, path, found, write } in violations {
                    write!(
                        f,
                        "\n  {path}: {found} ({}): {write}, or `pod_security: {{allow: [{}]}}`",
                        rule.name(),
                        rule.name()
                    )?;
                }
                Ok(())
            }
            Self::AllowsNothing { allow } => {
                let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
                write!(
                    f,
                    "`{allow}` is neither a rule ({}) nor the path of a field that breaks one: correct it, or take it out of \
                     `pod_security.allow`",
                    names.join(", ")
                )
            }
        }
    }
}

/// The template as it keeps the profile, and what a reader of the plan should know of it: what was allowed beyond it, and
/// what was filled in that can keep an image from starting.
pub fn secured(template: &Value, asked: &PodSecurity) -> Result<(Value, Vec<String>), SecurityError> {
    let (mut template, mut notes) = (template.clone(), Vec::new());
    let restricted = asked.profile == Profile::Restricted;
    let broken = match asked.profile {
        Profile::Privileged => Vec::new(),
        Profile::Baseline | Profile::Restricted => violations(&template, restricted),
    };
    let allowed =
        |one: &Violation| asked.allow.iter().any(|allow| allow == one.rule.name() || *allow == one.path);
    let is_known = |allow: &&String| {
        Rule::ALL.iter().any(|rule| rule.name() == *allow) || broken.iter().any(|one| one.path == **allow)
    };
    if let Some(allow) = asked.allow.iter().find(|allow| !is_known(allow)) {
        return Err(SecurityError::AllowsNothing { allow: allow.clone() });
    }
    let (open, refused): (Vec<_>, Vec<_>) = broken.into_iter().partition(allowed);
    if !refused.is_empty() {
        return Err(SecurityError::Breaks { profile: asked.profile, violations: refused });
    }
    if !restricted {
        notes.push(format!("pod security: `{}` in place of `restricted`", asked.profile.name()));
    }
    let said = |one: &Violation| {
        format!("pod security: `{}` is allowed: {} is {}", one.rule.name(), one.path, one.found)
    };
    notes.extend(open.iter().map(said));
    let is_allowed = |rule: Rule| asked.allow.iter().any(|allow| allow == rule.name());
    let silent = |rule: &&Rule| is_allowed(**rule) && !open.iter().any(|one| one.rule == **rule);
    let said = |rule: &Rule| format!("pod security: `{}` is allowed", rule.name());
    notes.extend(Rule::ALL.iter().filter(silent).map(said));
    if restricted {
        let filled = fill(&mut template, &is_allowed, &open);
        if !filled.is_empty() {
            notes.push(format!("pod security `restricted`: the pod template gets {}", filled.join(", ")));
        }
    }
    notes.extend(token(&mut template, asked.service_account_token));
    Ok((template, notes))
}

/// Pods that nobody gave the API server's token to have none. Answers what to say about it.
fn token(template: &mut Value, wanted: bool) -> Option<String> {
    let pod = object_at(template, "spec")?;
    match pod.get("automountServiceAccountToken").and_then(Value::as_bool) {
        Some(true) => Some("pods have the token of their service account: the manifest says so".to_owned()),
        Some(false) => None,
        None if wanted => {
            Some("pods have the token of their service account: `service_account_token: true`".to_owned())
        }
        None => {
            pod.insert("automountServiceAccountToken".to_owned(), json!(false));
            let account = pod.get("serviceAccountName").and_then(Value::as_str)?;
            Some(format!(
                "pods get no token of the service account `{account}`; `service_account_token: true` gives them one"
            ))
        }
    }
}

/// Says what `restricted` wants to be said; answers what was added.
fn fill(template: &mut Value, is_allowed: &dyn Fn(Rule) -> bool, open: &[Violation]) -> Vec<&'static str> {
    let mut filled = Vec::new();
    let Some(pod) = object_at(template, "spec") else { return filled };
    let windows = pod.get("os").and_then(|os| os.get("name")).and_then(Value::as_str) == Some("windows");
    let opened =
        |rule: Rule, below: &str| open.iter().any(|one| one.rule == rule && one.path.starts_with(below));
    if let Some(context) = object_in(pod, "securityContext") {
        if !is_allowed(Rule::NonRoot) && !context.contains_key("runAsNonRoot") && !opened(Rule::NonRoot, "") {
            context.insert("runAsNonRoot".to_owned(), json!(true));
            filled.push("`runAsNonRoot` (an image that runs as root does not start)");
        }
        if !windows && !is_allowed(Rule::Seccomp) && !context.contains_key("seccompProfile") {
            context.insert("seccompProfile".to_owned(), json!({"type": "RuntimeDefault"}));
            filled.push("`seccompProfile: RuntimeDefault`");
        }
    }
    if windows {
        return filled;
    }
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (index, container) in containers.enumerate() {
            let Some(context) = container.as_object_mut().and_then(|one| object_in(one, "securityContext"))
            else {
                continue;
            };
            let below = format!("spec.template.spec.{list}[{index}].");
            // The API refuses a container that has such rights and may not raise its own.
            let raised = opened(Rule::Privileged, &below) || opened(Rule::Capabilities, &below);
            if !is_allowed(Rule::Escalation) && !raised && !context.contains_key("allowPrivilegeEscalation") {
                context.insert("allowPrivilegeEscalation".to_owned(), json!(false));
                filled.push("`allowPrivilegeEscalation: false`");
            }
            if !is_allowed(Rule::Capabilities) && !raised && drops_all(context) {
                filled.push("`capabilities: {drop: [ALL]}`");
            }
        }
    }
    filled.sort_unstable();
    filled.dedup();
    filled
}

/// Adds what is missing; answers whether something was.
fn drops_all(context: &mut Map<String, Value>) -> bool {
    let Some(capabilities) = object_in(context, "capabilities") else { return false };
    let dropped = capabilities.entry("drop").or_insert_with(|| json!([]));
    if dropped.is_null() {
        *dropped = json!([]);
    }
    let Some(dropped) = dropped.as_array_mut().filter(|dropped| !dropped.contains(&json!("ALL"))) else {
        return false;
    };
    dropped.push(json!("ALL"));
    true
}

/// The object under a key of a value, made where there is none.
fn object_at<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Map<String, Value>> {
    object_in(value.as_object_mut()?, key)
}

/// The same of an object.
pub(super) fn object_in<'v>(of: &'v mut Map<String, Value>, key: &str) -> Option<&'v mut Map<String, Value>> {
    let value = of.entry(key).or_insert_with(|| json!({}));
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(pod: &Value, container: &Value) -> Value {
        let mut pod = pod.clone();
        let mut one = container.clone();
        one["name"] = json!("web");
        pod["containers"] = json!([one]);
        json!({"spec": pod})
    }

    fn refused(pod: &Value, container: &Value, asked: &PodSecurity) -> Vec<Violation> {
        match secured(&template(pod, container), asked) {
            Err(SecurityError::Breaks { violations, .. }) => violations,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_template_does_not_say_is_filled_in_and_what_it_says_stays() {
        let silent = template(&json!({}), &json!({}));
        let (filled, notes) = secured(&silent, &PodSecurity::default()).unwrap();
        let pod = &filled["spec"];
        assert_eq!(
            pod["securityContext"],
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
        );
        assert_eq!(
            pod["containers"][0]["securityContext"],
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
        );
        assert_eq!(pod["automountServiceAccountToken"], json!(false));
        assert!(notes.iter().any(|note| note.contains("does not start")), "{notes:?}");
        let (again, notes) = secured(&filled, &PodSecurity::default()).unwrap();
        assert_eq!((again, notes.len()), (filled, 0), "nothing is left to fill in or to say");
        let said = template(
            &json!({"automountServiceAccountToken": true, "securityContext": {"runAsUser": 7}}),
            &json!({"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["KILL"]}}}),
        );
        let (filled, _) = secured(&said, &PodSecurity::default()).unwrap();
        assert_eq!(filled["spec"]["automountServiceAccountToken"], json!(true));
        assert_eq!(filled["spec"]["securityContext"]["runAsUser"], json!(7));
        let capabilities = &filled["spec"]["containers"][0]["securityContext"]["capabilities"];
        assert_eq!(*capabilities, json!({"add": ["NET_BIND_SERVICE"], "drop": ["KILL", "ALL"]}));
    }

    #[test]
    fn what_a_template_says_against_the_profile_is_named_with_its_path_and_what_to_write() {
        let pod = json!({"hostNetwork": true, "volumes": [{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "nfs": {}}],
            "securityContext": {"runAsUser": 0, "sysctls": [{"name": "kernel.msgmax", "value": "1"}]}});
        let container = json!({"ports": [{"hostPort": 80}], "livenessProbe": {"tcpSocket": {"host": "a"}}, "securityContext": {
            "privileged": true, "procMount": "Unmasked", "runAsNonRoot": false, "allowPrivilegeEscalation": true,
            "capabilities": {"add": ["SYS_ADMIN"]}, "seccompProfile": {"type": "Unconfined"},
            "seLinuxOptions": {"user": "a"}, "appArmorProfile": {"type": "Unconfined"}}});
        let found = refused(&pod, &container, &PodSecurity::default());
        let seen: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
        let web = "spec.template.spec.containers[0]";
        for path in [
            "spec.template.spec.hostNetwork".to_owned(),
            "spec.template.spec.volumes[0].hostPath".to_owned(),
            "spec.template.spec.volumes[1].nfs".to_owned(),
            "spec.template.spec.securityContext.runAsUser".to_owned(),
            "spec.template.spec.securityContext.sysctls[0].name".to_owned(),
            format!("{web}.ports[0].hostPort"),
            format!("{web}.livenessProbe.tcpSocket.host"),
            format!("{web}.securityContext.privileged"),
            format!("{web}.securityContext.procMount"),
            format!("{web}.securityContext.runAsNonRoot"),
            format!("{web}.securityContext.allowPrivilegeEscalation"),
            format!("{web}.securityContext.capabilities.add[0]"),
            format!("{web}.securityContext.seccompProfile.type"),
            format!("{web}.securityContext.seLinuxOptions.user"),
            format!("{web}.securityContext.appArmorProfile.type"),
        ] {
            assert!(seen.contains(&path.as_str()), "{path}: {seen:#?}");
        }
        assert_eq!(seen.len(), 15, "{seen:#?}");
        let text = SecurityError::Breaks { profile: Profile::Restricted, violations: found }.to_string();
        assert!(
            text.contains("hostNetwork: true (host_namespaces): take it out, or `pod_security:"),
            "{text}"
        );
    }

    #[test]
    fn an_opt_out_by_rule_by_path_or_by_profile_is_said_and_a_mistaken_one_is_refused() {
        let root = template(&json!({}), &json!({"securityContext": {"runAsUser": 0}}));
        let allow = |word: &str| PodSecurity { allow: vec![word.to_owned()], ..PodSecurity::default() };
        for word in ["non_root", "spec.template.spec.containers[0].securityContext.runAsUser"] {
            let (filled, notes) = secured(&root, &allow(word)).unwrap();
            assert!(filled["spec"]["securityContext"].get("runAsNonRoot").is_none(), "{filled}");
            assert!(
                notes.iter().any(|note| note.contains("`non_root` is allowed: spec.template")),
                "{notes:?}"
            );
        }
        let wrong = secured(&root, &allow("nonroot")).unwrap_err().to_string();
        assert!(wrong.contains("`nonroot` is neither a rule") && wrong.contains("non_root"), "{wrong}");
        let baseline = PodSecurity { profile: Profile::Baseline, ..PodSecurity::default() };
        let (filled, notes) = secured(&root, &baseline).unwrap();
        assert!(filled["spec"].get("securityContext").is_none(), "{filled}");
        assert!(notes.iter().any(|note| note.contains("`baseline` in place of")), "{notes:?}");
        let host = refused(&json!({"hostPID": true}), &json!({}), &baseline);
        assert_eq!(host[0].rule, Rule::HostNamespaces);
        let any = PodSecurity { profile: Profile::Privileged, ..PodSecurity::default() };
        assert!(secured(&template(&json!({"hostPID": true}), &json!({})), &any).is_ok());
    }
}
