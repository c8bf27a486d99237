//! Webhooks of a Canary: what asks for an agreement becomes an approval, and everything else is said.

use crate::{
    difference::Report,
    field::Field,
    strategy::{Step, Strategy},
};

pub(super) fn say(analysis: &Field<'_>, strategy: &mut Strategy, report: &mut Report) {
    for hook in analysis.get("webhooks").map(|hooks| hooks.items()).unwrap_or_default() {
        let url = hook.text_at("url").unwrap_or_default();
        let asks = |what: &str| format!("asks `{}` {what}", tidegate_yaml::finding::shown(url));
        let person = "a person approves: `tidegate approve` can be called by what answers that address now";
        match hook.text_at("type").unwrap_or("rollout") {
            "confirm-rollout" => {
                approve(strategy, |steps| steps.first_mut().into_iter().collect());
                report.warn(&hook, asks("before it begins"), person);
            }
            "confirm-traffic-increase" => {
                approve(strategy, |steps| steps.iter_mut().collect());
                report.warn(&hook, asks("before every weight"), person);
            }
            "confirm-promotion" => {
                approve(strategy, |steps| steps.last_mut().into_iter().collect());
                report.warn(&hook, asks("before the promotion"), person);
            }
            "pre-rollout" => report.error(
                &hook,
                asks("before the first user, and goes on when it says yes"),
                "not written: run that test before `tidegate deploy`, or behind a preview of `blue_green`",
            ),
            "rollout" => report.warn(
                &hook,
                asks("at every check, which fails when it says no"),
                "not written: a generator of load runs beside the deployment; for a test, a `command` metric asks it and a gate its answer",
            ),
            "rollback" => report.warn(&hook, asks("whether to turn back"), "not written: `tidegate abort` turns back"),
            _ => report.warn(&hook, asks("to tell what happened"), "not written: `tidegate watch --json` has every event"),
        }
    }
}

fn approve(strategy: &mut Strategy, which: impl FnOnce(&mut Vec<Step>) -> Vec<&mut Step>) {
    match strategy {
        Strategy::Canary(steps) => which(steps).into_iter().for_each(|step| step.approval = true),
        Strategy::BlueGreen { approval, .. } => *approval = true,
        Strategy::Rolling(_) | Strategy::AllAtOnce => {}
    }
}
