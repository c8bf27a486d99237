//! Past rollouts of the journal: what the gates would have decided, and what happened.

use serde::Serialize;
use tidegate_core::{
    deployment::{Cause, Event, Recorded},
    judge::{Batch, Bench, Retrial, learn},
    plan::Plan,
    view,
};
use tidegate_engine::{
    confidence::label_by_hand,
    journal::{History, Standing},
    learning::learned,
};

use super::{
    super::{
        Common,
        inspect::now,
        plot::{batches, planned},
    },
    BacktestArgs, DEPLOYMENTS_MAX, Found, Wanted, aa, mode, of_itself,
};
use crate::{client::Client, fault::Fault};

/// One past rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rollout {
    /// The deployment.
    pub(crate) deployment: String,
    /// The release.
    pub(crate) release: String,
    /// The state that it reached.
    pub(crate) happened: String,
    /// Why it turned back, if it did.
    pub(crate) cause: Option<String>,
    /// What the gates would have decided.
    pub(crate) decided: Retrial,
    /// What the bad releases cost: failed requests until these gates would have turned back, and those that there were.
    pub(crate) failures_in_all: u64,
}

/// How the rollbacks by evidence turned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Calibration {
    /// Rollouts that came as far as users.
    pub(crate) rollouts: u64,
    /// Of those, turned back by a gate.
    pub(crate) turned_back: u64,
    /// Of those, labelled bad by a person.
    pub(crate) confirmed: u64,
    /// Of those, labelled good.
    pub(crate) false_alarms: u64,
    /// How many false ones the budget of each rollout allows together.
    pub(crate) budget: f64,
}

pub(super) async fn journal(common: &Common, args: &BacktestArgs, wanted: Wanted) -> Result<Found, Fault> {
    let client = common.client()?;
    let (mut found, mut pasts, mut last) = (Found::default(), Vec::new(), None);
    for id in ids(&client, args, wanted.service.as_deref()).await? {
        let history = client.history(&id).await?;
        let batches = batches(&client, &id).await?;
        let Some(plan) = planned(&history).filter(|_| !batches.is_empty()) else { continue };
        let mut bench = match &wanted.bench {
            Some(bench) => known(&client, bench, plan).await?,
            None => Bench::of(plan),
        };
        // The stages are the rollout's own.
        let own = Bench::of(plan);
        (bench.shares, bench.instances, bench.horizon) = (own.shares, own.instances, own.horizon);
        found.past.extend(rollout(&id, &history, &bench, &batches));
        last.get_or_insert(bench);
        pasts.push(batches);
    }
    if let Some(bench) = last {
        against_itself(&mut found, &bench, &pasts, args);
    } else {
        found.notes.push("no past rollout whose evidence is kept: nothing can be asked again".to_owned());
    }
    found.calibration = calibration(&client, wanted.service.as_deref()).await?;
    Ok(found)
}

/// The gates as a deployment would have them today: with what was learned of the service.
async fn known(client: &Client, bench: &Bench, plan: &Plan) -> Result<Bench, Fault> {
    let Some(journal) = client.journal()? else { return Ok(bench.clone()) };
    let learned = learned(&journal, &plan.service, &plan.environment).await.map_err(Fault::world)?;
    let settings =
        learned.map_or_else(|| bench.settings.clone(), |learned| bench.settings.with_learned(&learned));
    Ok(Bench { settings, ..bench.clone() })
}

async fn ids(client: &Client, args: &BacktestArgs, service: Option<&str>) -> Result<Vec<String>, Fault> {
    if !args.deployment.is_empty() {
        return Ok(args.deployment.clone());
    }
    let kept = client.deployments(service, DEPLOYMENTS_MAX).await?;
    Ok(kept
        .into_iter()
        .filter(|kept| kept.row.standing == Standing::Ended)
        .map(|kept| kept.deployment)
        .collect())
}

fn rollout(id: &str, history: &[Recorded], bench: &Bench, batches: &[Batch]) -> Option<Rollout> {
    let summary = view::summary(history, now())?;
    Some(Rollout {
        deployment: id.to_owned(),
        release: summary.release,
        happened: summary.state.to_string(),
        cause: turned_back(history).map(told),
        decided: bench.retry(batches),
        failures_in_all: batches.iter().map(|batch| batch.new.failures).sum(),
    })
}

fn turned_back(history: &[Recorded]) -> Option<&Cause> {
    history.iter().rev().find_map(|recorded| {
        if let Event::RollbackBegan { cause, .. } = &recorded.event { Some(cause) } else { None }
    })
}

fn told(cause: &Cause) -> String {
    if let Cause::GateFailed { gate, after, .. } = cause {
        return format!("{gate}, {} into its stage", view::rough(*after));
    }
    if let Cause::NoEvidence { gate, .. } = cause {
        format!("no evidence for {gate}")
    } else {
        "not by a gate".to_owned()
    }
}

/// The stable release against itself: as the gates are now, and with what its past says of it.
fn against_itself(found: &mut Found, bench: &Bench, pasts: &[Vec<Batch>], args: &BacktestArgs) {
    // Newest first in the list; learning goes forward in time.
    let fresh = pasts.iter().rev().fold(None, |before, past| Some(learn(before.as_ref(), past)));
    let (errors, counts) = (of_itself(bench, false), of_itself(bench, true));
    let knowing =
        fresh.map(|learned| Bench { settings: errors.settings.with_learned(&learned), ..errors.clone() });
    let knowing = knowing.filter(|knowing| knowing.is_sequential() && knowing.settings != errors.settings);
    let plain = |what: &str, bench: &Bench| format!("{what} ({})", mode(bench));
    let trials = [
        (aa::Split::Requests, plain("every gate on counts, requests by lot", &counts), Some(counts)),
        (aa::Split::Intervals, plain("gates on errors, whole intervals", &errors), Some(errors)),
        (aa::Split::Intervals, "the same with what was learned".to_owned(), knowing),
    ];
    for (split, asked, bench) in trials {
        let bench = bench.filter(|bench| !bench.gates.is_empty());
        let told = bench.and_then(|bench| aa::trials(split, &asked, &bench, pasts, args.trials, args.seed));
        found.against_itself.extend(told);
    }
    if found.against_itself.is_empty() {
        found.notes.push(
            "the stable release is not compared with itself: too few of its batches are kept, or no gate compares counts"
                .to_owned(),
        );
    }
    found.learned = fresh;
}

/// How the rollbacks by evidence turned out; nothing without a rollout.
async fn calibration(client: &Client, service: Option<&str>) -> Result<Option<Calibration>, Fault> {
    let Some(journal) = client.journal()? else { return Ok(None) };
    let mut sum = Calibration::default();
    for kept in client.deployments(service, DEPLOYMENTS_MAX).await? {
        if kept.row.standing == Standing::Ended {
            count(&mut sum, client, &journal, &kept.deployment).await?;
        }
    }
    Ok((sum.rollouts > 0).then_some(sum))
}

async fn count<H: History>(
    sum: &mut Calibration,
    client: &Client,
    journal: &H,
    id: &str,
) -> Result<(), Fault> {
    let history = client.history(id).await?;
    let exposed = history.iter().any(|recorded| matches!(recorded.event, Event::Judged { .. }));
    let Some(plan) = planned(&history).filter(|plan| exposed && !plan.way_back) else { return Ok(()) };
    sum.rollouts += 1;
    sum.budget += f64::from(plan.judge.false_rollback_ppm) / 1e6;
    if !matches!(turned_back(&history), Some(Cause::GateFailed { .. })) {
        return Ok(());
    }
    sum.turned_back += 1;
    match label_by_hand(journal, id).await.map_err(Fault::world)? {
        Some(label) if label.good => sum.false_alarms += 1,
        Some(_) => sum.confirmed += 1,
        None => {}
    }
    Ok(())
}
