//! The rules of Kubernetes' Pod Security Standards, and what breaks them: pure, over a pod template.
//!
//! Source: the Pod Security Standards of Kubernetes 1.35, profiles `baseline` and `restricted`.

use serde_json::Value;

/// Kinds of volumes that `restricted` knows.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Capabilities that `baseline` lets a container add.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The kernel's settings that are of one pod alone.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Types of `SELinux` that a container may have.
const SELINUX: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// One rule of the standards. Its name is what `pod_security.allow` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// No profile of `AppArmor` but the runtime's and the node's own.
    AppArmor,
    /// No capabilities beyond the profile's.
    Capabilities,
    /// No more rights than the process that starts another.
    Escalation,
    /// No namespaces of the node.
    HostNamespaces,
    /// No folders of the node.
    HostPath,
    /// No ports of the node.
    HostPorts,
    /// No probes of other hosts.
    HostProbes,
    /// No processes of a Windows node.
    HostProcess,
    /// Not as root.
    NonRoot,
    /// No privileged containers.
    Privileged,
    /// `/proc` with what the runtime hides.
    ProcMount,
    /// The runtime's system calls, or a profile's of the node.
    Seccomp,
    /// No other type, user or role of `SELinux`.
    Selinux,
    /// Settings of the kernel that are of one pod alone.
    Sysctls,
    /// Volumes that reach nothing of the node.
    Volumes,
}

impl Rule {
    /// All, in the order of their names.
    pub const ALL: [Self; 15] = [
        Self::AppArmor,
        Self::Capabilities,
        Self::Escalation,
        Self::HostNamespaces,
        Self::HostPath,
        Self::HostPorts,
        Self::HostProbes,
        Self::HostProcess,
        Self::NonRoot,
        Self::Privileged,
        Self::ProcMount,
        Self::Seccomp,
        Self::Selinux,
        Self::Sysctls,
        Self::Volumes,
    ];

    /// As it is written in `allow`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppArmor => "app_armor",
            Self::Capabilities => "capabilities",
            Self::Escalation => "escalation",
            Self::HostNamespaces => "host_namespaces",
            Self::HostPath => "host_path",
            Self::HostPorts => "host_ports",
            Self::HostProbes => "host_probes",
            Self::HostProcess => "host_process",
            Self::NonRoot => "non_root",
            Self::Privileged => "privileged",
            Self::ProcMount => "proc_mount",
            Self::Seccomp => "seccomp",
            Self::Selinux => "selinux",
            Self::Sysctls => "sysctls",
            Self::Volumes => "volumes",
        }
    }
}

/// A field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// The field in the manifest, `spec.template.spec.hostNetwork`.
    pub path: String,
    /// What it says, short.
    pub found: String,
    /// What to write in its place.
    pub write: String,
}

/// A place in the manifest.
#[derive(Clone)]
struct At<'v> {
    path: String,
    value: &'v Value,
}

impl<'v> At<'v> {
    fn key(&self, key: &str) -> Option<At<'v>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(At { path: format!("{}.{key}", self.path), value })
    }

    fn keys(&self, keys: &[&str]) -> Option<At<'v>> {
        keys.iter().try_fold(self.clone(), |at, key| at.key(key))
    }

    fn items(&self, key: &str) -> Vec<At<'v>> {
        let Some(list) = self.key(key) else { return Vec::new() };
        let items = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(index, value)| At { path: format!("{}[{index}]", list.path), value };
        items.iter().enumerate().map(item).collect()
    }

    fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }
}

/// Everything in the template that breaks a rule; with `restricted` the stricter profile's rules too. What it does not say
/// breaks none: `restricted` is filled in where it is silent.
pub(super) fn violations(template: &Value, restricted: bool) -> Vec<Violation> {
    let whole = At { path: "spec.template".to_owned(), value: template };
    let mut found = Vec::new();
    annotations(&whole, &mut found);
    let Some(pod) = whole.key("spec") else { return found };
    of_pod(&pod, restricted, &mut found);
    for list in ["initContainers", "containers"] {
        for container in pod.items(list) {
            of_container(&container, restricted, &mut found);
        }
    }
    found
}

fn add(found: &mut Vec<Violation>, rule: Rule, at: Option<At<'_>>, write: &str) {
    let Some(At { path, value }) = at else { return };
    let said: String = value.to_string().chars().take(60).collect();
    found.push(Violation { rule, path, found: said, write: write.to_owned() });
}

fn truth(at: Option<At<'_>>, value: bool) -> Option<At<'_>> {
    at.filter(|at| at.value.as_bool() == Some(value))
}

fn annotations(whole: &At<'_>, found: &mut Vec<Violation>) {
    let all = whole.keys(&["metadata", "annotations"]);
    for (key, value) in all.iter().filter_map(|all| all.value.as_object()).flatten() {
        let profile = value.as_str().unwrap_or_default();
        let good = profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/");
        if key.starts_with("container.apparmor.security.beta.kubernetes.io/") && !good {
            let at = all.as_ref().and_then(|all| all.key(key));
            add(found, Rule::AppArmor, at, "take it out, or write `runtime/default`");
        }
    }
}

fn of_pod(pod: &At<'_>, restricted: bool, found: &mut Vec<Violation>) {
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        add(found, Rule::HostNamespaces, truth(pod.key(key), true), "take it out");
    }
    for volume in pod.items("volumes") {
        if let Some(path) = volume.key("hostPath") {
            add(found, Rule::HostPath, Some(path), "use an `emptyDir` or a `persistentVolumeClaim`");
            continue;
        }
        let kinds = volume.value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        for kind in kinds.filter(|kind| restricted && *kind != "name" && !VOLUMES.contains(kind)) {
            add(found, Rule::Volumes, volume.key(kind), "use a `persistentVolumeClaim`");
        }
    }
    let Some(context) = pod.key("securityContext") else { return };
    for sysctl in context.items("sysctls") {
        let name = sysctl.key("name").filter(|name| !SYSCTLS.contains(&name.text()));
        add(found, Rule::Sysctls, name, "take it out: it is not of one pod alone");
    }
    of_context(&context, restricted, found);
}

/// What pods and containers both may say.
fn of_context(context: &At<'_>, restricted: bool, found: &mut Vec<Violation>) {
    let kind = |key: &str| context.keys(&[key, "type"]);
    let profiles = ["RuntimeDefault", "Localhost"];
    let unknown = |at: &At<'_>| !profiles.contains(&at.text());
    add(found, Rule::AppArmor, kind("appArmorProfile").filter(unknown), "write `RuntimeDefault`");
    let open = |at: &At<'_>| at.text() == "Unconfined" || (restricted && unknown(at));
    add(found, Rule::Seccomp, kind("seccompProfile").filter(open), "write `RuntimeDefault`");
    let other = |at: &At<'_>| !SELINUX.contains(&at.text());
    add(found, Rule::Selinux, kind("seLinuxOptions").filter(other), "write `container_t`, or take it out");
    for key in ["user", "role"] {
        let said = context.keys(&["seLinuxOptions", key]).filter(|at| !at.text().is_empty());
        add(found, Rule::Selinux, said, "take it out");
    }
    let windows = context.keys(&["windowsOptions", "hostProcess"]);
    add(found, Rule::HostProcess, truth(windows, true), "take it out");
    if restricted {
        add(found, Rule::NonRoot, truth(context.key("runAsNonRoot"), false), "write `true`");
        let root = context.key("runAsUser").filter(|user| user.value.as_u64() == Some(0));
        add(found, Rule::NonRoot, root, "write a user above 0 that the image has");
    }
}

fn of_container(container: &At<'_>, restricted: bool, found: &mut Vec<Violation>) {
    for port in container.items("ports") {
        let taken = port.key("hostPort").filter(|port| port.value.as_u64() != Some(0));
        add(found, Rule::HostPorts, taken, "take it out: a Service reaches the pod's own port");
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.key(probe));
    let hooks = ["postStart", "preStop"].map(|hook| container.keys(&["lifecycle", hook]));
    for asked in probes.iter().chain(&hooks).flatten() {
        for how in ["httpGet", "tcpSocket"] {
            let host = asked.keys(&[how, "host"]).filter(|host| !host.text().is_empty());
            add(found, Rule::HostProbes, host, "take it out: the pod itself is asked then");
        }
    }
    let Some(context) = container.key("securityContext") else { return };
    of_context(&context, restricted, found);
    add(found, Rule::Privileged, truth(context.key("privileged"), true), "take it out");
    let proc = context.key("procMount").filter(|mount| mount.text() != "Default");
    add(found, Rule::ProcMount, proc, "take it out");
    if let Some(capabilities) = context.key("capabilities") {
        let allowed: &[&str] = if restricted { &["NET_BIND_SERVICE"] } else { &CAPABILITIES };
        for added in capabilities.items("add").into_iter().filter(|added| !allowed.contains(&added.text())) {
            add(found, Rule::Capabilities, Some(added), "take it out");
        }
    }
    if restricted {
        let escalates = truth(context.key("allowPrivilegeEscalation"), true);
        add(found, Rule::Escalation, escalates, "write `false`");
    }
}
