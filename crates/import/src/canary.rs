//! The steps of a canary.

use crate::{
    analysis::{self, About},
    difference::Report,
    duration::{self, Amount},
    field::Field,
    form::WEEK_MS,
    gate::Gates,
    header::HeaderRoutes,
    strategy::{Shadow, Step, Strategy, share},
    testers::Testers,
};

/// Steps that `tidegate.yaml` takes.
const STEPS_MAX: usize = 50;

/// What the steps of a canary come to.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) strategy: Strategy,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) testers: Testers,
    pub(crate) gates: Gates,
}

/// Reads steps and background analysis. `routed` says that weights are moved, not pods.
pub(crate) fn plan(canary: &Field<'_>, routed: bool, about: &About<'_>, report: &mut Report) -> Plan {
    let steps = canary.get("steps").map(|steps| steps.items()).unwrap_or_default();
    if steps.is_empty() {
        return without_steps(canary, routed, about, report);
    }
    let max = canary.at("trafficRouting.maxTrafficWeight").and_then(|max| max.whole()).filter(|max| *max > 0);
    let mut walk = Walk {
        about,
        max: max.unwrap_or(100),
        steps: Vec::new(),
        begins: Vec::new(),
        asks: None,
        shadow: None,
        headers: HeaderRoutes::default(),
        mirroring: false,
        gates: Gates::default(),
    };
    for step in &steps {
        walk.begins.push(walk.steps.len());
        walk.step(step, report);
    }
    walk.end(report);
    walk.background(canary, report);
    let Walk { steps, shadow, headers, gates, .. } = walk;
    let testers = headers.testers(report);
    Plan { strategy: Strategy::Canary(steps), shadow, testers, gates }
}

/// Without steps pods are replaced as they come, or all traffic moves at once.
fn without_steps(canary: &Field<'_>, routed: bool, about: &About<'_>, report: &mut Report) -> Plan {
    let strategy = if routed {
        report.note(canary, "without steps all weight moves when all pods are there", "`all_at_once`");
        Strategy::AllAtOnce
    } else {
        let amount = |key: &str| canary.get(key).and_then(|field| Amount::of(&field));
        let surge = amount("maxSurge").unwrap_or(Amount::Percent(25));
        let unavailable = amount("maxUnavailable").unwrap_or(Amount::Percent(25));
        let batch = if surge.is_none() { unavailable } else { surge };
        report.note(
            canary,
            "without steps pods are replaced as fast as `maxSurge` and `maxUnavailable` allow",
            "a `rolling` update in batches of that size",
        );
        Strategy::Rolling(match batch {
            Amount::Pods(count) => count.clamp(1, 64).to_string(),
            Amount::Percent(percent) => format!("{}%", percent.clamp(1, 100)),
        })
    };
    let mut gates = Gates::default();
    if let Some(block) = canary.get("analysis") {
        for mut gate in analysis::run(&block, about, report).gates {
            gate.background = true;
            ask(&mut gates, gate, [1], &block, report);
        }
    }
    Plan { strategy, shadow: None, testers: Testers::default(), gates }
}

pub(crate) fn ask(
    gates: &mut Gates,
    gate: crate::gate::Gate,
    steps: impl IntoIterator<Item = usize>,
    at: &Field<'_>,
    report: &mut Report,
) {
    if !gates.ask(gate, steps) {
        let theirs = "more than 32 different metrics";
        report.error(at, theirs, "a service has at most 32 metrics: the others are not written");
    }
}

struct Walk<'a, 'b> {
    about: &'b About<'a>,
    max: i64,
    steps: Vec<Step>,
    /// How many of ours there were before each of theirs.
    begins: Vec<usize>,
    /// Where a person was asked and nothing came since.
    asks: Option<Field<'b>>,
    shadow: Option<Shadow>,
    headers: HeaderRoutes<'b>,
    mirroring: bool,
    gates: Gates,
}

impl<'b> Walk<'_, 'b> {
    fn step(&mut self, step: &Field<'b>, report: &mut Report) {
        let mut known = false;
        // In the order in which they act there.
        for (key, act) in [
            ("pause", Self::pause as fn(&mut Self, &Field<'b>, &mut Report)),
            ("setCanaryScale", Self::scale),
            ("setWeight", Self::weight),
            ("experiment", Self::experiment),
            ("analysis", Self::analysis),
            ("setHeaderRoute", Self::header),
            ("setMirrorRoute", Self::mirror),
            ("plugin", Self::plugin),
        ] {
            // An empty pause is one without end, also when it is written as nothing.
            let written = step.entries().into_iter().find(|(found, _)| *found == key).map(|(_, field)| field);
            if let Some(field) = written.filter(|field| key == "pause" || !field.is_null()) {
                known = true;
                act(self, &field, report);
            }
        }
        if !known {
            report.warn(step, "a step that does nothing", "left out");
        }
    }

    fn weight(&mut self, field: &Field<'b>, report: &mut Report) {
        let Some(weight) = field.whole().filter(|weight| (0..=self.max).contains(weight)) else {
            report.error(
                field,
                format!("a weight of {}", field.found()),
                format!("left out: expected 0 to {}", self.max),
            );
            return;
        };
        let points = weight.saturating_mul(10_000) / self.max;
        let points = u16::try_from(points).unwrap_or(10_000);
        let before = self.steps.last().map_or(0, |step| step.share_bp);
        if weight > 0 && points == 0 {
            report.warn(field, format!("a weight of {weight} of {}", self.max), "left out: less than 0.01 %");
        } else if points == before {
            if points == 0 {
                report.note(
                    field,
                    "a step without users",
                    "nothing is started before the first share of users",
                );
            }
        } else if points < before {
            report.error(
                field,
                format!("the share falls from {} to {}", share(before), share(points)),
                format!(
                    "shares only rise: the release stays at {}; pause there, or turn back",
                    share(before)
                ),
            );
        } else if self.steps.len() >= STEPS_MAX {
            report.error(field, "more than 50 steps", "the rest is left out");
        } else {
            let approval = self.asks.take().is_some();
            self.steps.push(Step { share_bp: points, bake_ms: 0, approval });
        }
    }

    fn pause(&mut self, field: &Field<'b>, report: &mut Report) {
        let Some(duration) = field.get("duration") else {
            self.forever(field, report);
            return;
        };
        let Some(ms) = duration::pause(&duration).and_then(|ms| u64::try_from(ms).ok()) else {
            let ours = "left out: expected seconds (30, \"30\") or a duration (30s, 5m, 1h)";
            report.error(&duration, format!("a pause of {}", duration.found()), ours);
            return;
        };
        if ms > WEEK_MS {
            report.warn(&duration, "a pause of more than a week", "a step lasts a week at the longest");
        }
        if self.mirroring && self.steps.is_empty() {
            if let Some(shadow) = &mut self.shadow {
                shadow.bake_ms = shadow.bake_ms.saturating_add(ms);
            }
            return;
        }
        let Some(step) = self.steps.last_mut() else {
            report.warn(
                field,
                "the new pods run for a while before the first user",
                "nothing is started before the first share of users; use a `shadow` phase where a route can copy requests",
            );
            return;
        };
        if self.asks.is_some() {
            report.note(
                field,
                "a pause behind a person's promotion, at the same share",
                "the step lasts that much longer before the person is asked",
            );
        }
        step.bake_ms = step.bake_ms.saturating_add(ms);
    }

    fn forever(&mut self, field: &Field<'b>, report: &mut Report) {
        if self.asks.is_some() {
            report.note(field, "waits for a person twice at one share", "one approval");
        }
        // Beside a mirror the new pods run, and copies go on until a person agrees, there and here.
        if self.steps.is_empty() && !self.mirroring {
            report.note(
                field,
                "waits for a person with the new pods running and no user on them",
                "waits for the approval before the first share of users, with nothing started",
            );
        }
        self.asks = Some(field.clone());
    }

    fn scale(_: &mut Self, field: &Field<'b>, report: &mut Report) {
        if field.get("matchTrafficWeight").and_then(|on| on.truth()) == Some(true) {
            report.note(
                field,
                "as many pods as the share needs",
                "always so: ceil(replicas × share), at least 1",
            );
            return;
        }
        report.warn(
            field,
            "a number of pods of its own, whatever the share",
            "ceil(replicas × share) pods, at least 1: a share never has fewer pods than it needs",
        );
    }

    fn analysis(&mut self, field: &Field<'b>, report: &mut Report) {
        let run = analysis::run(field, self.about, report);
        if self.steps.is_empty() && !run.gates.is_empty() {
            report.error(
                field,
                "an analysis before the first user",
                "asked at the first share of users instead; to ask before it, use `blue_green` with a preview, or test before `tidegate deploy`",
            );
        }
        let length = run.length_ms();
        if length.is_none() {
            report.warn(
                field,
                "an analysis without an end (`interval` without `count`) never completes its step",
                "asked for as long as the step lasts, which goes on when it has passed",
            );
        }
        let number = self.steps.len().max(1);
        let before = self.steps.last().map_or(0, |step| step.bake_ms);
        if before > 0 && !self.about.options.compat {
            report.note(
                field,
                "asked once the pause before it is over",
                "asked through the whole step, the pause too; `--compat argo` waits",
            );
        }
        if let Some(step) = self.steps.last_mut() {
            step.bake_ms = step.bake_ms.saturating_add(length.unwrap_or(0));
        }
        for mut gate in run.gates {
            if self.about.options.compat {
                let delay = &mut gate.limits.initial_delay_ms;
                *delay = delay.saturating_add(before).min(WEEK_MS);
            }
            ask(&mut self.gates, gate, [number], field, report);
        }
    }

    fn experiment(_: &mut Self, field: &Field<'b>, report: &mut Report) {
        report.error(
            field,
            "starts pods of both releases beside each other and asks analyses about them",
            "not written: both releases are compared in the same intervals at every step; give the service a metric with counters, and `gates.error_rate` and `latency_shift` ask it",
        );
    }

    fn plugin(_: &mut Self, field: &Field<'b>, report: &mut Report) {
        let name = field.text_at("name").unwrap_or("a plugin");
        report.error(
            field,
            format!("`{name}` decides when the step is over"),
            "not written: a `command` metric runs a program and a gate asks its answer",
        );
    }

    fn header(&mut self, field: &Field<'b>, report: &mut Report) {
        self.headers.step(field, self.steps.is_empty(), report);
    }

    fn mirror(&mut self, field: &Field<'b>, report: &mut Report) {
        let Some(matches) = field.get("match").filter(|matches| !matches.items().is_empty()) else {
            self.mirroring = false;
            return;
        };
        if !self.steps.is_empty() {
            report.warn(
                field,
                "copies of requests while users are on the release already",
                "not written: a `shadow` phase is before the first user",
            );
            return;
        }
        report.warn(
            &matches,
            "copies of the requests that match",
            "copies of all requests of every rule that points to the Service: what a POST does is done twice",
        );
        let percent = field.get("percentage").and_then(|percent| percent.whole()).unwrap_or(100);
        let percent = u16::try_from(percent.clamp(1, 100)).unwrap_or(100);
        self.shadow = Some(Shadow { percent, bake_ms: 0 });
        self.mirroring = true;
    }

    /// Everything, once the last step is over.
    fn end(&mut self, report: &mut Report) {
        if self.steps.last().is_none_or(|step| step.share_bp < 10_000) {
            let approval = self.asks.take().is_some();
            self.steps.push(Step { share_bp: 10_000, bake_ms: 0, approval });
        } else if let (Some(asked), Some(last)) = (self.asks.take(), self.steps.last_mut()) {
            last.approval = true;
            report.warn(
                &asked,
                "waits for a person with all users on the new release, and the old pods at hand",
                "the person is asked before the step of 100 %",
            );
        }
    }

    /// The analysis beside the steps: at all of ours from the one at which it starts.
    fn background(&mut self, canary: &Field<'_>, report: &mut Report) {
        let Some(block) = canary.get("analysis") else { return };
        let starting = block.get("startingStep").and_then(|step| step.whole()).unwrap_or(0);
        let starting = usize::try_from(starting).unwrap_or(0);
        let Some(before) = self.begins.get(starting) else {
            report.error(
                &block,
                format!("begins at step {starting}, which is not there"),
                "the gates are not written",
            );
            return;
        };
        // What begins with a weight begins with its step; what begins with a pause, with the step that it is in.
        let opens = self.begins.get(starting + 1).map_or(self.steps.len(), |after| *after) > *before;
        let first = if opens { before + 1 } else { (*before).max(1) };
        // The last step is over at once when nothing is watched in it: then the analysis has ended there, too.
        let idle = self.steps.len() > 1 && self.steps.last().is_some_and(|step| step.bake_ms == 0);
        let last = (self.steps.len() - usize::from(idle)).max(first);
        let run = analysis::run(&block, self.about, report);
        if !run.gates.is_empty() {
            report.note(
                &block,
                "runs beside the steps, and only a failure stops them: steps go on without any measurement",
                "asked at each of these steps, which needs a measurement that passed: no data is not a pass",
            );
        }
        for mut gate in run.gates {
            gate.background = true;
            ask(&mut self.gates, gate, first..=last, &block, report);
        }
    }
}
