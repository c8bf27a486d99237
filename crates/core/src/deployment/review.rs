//! The final score: what the gates saw under traffic, beside what was known before, decides about promotion.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::{
    event::{ApprovalReason, Cause},
    state::State,
};
use crate::{
    confidence::{
        Decision, Factor, FactorKind, FactorValues, Factors, Final, GateEvidence, GateSight, Millionths,
        Points, Posterior, PriorModel, canary_health, final_score, posterior,
    },
    gate::{Gate, Judgement, OnFailure, Rule, Verdict},
    model::Share,
    plan::{Assessment, Plan},
};

/// A release fails so often where its history says nothing.
const FAILURE_RATE_PPM: u32 = 150_000;

/// The score under traffic with everything that it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// All six factors.
    pub factors: Factors,
    /// The score and what it says; nothing before the first last look of an exposed stage.
    pub last: Option<Final>,
    /// The probability beside it.
    pub posterior: Posterior,
}

/// What a score under traffic asks for, where it decides.
pub(super) enum Asked {
    /// Nothing: it may be promoted.
    Nothing,
    /// A person.
    Person(ApprovalReason),
    /// The way back.
    Back(Cause),
}

/// The review of a deployment in this state; `None` for one that was planned without confidence.
pub fn review(plan: &Plan, state: &State) -> Option<Review> {
    Some(of_seen(plan, plan.confidence.as_ref()?, &state.seen))
}

fn of_seen(plan: &Plan, before: &Assessment, seen: &[Judgement]) -> Review {
    let factors = before.factors.clone().with(canary(plan, seen));
    let values = FactorValues::of(&before.factors);
    let rate = before
        .factors
        .points(FactorKind::History)
        .map_or(FAILURE_RATE_PPM, |good| u32::from(good.rest().basis_points()) * 100);
    let last = (!seen.is_empty()).then(|| final_score(&factors));
    let posterior = posterior(&PriorModel::uncalibrated(rate), &values, bayes(seen));
    Review { factors, last, posterior }
}

/// What the last look of the last stage asks for. Gates that only observe hold nothing up, and neither does a score that
/// is not to decide.
pub(super) fn asked(plan: &Plan, state: &State, stage: usize, judgements: &[Judgement]) -> Asked {
    let Some(before) = plan.confidence.as_ref().filter(|before| before.enforce && !plan.judge.observe) else {
        return Asked::Nothing;
    };
    if stage + 1 < plan.stages.len() {
        return Asked::Nothing;
    }
    let mut seen = state.seen.clone();
    remember(plan, &mut seen, stage, judgements);
    let Some(last) = of_seen(plan, before, &seen).last else { return Asked::Nothing };
    let (score, reason) = (shown(&last), why(&last));
    match last.decision {
        Decision::AutoPromote => Asked::Nothing,
        Decision::ManualReview => Asked::Person(ApprovalReason::Review { score, reason }),
        Decision::Rollback => Asked::Back(Cause::LowConfidence { score, reason }),
    }
}

/// Keeps the newest look of every gate at an exposed stage; one that says nothing replaces none that says something.
pub(super) fn remember(plan: &Plan, seen: &mut Vec<Judgement>, stage: usize, judgements: &[Judgement]) {
    if plan.confidence.is_none() || plan.stage(stage).is_none_or(|stage| stage.share == Share::NONE) {
        return;
    }
    for judgement in judgements {
        match seen.iter_mut().find(|kept| kept.gate == judgement.gate) {
            Some(_) if silent(judgement) => {}
            Some(kept) => kept.clone_from(judgement),
            None => seen.push(judgement.clone()),
        }
    }
}

fn silent(judgement: &Judgement) -> bool {
    judgement.verdict == Verdict::NoEvidence && judgement.finding.is_none()
}

fn canary(plan: &Plan, seen: &[Judgement]) -> Factor {
    let gates = || plan.stages.iter().flat_map(|stage| &stage.gates);
    let sight = |judgement: &Judgement| {
        let gate = gates().find(|gate| gate.name == judgement.gate)?;
        Some(GateEvidence {
            gate: gate.name.clone(),
            weight: weight(gate),
            seen: sight(plan, gate, judgement),
        })
    };
    canary_health(&seen.iter().filter_map(sight).collect::<Vec<_>>())
}

/// The gates' parts of the false-rollback budget, in hundredths: what is trusted more counts more.
const fn weight(gate: &Gate) -> u16 {
    match gate.rule {
        Rule::ErrorRate { .. } => 40,
        Rule::LatencyShift { .. } => 20,
        Rule::Latency { .. } => 8,
        Rule::Cpu { .. }
        | Rule::Memory { .. }
        | Rule::RequestRate { .. }
        | Rule::Instances
        | Rule::Goal { .. }
        | Rule::Shadow { .. }
        | Rule::Metric(_)
        | Rule::Analysis(_) => 6,
    }
}

fn sight(plan: &Plan, gate: &Gate, judgement: &Judgement) -> GateSight {
    let (alpha_ppm, beta_ppm) = (plan.judge.false_rollback_ppm, plan.judge.miss_ppm);
    let evidence = |good: i64, bad: i64| GateSight::Evidence {
        ln_good: Millionths(good.saturating_mul(1_000)),
        ln_bad: Millionths(bad.saturating_mul(1_000)),
        alpha_ppm,
        beta_ppm,
    };
    // So much that it counts in full, whatever the level: a millionth is 13.8 nats.
    let full = 20_000;
    match (judgement.verdict, judgement.finding) {
        (Verdict::Fail, _) if gate.on_failure == OnFailure::RollBack => GateSight::RolledBack,
        (Verdict::Fail, _) => evidence(0, full),
        (Verdict::NoEvidence, None) => GateSight::Nothing,
        (Verdict::Pass, None) => GateSight::Held,
        // Only these two weigh evidence that the release is good; of the others a pass is all there is to be had.
        (Verdict::Pass, Some(finding)) if !mirrors(&gate.rule) => evidence(full, finding.against_mnat),
        (_, Some(finding)) => evidence(finding.for_mnat, finding.against_mnat),
    }
}

const fn mirrors(rule: &Rule) -> bool {
    matches!(rule, Rule::ErrorRate { .. } | Rule::Latency { .. })
}

fn bayes(seen: &[Judgement]) -> Option<Millionths> {
    let nats = seen.iter().find_map(|judgement| judgement.finding?.ln_bayes_mnat)?;
    Some(Millionths(nats.saturating_mul(1_000)))
}

fn shown(last: &Final) -> String {
    last.weighed.score.map_or_else(|| "not known".to_string(), |score| score.to_string())
}

fn why(last: &Final) -> String {
    if let Some(veto) = last.vetoes.first() {
        return veto.reason.clone();
    }
    let known = Points::new(last.weighed.known_weight);
    let needed = match last.decision {
        Decision::Rollback => "60 are needed to go on",
        Decision::ManualReview | Decision::AutoPromote => "80 are needed to promote without a person",
    };
    alloc::format!("{needed}; the factors that are known carry {known} of the weight")
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, vec};

    use super::*;
    use crate::{
        confidence::{VetoKind, preflight},
        deployment::{
            Event, Input, Key, Outcome, Phase, Verb, What, decide,
            table::{reading, sample_plan},
        },
        judge::Judge,
        model::{Millis, Timestamp},
    };

    /// The sample plan with these factors before traffic, each at `points`.
    fn plan(points: u16, enforce: bool) -> Plan {
        let known = |kind| Factor::known(kind, Points::new(points), Vec::new(), String::new());
        let factors = Factors::new(FactorKind::ALL.map(known)).before_canary();
        let preflight = preflight(&factors);
        Plan { confidence: Some(Assessment { enforce, factors, preflight }), ..sample_plan() }
    }

    /// What happens at the last look of the last stage when every gate passes: canary health is full.
    fn at_the_end(plan: &Plan) -> Vec<Event> {
        let (opened, now) = (Timestamp(1_000_000), Timestamp(1_060_000));
        let state = State {
            phase: Phase::CanaryEvaluating { stage: 2, held_until: None },
            share: Share::percent(50),
            opening: Some(reading(opened, 0)),
            ..State::planned(opened)
        };
        let key = Key { intent: 0, what: What::Measure };
        let input = Input::Outcome { key, attempt: 0, outcome: Outcome::Read(reading(now, 0)) };
        decide(plan, &state, &Judge::of(plan), &input, now).unwrap()
    }

    fn name(events: &[Event]) -> &'static str {
        events.get(1).map_or("nothing", Event::name)
    }

    #[test]
    fn the_final_score_promotes_from_80_asks_a_person_from_60_and_turns_back_below() {
        // 25 points of canary health, and three quarters of the others.
        for (points, then) in [
            (7_333, "stage_passed"),
            (7_320, "approval_asked"),
            (4_666, "approval_asked"),
            (4_650, "rollback_began"),
        ] {
            assert_eq!(name(&at_the_end(&plan(points, true))), then, "{points}");
            assert_eq!(name(&at_the_end(&plan(points, false))), "stage_passed", "only shown: {points}");
        }
        let asked = at_the_end(&plan(7_320, true));
        let Some(Event::ApprovalAsked { why: ApprovalReason::Review { score, .. }, .. }) = asked.get(1)
        else {
            panic!("{asked:?}")
        };
        assert_eq!(score, "79.9");
    }

    #[test]
    fn a_review_by_the_safety_gates_is_one_whatever_the_sum_and_observing_gates_hold_nothing_up() {
        let mut plan = plan(10_000, true);
        if let Some(before) = &mut plan.confidence {
            let safety = Factor::known(FactorKind::Safety, Points::FULL, Vec::new(), String::new());
            let safety = safety.vetoed(VetoKind::Review, "look at it".into());
            before.factors = before.factors.clone().with(safety);
        }
        assert_eq!(name(&at_the_end(&plan)), "approval_asked");
        plan.judge.observe = true;
        assert_eq!(name(&at_the_end(&plan)), "stage_passed");
    }

    #[test]
    fn a_person_who_agrees_to_a_review_passes_the_stage() {
        let plan = plan(7_320, true);
        let why = ApprovalReason::Review { score: "79.9".into(), reason: String::new() };
        let now = Timestamp(1_060_000);
        let until = now.after(Millis::hours(1));
        let state = State {
            phase: Phase::AwaitingApproval { stage: 2, why, until },
            ..State::planned(Timestamp(1_000_000))
        };
        let input = Input::Operator(Verb::Approve);
        let events = decide(&plan, &state, &Judge::of(&plan), &input, now).unwrap();
        assert_eq!(events, vec![Event::StagePassed { stage: 2, by_hand: true }]);
    }

    #[test]
    fn evidence_against_a_release_lowers_its_health_and_silence_replaces_nothing() {
        let plan = plan(10_000, true);
        let window = at_the_end(&plan);
        let Some(Event::Judged { judgements, .. }) = window.first() else { panic!("{window:?}") };
        let health = |seen: &[Judgement]| canary(&plan, seen).points().unwrap();
        assert_eq!(health(judgements), Points::FULL);
        let mut seen = judgements.clone();
        let quiet: Vec<Judgement> =
            judgements.iter().map(|one| Judgement { verdict: Verdict::NoEvidence, ..one.clone() }).collect();
        remember(&plan, &mut seen, 2, &quiet);
        assert_eq!(&seen, judgements);
        assert_eq!(health(&quiet), Points::HALF);
        let failed: Vec<Judgement> =
            judgements.iter().map(|one| Judgement { verdict: Verdict::Fail, ..one.clone() }).collect();
        assert_eq!(health(&failed), Points::NONE);
        let boxed = Box::new(of_seen(&plan, plan.confidence.as_ref().unwrap(), &failed));
        assert_eq!(boxed.last.unwrap().decision, Decision::Rollback);
    }
}
