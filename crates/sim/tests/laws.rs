//! The short programme of the simulator, for every day.

#[path = "../examples/torture/mutants.rs"]
mod mutants;

use tidegate_sim::{
    law::Law,
    torture::{Failing, Programme, exhaustive, large, trace},
};

fn well(failing: &[Failing]) {
    for one in failing {
        eprintln!("{}", one.script);
        one.violations.iter().for_each(|violation| eprintln!("  {violation}"));
    }
    assert!(
        failing.is_empty(),
        "laws were broken: see above; a seed is played again by the example `torture`"
    );
}

#[test]
fn no_crash_and_no_failed_call_in_a_small_world_breaks_a_law() {
    let done = exhaustive(Programme { seed: 3, crash_states_min: 0, every: 12, stop_at_first: false });
    well(&done.failing);
    assert!(done.crash_states > 400, "only {} crash states were reached", done.crash_states);
}

#[test]
fn no_large_world_breaks_a_law() {
    let done = large(1_000, 1_500.0);
    well(&done.failing);
    assert!(done.faults > 100 && done.restarts > 20, "too little went wrong: {done:?}");
}

#[test]
fn the_same_seed_plays_the_same_world() {
    let told = || trace(4).0.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told(), told());
}

#[test]
fn there_are_enough_laws_and_each_is_said_once() {
    let sentences: std::collections::BTreeSet<_> = Law::ALL.iter().map(|law| law.sentence()).collect();
    let live = Law::ALL.iter().filter(|law| law.is_liveness()).count();
    assert_eq!(sentences.len(), Law::ALL.len());
    assert!(live >= 4 && Law::ALL.len() - live >= 20);
}

/// The list of defects is tried in full by the example `torture`; here it must at least fit the sources.
#[test]
fn every_defect_of_the_list_has_its_place_in_the_sources() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    assert!(mutants::ALL.len() >= 16);
    for mutant in mutants::ALL {
        let text = std::fs::read_to_string(root.join(mutant.file)).unwrap();
        assert_eq!(text.matches(mutant.text).count(), 1, "{} in {}", mutant.defect, mutant.file);
        assert!(mutant.instead.contains("@ON@"), "{} has no switch", mutant.defect);
    }
}
