//! What holds between a service's blast radius on Kubernetes and its strategy.

use serde_json::Value;

use super::{
    super::{
        finding::{Code, Complaint},
        units::share_text,
    },
    Checker, at, number,
};

/// The largest step of a canary's share, where nobody says otherwise: by criticality.
const CRITICAL_STEP_BP: u64 = 5_000;

impl Checker<'_> {
    /// Everything about what a bad release could harm.
    pub(super) fn blast(&mut self, service: &Value, run: &Value, path: &str) {
        self.share_steps(service, run, path);
        self.autoscale(service, run, path);
    }

    fn share_steps(&mut self, service: &Value, run: &Value, path: &str) {
        let critical = service.get("criticality").and_then(Value::as_str) == Some("critical");
        let by_criticality = if critical { CRITICAL_STEP_BP } else { 10_000 };
        let written = number(run, "/caps/share_step_bp");
        let cap = written.unwrap_or(by_criticality);
        let Some(steps) = service.pointer("/strategy/canary/steps").and_then(Value::as_array) else { return };
        let shares = steps.iter().map(|step| number(step, "/share_bp"));
        // A last step of 100 % is added where it is missing.
        let shares: Vec<Option<u64>> = std::iter::once(Some(0)).chain(shares).chain([Some(10_000)]).collect();
        let steps = shares.len().saturating_sub(3);
        for (index, pair) in shares.windows(2).enumerate() {
            let [Some(before), Some(share)] = pair else { continue };
            if share.saturating_sub(*before) > cap {
                let here = format!("{path}.strategy.canary.steps[{}]", index.min(steps));
                let text = |points: u64| share_text(u16::try_from(points).unwrap_or(u16::MAX));
                let whose = if written.is_some() { "`caps.share_step`" } else { "criticality `critical`" };
                let message = format!(
                    "the share rises from {} to {} in one step, and {whose} allows {}",
                    text(*before),
                    text(*share),
                    text(cap)
                );
                let help = "put a step between, or raise `run.kubernetes.caps.share_step`";
                let complaint = Complaint::new(Code::Conflict, message).help(help);
                self.add(&[&format!("{here}.share"), &here], complaint);
            }
        }
    }

    fn autoscale(&mut self, service: &Value, run: &Value, path: &str) {
        let Some(scale) = run.get("autoscale").filter(|scale| scale.is_object()) else { return };
        if scale.get("mode").and_then(Value::as_str) != Some("own") {
            return;
        }
        let here = at(path, "run.kubernetes.autoscale");
        for key in ["min", "max"] {
            if number(scale, &format!("/{key}")).is_none()
                && !self.wrote(path, &format!("run.kubernetes.autoscale.{key}"))
            {
                let message = format!("`{key}` is missing");
                self.add(
                    &[&here],
                    Complaint::new(Code::MissingKey, message)
                        .help("write `min` and `max`, as `min: 2`, `max: 10`"),
                );
            }
        }
        if let (Some(min), Some(max)) = (number(scale, "/min"), number(scale, "/max"))
            && min > max
        {
            let message = format!("`min`, {min}, is more than `max`, {max}");
            self.add(
                &[&format!("{here}.min"), &here],
                Complaint::new(Code::Conflict, message).help("lower `min`, or raise `max`"),
            );
        }
        let some = |key: &str| scale.get(key).and_then(Value::as_object).is_some_and(|all| !all.is_empty());
        let looks = ["cpu_bp", "memory_bp"].iter().any(|key| number(scale, &format!("/{key}")).is_some());
        if !looks && !some("pods") && !some("external") {
            let complaint = Complaint::new(Code::MissingKey, "nothing says when there are too few pods")
                .help("write what to look at, as `cpu: 70%`");
            self.add(&[&here], complaint);
        }
        let strategy = service.get("strategy").and_then(Value::as_object);
        let counted = strategy.is_some_and(|all| {
            ["canary", "rolling"].iter().any(|key| all.get(*key).is_some_and(Value::is_object))
        });
        let routed = run
            .get("traffic")
            .and_then(Value::as_object)
            .is_some_and(|all| all.values().any(Value::is_string));
        if counted && !routed {
            let message =
                "an autoscaler changes the number of pods, and without a route these make the shares";
            let help = "name a route under `run.kubernetes.traffic`, or use `blue_green`";
            self.add(&[&here], Complaint::new(Code::Conflict, message).help(help));
        }
    }
}
