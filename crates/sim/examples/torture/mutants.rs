//! Defects that the laws must find: an exact piece of source, and what it becomes while the defect is on.

/// A defect.
pub(crate) struct Mutant {
    /// What is wrong, in one sentence.
    pub(crate) defect: &'static str,
    /// The file, from the workspace's root.
    pub(crate) file: &'static str,
    /// The text, found there exactly once.
    pub(crate) text: &'static str,
    /// The text instead; `@ON@` says whether the defect is on.
    pub(crate) instead: &'static str,
}

const DECIDE: &str = "crates/core/src/deployment/decide.rs";
const MISSING: &str = "crates/core/src/deployment/missing.rs";
const EVOLVE: &str = "crates/core/src/deployment/evolve.rs";
const OWED: &str = "crates/core/src/deployment/owed.rs";
const RUN: &str = "crates/engine/src/run.rs";
const ENGINE: &str = "crates/engine/src/engine.rs";
const FLEET: &str = "crates/engine/src/fleet.rs";
const RULES: &str = "crates/engine/src/journal/rules.rs";

const fn mutant(
    defect: &'static str,
    file: &'static str,
    text: &'static str,
    instead: &'static str,
) -> Mutant {
    Mutant { defect, file, text, instead }
}

/// All of them.
pub(crate) const ALL: &[Mutant] = &[
    mutant(
        "an old try's answer counts for the present one",
        DECIDE,
        "tries.attempt != attempt {",
        "(tries.attempt != attempt && !@ON@) {",
    ),
    mutant(
        "an old intention's answer counts for the present one",
        DECIDE,
        "tries.intent != key.intent ||",
        "(tries.intent != key.intent && !@ON@) ||",
    ),
    mutant(
        "missing evidence is taken for a pass",
        DECIDE,
        "Missing::Waited(_) if waits => Vec::new(),",
        "Missing::Waited(_) if @ON@ => pass(plan, state, vec![seen], stage, false, now),\n        \
         Missing::Waited(_) if waits => Vec::new(),",
    ),
    mutant(
        "a failed gate does not turn back at the end of a stage",
        DECIDE,
        "if let Some(cause) = cause {\n        return back(seen, cause);",
        "if let Some(cause) = cause.filter(|_| !@ON@) {\n        return back(seen, cause);",
    ),
    mutant(
        "the bake ends at the first tick",
        DECIDE,
        "Phase::CanaryWaiting { stage, until } if *until <= now =>",
        "Phase::CanaryWaiting { stage, until } if *until <= now || @ON@ =>",
    ),
    mutant(
        "missing evidence is waited for without an end",
        MISSING,
        "OnNoEvidence::Hold if now < until => Missing::Waited(until),",
        "OnNoEvidence::Hold if now < until || @ON@ => Missing::Waited(until),",
    ),
    mutant(
        "an effect is tried again without an end",
        DECIDE,
        "if next < most && (back || !permanent) {",
        "if (next < most || @ON@) && (back || !permanent) {",
    ),
    mutant(
        "the end of the lease is not noticed",
        DECIDE,
        "Outcome::LeaseEnded => {\n            Ok(reopen(",
        "Outcome::LeaseEnded if @ON@ => Ok(Vec::new()),\n        Outcome::LeaseEnded => {\n            Ok(reopen(",
    ),
    mutant(
        "counters that restarted leave the window open for ever",
        DECIDE,
        "Err(NoWindow::Reset) => Ok(reset(plan, state, reading)),",
        "Err(NoWindow::Reset) if @ON@ => Ok(Vec::new()),\n                \
         Err(NoWindow::Reset) => Ok(reset(plan, state, reading)),",
    ),
    mutant(
        "the watch ends at its first look",
        DECIDE,
        "Phase::Verifying { until } if *until <= now => {\n            let judgements",
        "Phase::Verifying { until } if *until <= now || @ON@ => {\n            let judgements",
    ),
    mutant(
        "a way back that failed is called done",
        DECIDE,
        "Phase::RollingBack { step: Step::Traffic, .. } => vec![Event::Stuck { reason }],",
        "Phase::RollingBack { step: Step::Traffic, .. } if @ON@ => vec![Event::Restored],\n        \
         Phase::RollingBack { step: Step::Traffic, .. } => vec![Event::Stuck { reason }],",
    ),
    mutant(
        "an abort in a bake cancels instead of turning back",
        DECIDE,
        "Phase::RollingBack { .. } => Err(wrong(verb, state, \"it is on its way back already\")),",
        "Phase::CanaryWaiting { .. } if @ON@ => Ok(vec![Event::Cancelled { reason }]),\n        \
         Phase::RollingBack { .. } => Err(wrong(verb, state, \"it is on its way back already\")),",
    ),
    mutant(
        "an approval that the plan asks for is left out",
        DECIDE,
        "is_some_and(|stage| stage.approval) {",
        "is_some_and(|stage| stage.approval && !@ON@) {",
    ),
    mutant(
        "the way back stops instances before it moves traffic",
        EVOLVE,
        "state.cause = Some(cause.clone());\n            state.phase = Phase::RollingBack { step: Step::Traffic, tries: fresh };",
        "state.cause = Some(cause.clone());\n            let step = if @ON@ { Step::Instances } else { Step::Traffic };\n            \
         state.phase = Phase::RollingBack { step, tries: fresh };",
    ),
    mutant(
        "a bake leads to promotion without judging",
        EVOLVE,
        "Event::Baked { stage } =>",
        "Event::Baked { .. } if @ON@ => state.phase = Phase::Promoting(fresh),\n        Event::Baked { stage } =>",
    ),
    mutant(
        "the stable release is stopped before promotion",
        EVOLVE,
        "state.phase = Phase::Promoting(tries);",
        "state.phase = if @ON@ { Phase::Retiring(tries) } else { Phase::Promoting(tries) };",
    ),
    mutant(
        "a pause takes the rest of the bake away",
        EVOLVE,
        "Phase::CanaryWaiting { stage, until: at.after(left) },",
        "Phase::CanaryWaiting { stage, until: if @ON@ { at } else { at.after(left) } },",
    ),
    mutant(
        "what the stable release did before is not kept for the last stage",
        EVOLVE,
        "state.kept = Some(arm);",
        "state.kept = if @ON@ { None } else { Some(arm) };",
    ),
    mutant(
        "generations do not rise within a deployment",
        OWED,
        "plan.generation(tries.intent);",
        "plan.generation(if @ON@ { 0 } else { tries.intent });",
    ),
    mutant(
        "a stage that needs more instances gets one",
        OWED,
        "Effect::Scale { instances: stage.instances, generation",
        "Effect::Scale { instances: if @ON@ { 1 } else { stage.instances }, generation",
    ),
    mutant(
        "the effect's key carries the try",
        RUN,
        "key: debt.key.text(&self.plan.deployment),",
        "key: if @ON@ { format!(\"{}/{}\", debt.key.text(&self.plan.deployment), debt.attempt) } \
         else { debt.key.text(&self.plan.deployment) },",
    ),
    mutant(
        "effects run before the journal has what implies them",
        RUN,
        "match self.append(&plan, &next, &recorded, now).await {",
        "if @ON@ {\n            for debt in owed(&plan, &next) {\n                \
         if !matches!(debt.effect, Effect::Wake { .. }) {\n                    \
         tokio::spawn(self.attempt(debt, now));\n                }\n            }\n            \
         tokio::task::yield_now().await;\n        }\n        \
         match self.append(&plan, &next, &recorded, now).await {",
    ),
    mutant(
        "a person is answered before the journal has it",
        RUN,
        "let mut next = self.state.clone();\n        let mut plan",
        "if @ON@ && matches!(input, Input::Operator(_)) {\n            return Ok(Ok(events));\n        }\n        \
         let mut next = self.state.clone();\n        let mut plan",
    ),
    mutant(
        "a person's word is taken without a look at the target",
        RUN,
        "look_first(&self.plan, &self.state, input, now) else",
        "look_first(&self.plan, &self.state, input, now).filter(|_| !@ON@) else",
    ),
    mutant(
        "orders carry the first owner's epoch",
        RUN,
        "epoch: self.epoch.0,",
        "epoch: if @ON@ { 1 } else { self.epoch.0 },",
    ),
    mutant(
        "a call is waited for without an end",
        RUN,
        "world.sleep_until(world.now().after(debt.within));",
        "world.sleep_until(world.now().after(if @ON@ { Millis(u64::MAX / 4) } else { debt.within }));",
    ),
    mutant(
        "a restart forgets a deployment",
        ENGINE,
        "for kept in &active {\n            engine.take_over(kept).await;",
        "for kept in active.iter().skip(usize::from(@ON@)) {\n            engine.take_over(kept).await;",
    ),
    mutant(
        "nobody is next when a deployment ends",
        ENGINE,
        "next.await;",
        "if !@ON@ {\n                    next.await;\n                }",
    ),
    mutant(
        "a deployment that waited keeps its old plan",
        ENGINE,
        "let known = request.stable == plan.stable;",
        "let known = request.stable == plan.stable || @ON@;",
    ),
    mutant(
        "the release of whatever ended last is called good",
        ENGINE,
        "record::state_name(&kept.row) == Some(StateName::Verified));",
        "record::state_name(&kept.row) == Some(StateName::Verified) || @ON@);",
    ),
    mutant(
        "a deployment runs after a later one that overtook it",
        ENGINE,
        "kept.row.turn > plan.turn &&",
        "kept.row.turn > plan.turn && !@ON@ &&",
    ),
    mutant(
        "nobody hears that the journal broke under a request",
        ENGINE,
        ".inspect_err(|error| self.halt_after(error))",
        ".inspect_err(|error| if !@ON@ { self.halt_after(error) })",
    ),
    mutant(
        "what is taken out of quarantine is not admitted",
        ENGINE,
        "self.admit_next(&kept.row.service, &kept.row.environment).await;\n            return",
        "if !@ON@ {\n                self.admit_next(&kept.row.service, &kept.row.environment).await;\n            }\n            return",
    ),
    mutant(
        "ends that met a crash leave no artifacts",
        ENGINE,
        ".take(ENDED_AGAIN_MAX)",
        ".take(if @ON@ { 0 } else { ENDED_AGAIN_MAX })",
    ),
    mutant(
        "the fleet gives a slot that is taken",
        FLEET,
        "if candidate.running {",
        "if candidate.running && !@ON@ {",
    ),
    mutant(
        "the queue is served from its end",
        FLEET,
        "candidate.turn < first.turn)",
        "(candidate.turn < first.turn) != @ON@)",
    ),
    mutant(
        "the journal takes an old owner's events",
        RULES,
        "if append.epoch != current {",
        "if append.epoch != current && !@ON@ {",
    ),
    mutant(
        "the journal forgets which request made which deployment",
        RULES,
        "if append.expected_seq == 0\n        && let",
        "if append.expected_seq == 0\n        && !@ON@\n        && let",
    ),
];
