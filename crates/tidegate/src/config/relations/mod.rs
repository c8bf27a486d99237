//! What must hold between values: shares that rise, addresses used once, waits that fit into each other.

mod blast;
mod gates;
pub(super) mod kubernetes;

use std::net::SocketAddr;

use serde_json::Value;

use super::{
    finding::{Code, Complaint, Findings, Place, Places, shown},
    units::{duration_text, share_text},
};

/// Reports everything in `file` (its normal form, with gaps where a value was wrong) that cannot hold together.
pub(super) fn check(file: &Value, places: &Places, findings: &mut Findings) {
    let mut checker = Checker { places, findings };
    let Some(services) = file.get("services").and_then(Value::as_object) else { return };
    for (name, service) in services {
        let path = format!("services.{}", shown(name));
        checker.place(service, &path);
        checker.steps(service, &path);
        checker.ready(service, &path);
        checker.backoff(service, &path);
        checker.batch(service, &path);
        checker.gates(service, &path);
        checker.repeated(service, "/shadow/methods", &format!("{path}.shadow.methods"));
    }
    checker.listeners(services.iter());
}

/// The same for a file that holds gates alone.
pub(super) fn check_gates(file: &Value, places: &Places, findings: &mut Findings) {
    Checker { places, findings }.gates(file, "");
}

struct Checker<'a> {
    places: &'a Places,
    findings: &'a mut Findings,
}

impl Checker<'_> {
    /// At the first of `paths` that was written, else at what is around the first.
    fn add(&mut self, paths: &[&str], complaint: Complaint) {
        let written = paths.iter().find_map(|path| self.places.written(path).map(|place| (*path, place)));
        let first = paths.first().copied().unwrap_or_default();
        let (path, place) = written.unwrap_or_else(|| (first, self.places.nearest(first)));
        self.findings.add(place, path, complaint);
    }

    fn steps(&mut self, service: &Value, path: &str) {
        let Some(steps) = service.pointer("/strategy/canary/steps").and_then(Value::as_array) else { return };
        let shares: Vec<Option<u64>> = steps.iter().map(|step| number(step, "/share_bp")).collect();
        for (index, pair) in shares.windows(2).enumerate() {
            let [Some(before), Some(share)] = pair else { continue };
            if share <= before {
                let step = format!("{path}.strategy.canary.steps[{}]", index + 1);
                let text = |points: u64| share_text(u16::try_from(points).unwrap_or(u16::MAX));
                let message =
                    format!("{} does not rise above the step before it, {}", text(*share), text(*before));
                let complaint = Complaint::new(Code::Conflict, message).help("shares rise from step to step");
                self.add(&[&format!("{step}.share"), &step], complaint);
            }
        }
    }

    fn ready(&mut self, service: &Value, path: &str) {
        let ready = |key: &str| number(service, &format!("/run/ready/{key}"));
        let (Some(interval), Some(successes), Some(healthy), Some(deadline)) =
            (ready("interval_ms"), ready("successes"), ready("min_healthy_ms"), ready("deadline_ms"))
        else {
            return;
        };
        let probes = interval.saturating_mul(successes.saturating_sub(1));
        let needed = probes.max(healthy);
        if needed >= deadline {
            let message = format!(
                "an instance can never be ready in time: it needs {} at the least, and has {}",
                duration_text(needed),
                duration_text(deadline)
            );
            let complaint =
                Complaint::new(Code::Conflict, message).help("raise `deadline`, or lower the others");
            let keys = ["deadline", "min_healthy", "successes", "interval"]
                .map(|key| format!("{path}.run.ready.{key}"));
            self.add(&keys.each_ref().map(String::as_str), complaint);
        }
    }

    fn backoff(&mut self, service: &Value, path: &str) {
        let restart = |key: &str| number(service, &format!("/run/restart/{key}"));
        let (Some(first), Some(longest)) = (restart("backoff_ms"), restart("backoff_max_ms")) else { return };
        if first > longest {
            let message = format!(
                "the first wait, {}, is longer than the longest, {}",
                duration_text(first),
                duration_text(longest)
            );
            let complaint =
                Complaint::new(Code::Conflict, message).help("raise `backoff_max` or lower `backoff`");
            let at = format!("{path}.run.restart");
            self.add(&[&format!("{at}.backoff"), &format!("{at}.backoff_max")], complaint);
        }
    }

    fn batch(&mut self, service: &Value, path: &str) {
        let Some(batch) = number(service, "/strategy/rolling/batch/instances") else { return };
        let instances = ["/run/instances", "/run/container/instances", "/run/kubernetes/replicas"]
            .iter()
            .find_map(|at| number(service, at));
        if let Some(instances) = instances.filter(|instances| batch > *instances) {
            let message = format!("a batch of {batch} is more than there are instances, {instances}");
            let complaint =
                Complaint::new(Code::Conflict, message).help("lower it, or raise `instances` in `run`");
            self.add(&[&format!("{path}.strategy.rolling.batch")], complaint);
        }
    }

    fn repeated(&mut self, service: &Value, pointer: &str, path: &str) {
        let Some(items) = service.pointer(pointer).and_then(Value::as_array) else { return };
        for (index, item) in items.iter().enumerate() {
            if let Some(text) = item.as_str().filter(|_| items.iter().take(index).any(|other| other == item))
            {
                let complaint =
                    Complaint::new(Code::Conflict, format!("`{}` is already in the list", shown(text)));
                self.add(&[&format!("{path}[{index}]")], complaint);
            }
        }
    }

    /// One address, one service; `0.0.0.0` and `[::]` take the port on every interface. The second in the file is at fault.
    fn listeners<'v>(&mut self, services: impl Iterator<Item = (&'v String, &'v Value)>) {
        let mut all: Vec<Listener> =
            services.flat_map(|(name, service)| self.addresses(name, service)).collect();
        all.sort_by_key(|listener| listener.place);
        for (index, listener) in all.iter().enumerate() {
            let same = |other: &&Listener| {
                let (a, b) = (other.address, listener.address);
                a.port() == b.port()
                    && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
            };
            if let Some(other) = all.iter().take(index).find(same) {
                let message = format!(
                    "`{}` is already taken by `{}` on line {}",
                    listener.address, other.path, other.place.line
                );
                let complaint = Complaint::new(Code::Conflict, message).help("give each its own port");
                self.findings.add(listener.place, &listener.path, complaint);
            }
        }
    }

    fn addresses(&self, name: &str, service: &Value) -> Vec<Listener> {
        let whole = format!("services.{}.listen", shown(name));
        let addresses = service.get("listen").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let listener = |(index, address): (usize, &Value)| {
            let address = address.as_str()?.parse::<SocketAddr>().ok()?;
            let item = format!("{whole}[{index}]");
            let (path, place) = match self.places.written(&item) {
                Some(place) => (item, place),
                None => (whole.clone(), self.places.nearest(&whole)),
            };
            Some(Listener { address, path, place })
        };
        addresses.iter().enumerate().filter_map(listener).collect()
    }
}

/// An address that users reach a service at.
struct Listener {
    address: SocketAddr,
    path: String,
    place: Place,
}

/// `key` below `path`, which is nothing at the top of a file.
fn at(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}
