//! A rehearsal shows what a plan does in a world that is imagined.

use tidegate_core::{
    deployment::StateName,
    gate::standard_gates,
    model::{Artifact, Millis, Release, TargetSpec},
    plan::{Request, StrategySpec},
};
use tidegate_sim::rehearse::{Fault, Transcript, rehearse};

fn release(tag: &str) -> Release {
    Release {
        tag: tag.to_owned(),
        commit: None,
        artifact: Artifact::Files { sha256: tag.to_owned() },
        spec: TargetSpec { kind: "local".to_owned(), json: "{}".to_owned(), place: None },
    }
}

fn request() -> Request {
    Request {
        environment: "staging".to_owned(),
        turn: 7,
        stable: Some(release("old-1")),
        gates: standard_gates(),
        instances: 4,
        watch: Millis::minutes(5),
        lease: Some(Millis::minutes(10)),
        ..Request::new("shop", release("new-2"), StrategySpec::standard_canary())
    }
}

#[expect(clippy::unwrap_used, reason = "a test")]
fn told(faults: &[Fault]) -> Transcript {
    let transcript = rehearse(request(), faults, 7).unwrap();
    assert_eq!(transcript.violations, Vec::new());
    transcript
}

/// A transcript is kept in `scenarios/`, so that a change in what a plan does shows as a difference to read.
/// `TIDEGATE_BLESS=1` writes it anew.
#[test]
fn the_transcripts_are_those_in_the_scenarios() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    for (name, faults) in [
        ("good", &[][..]),
        ("errors-from-the-second-stage", &[Fault::ErrorsFrom(1)]),
        ("killed-in-the-middle", &[Fault::ControlPlaneKilled { away: Millis::secs(5) }]),
        ("silent-beyond-the-lease", &[Fault::ControlPlaneKilled { away: Millis::minutes(20) }]),
    ] {
        let (path, now) = (root.join(format!("{name}.txt")), told(faults).to_string());
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), now, "{name}");
    }
}

#[test]
fn a_good_release_is_verified_and_the_same_seed_tells_the_same() {
    let once = told(&[]);
    assert_eq!(once.outcome, Some(StateName::Verified), "{once}");
    assert_eq!(once.to_string(), told(&[]).to_string());
}

#[test]
fn a_release_that_fails_from_the_second_stage_on_is_turned_back_there() {
    for fault in [Fault::ErrorsFrom(1), Fault::SlowFrom(1), Fault::CrashLoopFrom(1)] {
        let transcript = told(&[fault]);
        assert_eq!(transcript.outcome, Some(StateName::RolledBack), "{transcript}");
        let exposed = transcript.lines.iter().filter(|line| line.event == "exposed").count();
        assert_eq!(exposed, 2, "{transcript}");
    }
}

#[test]
fn a_control_plane_that_is_killed_in_the_middle_comes_back_and_goes_on() {
    let transcript = told(&[Fault::ControlPlaneKilled { away: Millis::secs(5) }]);
    assert_eq!((transcript.outcome, transcript.lives), (Some(StateName::Verified), 2), "{transcript}");
}

#[test]
fn silence_beyond_the_lease_opens_the_stage_again() {
    let transcript = told(&[Fault::ControlPlaneKilled { away: Millis::minutes(20) }]);
    assert!(transcript.lines.iter().any(|line| line.event == "reopened"), "{transcript}");
    assert_eq!(transcript.outcome, Some(StateName::Verified), "{transcript}");
}
