//! Every step, by names alone.

use serde_json::json;
use tidegate_core::{
    deployment::{Cause, StateName, What},
    view::SUPERSEDED,
};
use tidegate_kubernetes::guard::GuardSpec;

use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

fn revision(number: u64, hash: &str) -> Revision {
    Revision {
        number,
        hash: hash.to_owned(),
        images: Vec::new(),
        made: String::new(),
        pods: 0,
        ready: 0,
        change_cause: None,
        template: json!(hash),
    }
}

/// Revision 1 (`aaa`) was good, revision `number` (`bbb`) is there now.
fn sight(number: u64) -> Sight {
    Sight {
        uid: "u".to_owned(),
        namespace: "prod".to_owned(),
        deployment: "shop".to_owned(),
        revisions: vec![revision(number, "bbb"), revision(1, "aaa")],
        present: Some("bbb".to_owned()),
        good: Some("aaa".to_owned()),
        wanted: 2,
        ready: 2,
        complete: true,
        paused: false,
        progress_ms: 1_000,
        owner: None,
        version: String::new(),
        not_guarded: None,
    }
}

fn past(state: StateName, hash: &str, revision: u64) -> Past {
    let back = matches!(state, StateName::RolledBack | StateName::Stuck);
    let cause = back.then(|| Cause::EffectFailed { what: What::Scale, reason: "crash loop".to_owned() });
    let spec = GuardSpec {
        kubeconfig: None,
        context: None,
        namespace: "prod".to_owned(),
        deployment: "shop".to_owned(),
        uid: "u".to_owned(),
        revision,
        hash: hash.to_owned(),
        template: json!(hash),
        change_cause: None,
        progress_ms: 1_000,
        replaces: None,
    };
    Past {
        deployment: format!("shop-{hash}-{revision}"),
        state,
        way_back: false,
        spec,
        good: None,
        at: NOW,
        cause,
    }
}

#[test]
fn a_new_revision_is_judged_once_and_the_good_one_is_left_alone() {
    let ended = [past(StateName::Verified, "aaa", 1)];
    assert_eq!(step(&sight(2), &ended, NOW), Step::Judge { tries: 0 });
    let judged = [past(StateName::CanaryWaiting, "bbb", 2), past(StateName::Verified, "aaa", 1)];
    assert_eq!(step(&sight(2), &judged, NOW), Step::Follow("shop-bbb-2".to_owned()));
    let mut back = sight(2);
    back.present = Some("aaa".to_owned());
    let undone = [past(StateName::RolledBack, "bbb", 2)];
    assert_eq!(step(&back, &undone, NOW), Step::Good, "what the guard itself rolled out is not judged");
    back.good = None;
    let noted = [past(StateName::Verified, "aaa", 1)];
    assert_eq!(step(&back, &noted, NOW), Step::Good, "somebody took the annotation away");
    let [newest, oldest] = &mut back.revisions[..] else { panic!("two revisions") };
    (newest.hash, newest.template) = ("ddd".to_owned(), oldest.template.clone());
    back.present = Some("ddd".to_owned());
    let mut undone = past(StateName::RolledBack, "bbb", 2);
    undone.good = Some(past(StateName::Verified, "aaa", 1).spec);
    assert_eq!(step(&back, &[undone], NOW), Step::Good, "the good template under another hash");
    back.present = None;
    assert!(matches!(step(&back, &noted, NOW), Step::Wait(_)));
}

#[test]
fn the_same_template_is_undone_twice_in_a_row_and_held_the_third_time() {
    let good = past(StateName::Verified, "aaa", 1);
    let undone = |revision| past(StateName::RolledBack, "bbb", revision);
    assert_eq!(step(&sight(4), &[undone(2), good.clone()], NOW), Step::Judge { tries: 0 });
    let twice = [undone(4), undone(2), good.clone()];
    let Step::Hold(why) = step(&sight(6), &twice, NOW) else { panic!("it fights") };
    assert!(why.contains("revision 6 (bbb)") && why.contains("Argo CD"), "{why}");
    let between = [undone(6), past(StateName::Verified, "ccc", 5), undone(2), good.clone()];
    assert_eq!(step(&sight(8), &between, NOW), Step::Judge { tries: 0 }, "something else was good since");
    let mut left = undone(4);
    left.cause = Some(Cause::EffectFailed { what: What::Scale, reason: format!("x {SUPERSEDED} y") });
    assert_eq!(
        step(&sight(6), &[left, undone(2), good], NOW),
        Step::Judge { tries: 0 },
        "it was never undone"
    );
}

#[test]
fn what_could_not_be_judged_is_tried_anew_and_what_needs_a_person_is_said() {
    let failed = past(StateName::Failed, "bbb", 2);
    assert_eq!(
        step(&sight(2), std::slice::from_ref(&failed), NOW),
        Step::Later { at: NOW.after(Millis::secs(30)), bad: false }
    );
    let later = NOW.after(Millis::secs(61));
    assert_eq!(step(&sight(2), &[failed.clone(), failed.clone()], later), Step::Judge { tries: 2 });
    let other = past(StateName::Failed, "bbb", 1);
    assert_eq!(step(&sight(2), &[other], NOW), Step::Judge { tries: 0 }, "another rollout of the same");
    for (state, word) in [
        (StateName::Stuck, "tidegate retry"),
        (StateName::RolledBack, "still there"),
        (StateName::Cancelled, "called off"),
    ] {
        let good = Some(past(StateName::Verified, "aaa", 1).spec);
        let Step::Hold(why) = step(&sight(2), &[Past { good, ..past(state, "bbb", 2) }], NOW) else {
            panic!("{state}")
        };
        assert!(why.contains(word), "{why}");
    }
    let mut nowhere = sight(2);
    nowhere.good = None;
    let first = past(StateName::RolledBack, "bbb", 2);
    assert_eq!(
        step(&nowhere, &[first], NOW),
        Step::Later { at: NOW.after(Millis::secs(30)), bad: true },
        "it may heal"
    );
    assert_eq!(json!(nowhere)["deployment"], "shop");
}

#[test]
fn a_persons_way_back_goes_first_and_an_owner_who_goes_back_himself_ends_what_was_being_judged() {
    let judged = past(StateName::CanaryWaiting, "ccc", 3);
    let mut back = sight(4);
    back.present = Some("aaa".to_owned());
    assert_eq!(step(&back, std::slice::from_ref(&judged), NOW), Step::Leave("shop-ccc-3".to_owned()));
    let turning = past(StateName::RollingBack, "ccc", 3);
    assert_eq!(step(&back, &[turning], NOW), Step::Good);
    let again = step(&sight(4), &[past(StateName::RollingBack, "bbb", 2)], NOW);
    assert!(matches!(again, Step::Wait(_)), "applied again before it was undone: {again:?}");
    let way_back = Past { way_back: true, ..past(StateName::Checking, "aaa", 1) };
    let Step::Wait(why) = step(&sight(2), &[way_back], NOW) else { panic!("it is cut off") };
    assert!(why.contains("shop-aaa-1"), "{why}");
    let mut empty = sight(2);
    empty.wanted = 0;
    assert!(matches!(step(&empty, &[], NOW), Step::Wait(_)), "no pods are no evidence");
}

#[test]
fn what_another_tidegate_guards_is_left_to_it() {
    let mut seen = sight(2);
    assert_eq!(of_another(&seen, "here"), None, "nobody guarded it yet");
    seen.owner = Some("here".to_owned());
    assert_eq!(of_another(&seen, "here"), None);
    assert_eq!(of_another(&seen, ""), None, "an older server does not say who it is");
    let why = of_another(&seen, "there").expect("it is another's");
    assert!(why.contains("`here`") && why.contains("-n prod annotate deployment/shop"), "{why}");
}
