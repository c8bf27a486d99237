//! A plan as a person reads it before it runs.

use tidegate_core::{
    gate::{Gate, OnFailure, OnNoEvidence},
    model::{Millis, Release, Share},
    plan::{Plan, Stage},
    view::rough,
};

use super::text::{Row, Table, Tone, page, wrapped};

/// Width of the sentences under the table.
const WIDTH: usize = 100;

/// What will happen.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut lines = head(plan);
    lines.push(Row::new());
    lines.extend(stages(plan));
    lines.extend(super::confidence::before(plan));
    for (name, gates) in gate_sets(plan) {
        lines.push(Row::new());
        lines.extend(gate_table(&name, gates));
    }
    lines.push(Row::new());
    let sentences = [watch(plan), lease(plan), way_back(plan), total(plan)];
    let notes = plan.stable_note.iter().chain(&plan.notes).map(|note| sentence(note));
    for text in sentences.into_iter().chain(notes) {
        let mut first = true;
        for line in wrapped(&text, WIDTH) {
            lines.push(Row::new().plain(if first { "- " } else { "  " }).plain(line));
            first = false;
        }
    }
    page(&lines)
}

/// What a deployment by the plan would be refused for now; nothing when that is nothing.
pub(crate) fn problems(problems: &[&str]) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let title = Row::new().add(Tone::Bad, "A deployment would fail in its check");
    let mut lines = vec![Row::new(), title.plain(", before anything is changed:")];
    // Each in one line, as the deployment would say it: what is to be done is copied from here.
    lines.extend(problems.iter().map(|problem| Row::new().plain("- ").plain(*problem)));
    page(&lines)
}

fn head(plan: &Plan) -> Vec<Row> {
    let how = if plan.way_back { "way back".to_owned() } else { plan.strategy.to_string() };
    let what = |release: &Release| {
        let commit = release.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
        format!("{} ({}{commit})", release.tag, release.artifact)
    };
    let from = plan.stable.as_ref().map_or_else(|| "nothing: this is the first release".to_owned(), what);
    vec![
        Row::new().add(Tone::Strong, format!("{} {}", plan.service, plan.release.tag)).plain(format!(
            " to {}: {how}, criticality {}",
            plan.environment,
            word(plan)
        )),
        Row::new().plain("  ").add(Tone::Dim, "from").plain("  ").plain(from),
        Row::new().plain("  ").add(Tone::Dim, "to").plain("    ").plain(what(&plan.release)),
    ]
}

const fn word(plan: &Plan) -> &'static str {
    use tidegate_core::model::Criticality;
    match plan.criticality {
        Criticality::Low => "low",
        Criticality::Medium => "medium",
        Criticality::High => "high",
        Criticality::Critical => "critical",
    }
}

fn stages(plan: &Plan) -> Vec<Row> {
    let mut table =
        Table::new(vec!["stage", "name", "traffic", "copies", "instances", "bake", "gates", "approval"]);
    for (number, stage) in plan.stages.iter().enumerate() {
        let copies = if stage.mirror == Share::NONE { String::new() } else { stage.mirror.to_string() };
        let approval = if stage.approval { "a person" } else { "" };
        let bake = if stage.bake == Millis::ZERO { "none".to_owned() } else { stage.bake.to_string() };
        table.row(vec![
            (Tone::Dim, (number + 1).to_string()),
            (Tone::Strong, stage.name.clone()),
            (Tone::Plain, stage.share.to_string()),
            (Tone::Plain, copies),
            (Tone::Plain, stage.instances.to_string()),
            (Tone::Plain, bake),
            (Tone::Plain, stage.gates.len().to_string()),
            (Tone::Open, approval.to_owned()),
        ]);
    }
    table.lines(2)
}

/// Every different list of gates, with the names of the stages that have it.
fn gate_sets(plan: &Plan) -> Vec<(String, &[Gate])> {
    let mut sets: Vec<(Vec<&str>, &[Gate])> = Vec::new();
    let stages = plan.stages.iter().map(|stage: &Stage| (stage.name.as_str(), stage.gates.as_slice()));
    let watch = (plan.watch > Millis::ZERO).then_some(("the watch", plan.watch_gates.as_slice()));
    for (name, gates) in stages.chain(watch).filter(|(_, gates)| !gates.is_empty()) {
        match sets.iter_mut().find(|(_, seen)| *seen == gates) {
            Some((names, _)) => names.push(name),
            None => sets.push((vec![name], gates)),
        }
    }
    sets.into_iter()
        .map(|(names, gates)| {
            let all = names.len() == plan.stages.len() && names.len() > 1 && !names.contains(&"the watch");
            (if all { "every stage".to_owned() } else { names.join(", ") }, gates)
        })
        .collect()
}

fn gate_table(name: &str, gates: &[Gate]) -> Vec<Row> {
    let mut table = Table::new(vec!["gate", "asks for", "when it fails", "without evidence"]);
    for gate in gates {
        let fails = match gate.on_failure {
            OnFailure::RollBack => "turns back at once",
            OnFailure::Hold => "asks a person",
            OnFailure::Alert => "says so, goes on",
        };
        let missing = match gate.on_no_evidence {
            OnNoEvidence::Hold => format!("waits up to {}, then turns back", gate.hold_max),
            OnNoEvidence::Continue => "goes on".to_owned(),
            OnNoEvidence::RollBack => "turns back".to_owned(),
        };
        table.row(vec![
            (Tone::Strong, gate.name.clone()),
            (Tone::Plain, gate.rule.to_string()),
            (Tone::Plain, fails.to_owned()),
            (Tone::Plain, missing),
        ]);
    }
    let title = Row::new().plain("Gates of ").add(Tone::Strong, name);
    std::iter::once(title).chain(table.lines(2)).collect()
}

fn watch(plan: &Plan) -> String {
    match &plan.stable {
        Some(stable) if plan.watch > Millis::ZERO => format!(
            "After the last stage the release is watched for {} more; {} stays warm until then.",
            plan.watch, stable.tag
        ),
        Some(stable) => format!("There is no watch: {} is stopped right after promotion.", stable.tag),
        None => "There is no watch, because there is nothing to turn back to.".to_owned(),
    }
}

fn lease(plan: &Plan) -> String {
    match (&plan.stable, plan.lease) {
        (Some(stable), Some(lease)) => format!(
            "If the control plane is silent for {lease}, traffic returns to {} by itself.",
            stable.tag
        ),
        (Some(_), None) => {
            "There is no lease: if the control plane is silent, traffic stays where it is.".to_owned()
        }
        (None, _) => {
            "There is no older release: if the control plane is silent, traffic stays where it is.".to_owned()
        }
    }
}

fn way_back(plan: &Plan) -> String {
    let by_hand = "`tidegate abort` does the same by hand";
    match &plan.stable {
        Some(stable) => format!(
            "The way back moves all traffic to {} first and stops {} after; it needs the target and nothing else. {by_hand}.",
            stable.tag, plan.release.tag
        ),
        None => format!("The way back takes {} out of traffic and stops it. {by_hand}.", plan.release.tag),
    }
}

fn total(plan: &Plan) -> String {
    let bakes = plan.stages.iter().fold(0_u64, |sum, stage| sum.saturating_add(stage.bake.0));
    let approvals = plan.stages.iter().filter(|stage| stage.approval).count();
    let on_top = match approvals {
        0 => "building and starting come on top".to_owned(),
        1 => "building, starting and one approval come on top".to_owned(),
        count => format!("building, starting and {count} approvals come on top"),
    };
    let promoted = rough(Millis(bakes));
    if plan.watch == Millis::ZERO {
        format!("At best it takes {promoted}; {on_top}.")
    } else {
        let verified = rough(Millis(bakes.saturating_add(plan.watch.0)));
        format!("At best it is promoted after {promoted} and verified after {verified}; {on_top}.")
    }
}

/// A note with a capital and a full stop.
/// A note as a sentence of its own.
pub(crate) fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
