//! Plans of each strategy, their shapes and bounds, and properties of all of them.

use proptest::prelude::*;

use super::*;
use crate::gate::{OnFailure, standard_gates};
use crate::model::{Artifact, TargetSpec};

pub(crate) fn release(tag: &str) -> Release {
    Release {
        tag: tag.into(),
        commit: None,
        artifact: Artifact::Files { sha256: tag.into() },
        spec: TargetSpec { kind: "local".into(), json: "{}".into(), place: None },
    }
}

pub(crate) fn request(strategy: StrategySpec) -> Request {
    Request {
        deployment: "d1".to_string(),
        turn: 2,
        stable: Some(release("old-1")),
        gates: standard_gates(),
        instances: 4,
        watch: Millis::minutes(5),
        lease: Some(Millis::minutes(10)),
        ..Request::new("shop", release("new-2"), strategy)
    }
}

#[test]
fn the_standard_canary_is_the_seeds() {
    let plan = compile(request(StrategySpec::standard_canary())).unwrap();
    let seen: Vec<_> = plan.stages.iter().map(|s| (s.share.basis_points(), s.bake, s.instances)).collect();
    let minute = Millis::secs(60);
    assert_eq!(seen, [(500, minute, 1), (2_500, minute, 1), (5_000, minute, 2), (10_000, minute, 4)]);
    assert_eq!(plan.stages[0].gates.len(), 7, "six standard gates and the instances");
}

#[test]
fn a_canary_that_stops_short_gets_a_last_step_of_everything() {
    let steps = vec![Step { share: Share::percent(10), bake: Millis(5), approval: true }];
    let plan = compile(request(StrategySpec::Canary { steps })).unwrap();
    assert_eq!(plan.stages.len(), 2);
    assert!(plan.stages[1].share.is_all() && !plan.stages[1].approval);
}

#[test]
fn a_first_deployment_is_one_switch_that_compares_nothing() {
    let plan = compile(Request { stable: None, ..request(StrategySpec::standard_canary()) }).unwrap();
    assert_eq!(plan.stages.len(), 1);
    assert!(plan.stages[0].gates.iter().all(|g| !compares(g)));
    assert!(plan.notes[0].contains("first deployment"));
}

#[test]
fn where_gates_only_observe_copies_and_the_incident_turn_nothing_back_either() {
    let fixed = Conditions {
        success: Some("result < 5".into()),
        failure: None,
        failures_max: 0,
        unit: "number".into(),
    };
    let plan = compile(Request {
        judge: judge::Settings { observe: true, ..judge::Settings::default() },
        gates: Vec::new(),
        shadow: Some(Shadow::new(Share::percent(10), Millis(3))),
        incident: Some(Incident { id: "7".into(), metric: "queue".into(), fixed }),
        ..request(StrategySpec::standard_canary())
    })
    .unwrap();
    let all = plan.stages.iter().flat_map(|stage| &stage.gates).chain(&plan.watch_gates);
    let acting: Vec<&Gate> = all
        .filter(|gate| {
            gate.rule != Rule::Instances
                && (gate.on_failure != OnFailure::Alert
                    || gate.on_no_evidence != OnNoEvidence::Continue
                    || gate.on_inconclusive != OnInconclusive::Promote)
        })
        .collect();
    assert!(acting.is_empty(), "{acting:?}");
    assert!(plan.notes.iter().any(|note| note.contains("incident 7")), "{:?}", plan.notes);
    assert!(!plan.notes.iter().any(|note| note.contains("goes back")), "{:?}", plan.notes);
}

#[test]
fn steps_that_do_not_rise_are_refused_by_number() {
    let step = |percent| Step { share: Share::percent(percent), bake: Millis(1), approval: false };
    let strategy = StrategySpec::Canary { steps: vec![step(5), step(5)] };
    let refused = compile(request(strategy)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "canary step 2 has 5 % after 5 %: shares must rise; remove the step or give it more"
    );
}

#[test]
fn a_release_with_uncommitted_changes_says_so_even_if_it_is_the_first() {
    for stable in [None, Some(release("old-1"))] {
        let dirty = Release { commit: Some("abc-dirty".into()), ..release("new-2") };
        let asked = Request { stable, release: dirty, ..request(StrategySpec::standard_canary()) };
        let notes = compile(asked).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("uncommitted changes")), "{notes:?}");
    }
}

#[test]
fn a_release_that_is_running_already_is_refused_unless_asked_for_again() {
    let same = Request { stable: Some(release("new-2")), ..request(StrategySpec::standard_canary()) };
    let refused = compile(same.clone()).unwrap_err();
    assert!(refused.to_string().contains("is what `shop` already runs"), "{refused}");
    assert!(compile(Request { again: true, ..same }).is_ok());
}

fn any_strategy() -> impl Strategy_<Value = StrategySpec> {
    let canary = proptest::collection::btree_set(1_u16..=10_000, 1..8).prop_map(|shares| {
        let step = |points| Step {
            share: Share::from_basis_points(points).unwrap(),
            bake: Millis(u64::from(points)),
            approval: points % 3 == 0,
        };
        StrategySpec::Canary { steps: shares.into_iter().map(step).collect() }
    });
    let rolling = prop_oneof![
        (1_u32..70).prop_map(Batch::Count),
        (1_u16..=10_000).prop_map(|p| Batch::Share(Share::from_basis_points(p).unwrap())),
    ]
    .prop_map(|batch| StrategySpec::Rolling { batch, bake: Millis(5) });
    let green = any::<bool>().prop_map(|approval| StrategySpec::BlueGreen {
        bake: Millis(5),
        preview: Millis(1),
        approval,
    });
    prop_oneof![canary, rolling, green, Just(StrategySpec::AllAtOnce { bake: Millis(9) })]
}

use proptest::strategy::Strategy as Strategy_;

proptest! {
    #[test]
    fn shares_rise_instances_suffice_and_the_last_stage_is_everything(
        strategy in any_strategy(), instances in 1_u32..=64, shadow in any::<bool>(), first in any::<bool>()
    ) {
        let mut request = Request { instances, ..request(strategy) };
        if shadow { request.shadow = Some(Shadow::new(Share::percent(10), Millis(3))); }
        if first { request.stable = None; }
        let plan = compile(request).unwrap();
        prop_assert!(plan.stages.last().unwrap().share.is_all());
        prop_assert_eq!(plan.stages.last().unwrap().instances, instances);
        for pair in plan.stages.windows(2) {
            prop_assert!(pair[0].share < pair[1].share || pair[0].share == Share::NONE);
            prop_assert!(pair[0].instances <= pair[1].instances);
        }
        for stage in &plan.stages {
            prop_assert!(Share::ratio(stage.instances, instances) >= stage.share, "capacity below share");
            prop_assert!(stage.gates.iter().any(|g| g.rule == Rule::Instances));
        }
    }
}

#[test]
fn every_wave_goes_through_all_steps_before_the_next_and_expects_no_number_of_requests() {
    let waves = Waves { count: 2, back: Back::Wave };
    let steps = vec![Step { share: Share::percent(10), bake: Millis(5), approval: false }];
    let plan = compile(Request { waves, ..request(StrategySpec::Canary { steps }) }).unwrap();
    let seen: Vec<_> = plan.stages.iter().map(|one| (one.wave, one.share.basis_points())).collect();
    assert_eq!(seen, [(0, 1_000), (0, 10_000), (1, 1_000), (1, 10_000)]);
    assert_eq!((plan.stages[2].name.as_str(), plan.back), ("wave 2 of 2: canary 10 %", Back::Wave));
    assert!(
        plan.stages
            .iter()
            .flat_map(|one| &one.gates)
            .all(|gate| !matches!(gate.rule, Rule::RequestRate { .. }))
    );
    assert!(plan.notes.iter().any(|note| note.contains("`request_rate` is not asked")), "{:?}", plan.notes);
}

fn at_steps(name: &str, steps: &[usize]) -> Gate {
    let rule = Rule::Metric(Conditions {
        success: Some("result < 5".into()),
        failure: None,
        failures_max: 0,
        unit: "number".into(),
    });
    Gate { metric: Some("m".into()), steps: steps.to_vec(), ..Gate::new(name, rule) }
}

fn asked(plan: &Plan, name: &str) -> Vec<usize> {
    let asks = |stage: &&Stage| stage.gates.iter().any(|gate| gate.name == name);
    plan.stages.iter().enumerate().filter(|(_, stage)| asks(stage)).map(|(at, _)| at).collect()
}

#[test]
fn a_gate_that_names_steps_is_asked_at_them_behind_a_shadow_too_and_not_in_the_watch() {
    let steps = StrategySpec::standard_canary();
    let request = Request {
        stable: Some(release("stable")),
        gates: vec![at_steps("g", &[2, 3])],
        watch: Millis::minutes(5),
        ..Request::new("shop", release("new"), steps)
    };
    let plain = compile(request.clone()).unwrap();
    assert_eq!(asked(&plain, "g"), [1, 2]);
    assert!(plain.watch_gates.iter().all(|gate| gate.name != "g"));
    let shadow = Some(Shadow::new(Share::percent(10), Millis::secs(60)));
    let shadowed = compile(Request { shadow, ..request.clone() }).unwrap();
    assert_eq!(asked(&shadowed, "g"), [2, 3]);
    assert!(shadowed.stages[2].gates.iter().any(|gate| gate.is_asked_at(Some(2)) && gate.name == "g"));
    let waves = Waves { count: 2, back: Back::All };
    assert_eq!(asked(&compile(Request { waves, ..request.clone() }).unwrap(), "g"), [1, 2, 5, 6]);
    let first = compile(Request { stable: None, ..request }).unwrap();
    assert_eq!(asked(&first, "g"), [0_usize; 0]);
}

#[test]
fn a_preview_asks_the_gates_that_name_it() {
    let green = StrategySpec::BlueGreen { bake: Millis::secs(5), preview: Millis::secs(5), approval: false };
    let gates = vec![at_steps("before", &[1]), at_steps("after", &[2]), at_steps("always", &[])];
    let request =
        Request { stable: Some(release("stable")), gates, ..Request::new("shop", release("new"), green) };
    let plan = compile(request).unwrap();
    for (name, stages) in [("before", &[0][..]), ("after", &[1]), ("always", &[1])] {
        assert_eq!(asked(&plan, name), stages, "{name}");
    }
}
