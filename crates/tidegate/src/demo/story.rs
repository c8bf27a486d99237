//! The story: a good release through every stage, three bad ones caught and turned back, and a control plane that is
//! killed in the middle and goes on.

use std::time::{Duration, Instant};

use clap::Args;
use tidegate_core::{
    deployment::{Event, Recorded, StateName, fold},
    view,
};

use super::{
    load::{Load, LoadOptions},
    stage::{Stage, Version},
};
use crate::{
    fault::{Exit, Fault},
    render,
};

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Requests per second.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
}

/// One chapter: what is shipped and what must become of it.
struct Chapter {
    version: Version,
    what: &'static str,
    ends: StateName,
    kill: bool,
}

const fn chapter(
    name: &'static str,
    what: &'static str,
    fault: &'static [&'static str],
    ends: StateName,
) -> Chapter {
    Chapter { version: Version { name, fault }, what, ends, kill: false }
}

const CHAPTERS: [Chapter; 6] = [
    chapter("v1", "the first release", &[], StateName::Verified),
    chapter("v2", "a good release", &[], StateName::Verified),
    chapter("v3", "half of its answers fail", &["--error-percent", "50"], StateName::RolledBack),
    chapter("v4", "it takes 800 ms", &["--latency-ms", "800"], StateName::RolledBack),
    chapter("v5", "it dies again and again", &["--crash-after-ms", "1200"], StateName::RolledBack),
    Chapter {
        kill: true,
        ..chapter("v6", "a good one; the control plane is killed", &[], StateName::Verified)
    },
];

/// What became of a chapter.
struct Outcome {
    what: String,
    verdict: StateName,
    as_wanted: bool,
    turned_back_after: Option<Duration>,
    served: u64,
    failed: u64,
}

/// Tells the story. Fails when anything is not as it should be; leaves nothing running either way.
pub(crate) async fn run(args: DemoArgs) -> Result<Exit, Fault> {
    let began = Instant::now();
    let stage = Stage::set()?;
    let told = tokio::select! {
        told = tell(&stage, args.rate) => told,
        _ = tokio::signal::ctrl_c() => Err(Fault::trouble("interrupted")),
    };
    let struck = stage.strike().await;
    let outcomes = told?;
    struck?;
    anstream::println!("\n{}", table(&outcomes));
    anstream::println!("{:.0} s in all; nothing was left running", began.elapsed().as_secs_f64());
    if outcomes.iter().all(|outcome| outcome.as_wanted) {
        Ok(Exit::Success)
    } else {
        Err(Fault::trouble("something was not as it should be: see the rows marked with !"))
    }
}

async fn tell(stage: &Stage, rate: f64) -> Result<Vec<Outcome>, Fault> {
    let mut load: Option<Load> = None;
    let mut outcomes = Vec::new();
    for chapter in &CHAPTERS {
        anstream::println!("\n── {}: {}", chapter.version.name, chapter.what);
        let before = load.as_ref().map(Load::snapshot);
        stage.write(chapter.version)?;
        play(stage, chapter).await?;
        if load.is_none() {
            load = Some(start_load(stage, rate)?);
        }
        let after = load.as_ref().map(Load::snapshot);
        let (served, failed) = match (&before, &after) {
            (Some(before), Some(after)) => {
                (after.ok + after.failed - before.ok - before.failed, after.failed - before.failed)
            }
            _ => (0, 0),
        };
        outcomes.push(outcome(stage, chapter, served, failed).await?);
    }
    if let Some(load) = load {
        load.stop().await;
    }
    Ok(outcomes)
}

fn start_load(stage: &Stage, rate: f64) -> Result<Load, Fault> {
    anstream::println!("── users come: {rate} requests per second on http://{}/", stage.address());
    Load::start(LoadOptions {
        address: stage.address(),
        rate,
        connections: 16,
        path: "/".to_owned(),
        timeout: Duration::from_secs(5),
        headers: hyper::HeaderMap::new(),
        count: None,
    })
    .map_err(|error| Fault::trouble(error.to_string()))
}

async fn play(stage: &Stage, chapter: &Chapter) -> Result<(), Fault> {
    if !chapter.kill {
        stage.deploy().await?;
        return Ok(());
    }
    stage.begin().await?;
    let client = stage.client()?;
    let newest = client.deployments(None, 1).await?.pop().map(|kept| kept.deployment).unwrap_or_default();
    // In the middle: its second share of traffic is in force.
    let late = Instant::now() + Duration::from_secs(30);
    while fold(&client.history(&newest).await?).is_some_and(|(_, state)| state.stage() != Some(1)) {
        if Instant::now() > late {
            return Err(Fault::trouble("the second stage was not reached within 30 s"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pid = stage.kill_control_plane().await?;
    anstream::println!("── kill -9 {pid}: the control plane is dead, users are served all the same");
    tokio::time::sleep(Duration::from_secs(1)).await;
    anstream::println!("── and somebody looks again: it goes on where it was");
    stage.watch().await?;
    Ok(())
}

async fn outcome(stage: &Stage, chapter: &Chapter, served: u64, failed: u64) -> Result<Outcome, Fault> {
    let client = stage.client()?;
    let newest = client.deployments(None, 1).await?.pop().map(|kept| kept.deployment).unwrap_or_default();
    let history = client.history(&newest).await?;
    let verdict = fold(&history).map_or(StateName::Failed, |(_, state)| state.name());
    let why = view::summary(&history, crate::cli::now()).and_then(|summary| summary.cause);
    Ok(Outcome {
        what: match why {
            Some(why) => {
                format!("{} {}: {}", chapter.version.name, chapter.what, shortened(&render::clean(&why)))
            }
            None => format!("{} {}", chapter.version.name, chapter.what),
        },
        verdict,
        as_wanted: verdict == chapter.ends,
        turned_back_after: turned_back_after(&history),
        served,
        failed,
    })
}

/// From the first share of traffic to the moment when all of it was back; nothing when it never turned back.
fn turned_back_after(history: &[Recorded]) -> Option<Duration> {
    let restored = history.iter().find(|recorded| recorded.event == Event::Restored)?;
    let exposed = history.iter().find(|recorded| matches!(recorded.event, Event::Exposed { .. }));
    let began = exposed.map_or(restored.at, |recorded| recorded.at);
    Some(Duration::from_millis(restored.at.since(began).0))
}

fn shortened(text: &str) -> String {
    const WIDTH: usize = 60;
    if text.chars().count() <= WIDTH {
        text.to_owned()
    } else {
        text.chars().take(WIDTH - 1).chain(['…']).collect()
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "  {:13} {:>10} {:>10} {:>8}  {}\n",
        "verdict", "back after", "requests", "failed", "what was shipped"
    );
    for outcome in outcomes {
        let back = outcome
            .turned_back_after
            .map_or_else(|| "-".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
        let mark = if outcome.as_wanted { ' ' } else { '!' };
        text = format!(
            "{text}{mark} {:13} {back:>10} {:>10} {:>8}  {}\n",
            outcome.verdict.to_string(),
            outcome.served,
            outcome.failed,
            outcome.what
        );
    }
    text
}
