//! `guard` and `undo`: rollouts of plain Deployments, which something else starts.

use clap::Args;
use serde_json::json;
use tidegate_core::model::Millis;
use tidegate_kubernetes::guard::{Guarded, Revision, Sight};

use super::{
    Common,
    control::person,
    deploy::{self, chosen},
    out::{say, sayln},
    print_json,
    workload::{self, WhereArgs},
};
use crate::{
    compose,
    fault::{Exit, Fault},
    guard::{self, Desk as _, News, Terms},
    render,
};

/// Longest time that a rollout may be watched, and longest time without progress.
const LONGEST_MS: u64 = 7 * 24 * 3_600_000;

#[derive(Args)]
pub(super) struct GuardArgs {
    /// What to guard: `deployment/NAME`.
    what: String,
    #[command(flatten)]
    place: WhereArgs,
    /// Ask the gates and metrics of this service of tidegate.yaml too; without it only pods are looked at.
    #[arg(long)]
    service: Option<String>,
    /// How long a complete rollout is watched before it counts as good, as `90s`; default: 1m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    bake: Option<Millis>,
    /// How long it is watched after that and still goes back by itself; default: the service's, else 2m.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    watch: Option<Millis>,
    /// A rollout in which no further pod became ready for so long has failed; default: the Deployment's
    /// `progressDeadlineSeconds`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    progress: Option<Millis>,
    /// See only the rollout that is there now, and end with what came of it.
    #[arg(long)]
    once: bool,
}

#[derive(Args)]
pub(super) struct UndoArgs {
    /// What to go back: `deployment/NAME`.
    what: String,
    #[command(flatten)]
    place: WhereArgs,
    /// The revision to go back to, as `tidegate history deployment/NAME` numbers it; default: the last good one.
    #[arg(long, value_name = "N")]
    to_revision: Option<u64>,
    /// Why; kept in the audit trail.
    #[arg(long, short, default_value = "")]
    reason: String,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Start it and return at once.
    #[arg(long, short)]
    detach: bool,
}

fn duration(text: &str) -> Result<Millis, String> {
    crate::config::duration(text, 0, LONGEST_MS).map(Millis)
}

/// The terms of the command line, over those of the service, over the plain ones.
fn terms(common: &Common, args: &GuardArgs) -> Result<Terms, Fault> {
    let mut terms = Terms::plain(person());
    if let Some(named) = &args.service {
        let config = common.config()?;
        let name = chosen(&config, Some(named))?;
        let root = std::path::absolute(config.directory()).map_err(Fault::world)?;
        if let Some(service) = config.services.get(&name) {
            terms = Terms {
                criticality: service.criticality,
                gates: compose::gates(&service.gates, &service.judgement)?,
                metrics: compose::metrics(&root, service)?,
                judge: service.judgement.settings(),
                watch: Millis(service.watch_ms),
                pause_max: Millis(service.pause_max_ms),
                ..terms
            };
        }
    }
    terms.bake = args.bake.unwrap_or(terms.bake);
    terms.watch = args.watch.unwrap_or(terms.watch);
    terms.progress = args.progress.map(|progress| progress.max(Millis::secs(1)));
    Ok(terms)
}

pub(super) async fn guard(common: &Common, args: GuardArgs) -> Result<Exit, Fault> {
    let name = workload::required(&args.what)?;
    let terms = terms(common, &args)?;
    let (guarded, client) = (workload::found(name, &args.place).await?, common.client()?);
    let called = format!("deployment/{name}");
    let mut tell = |news: News<'_>| told(common.json, &called, news);
    tokio::select! {
        ended = guard::watch(&guarded, &client, &terms, args.once, &mut tell) => ended,
        _ = tokio::signal::ctrl_c() => {
            anstream::eprintln!("the guard ends; what is under way goes on by itself (`tidegate status {called}`)");
            Ok(Exit::Success)
        }
    }
}

fn told(as_json: bool, called: &str, news: News<'_>) -> Result<(), Fault> {
    if as_json {
        sayln!("{}", machine(called, news));
        return Ok(());
    }
    match news {
        News::Says { kind: guard::Kind::Held, text } => {
            anstream::eprintln!("{called}: HELD: {}", render::clean(text));
        }
        News::Says { kind: guard::Kind::Trouble, text } => {
            anstream::eprintln!("{called}: {}; it is tried again", render::clean(text));
        }
        News::Says { text, .. } => sayln!("{called}: {}", render::clean(text)),
        News::Happened { line, .. } => say!("{}", render::timeline(std::slice::from_ref(line))),
        News::Ended { deployment, why, .. } => sayln!("{deployment}: {}", render::clean(why)),
    }
    Ok(())
}

fn machine(called: &str, news: News<'_>) -> serde_json::Value {
    match news {
        News::Says { kind, text } => json!({"guard": called, "says": kind, "text": text}),
        News::Happened { deployment, line } => {
            json!({"guard": called, "deployment": deployment, "happened": line})
        }
        News::Ended { deployment, state, why } => {
            json!({"guard": called, "deployment": deployment, "ended": state, "why": why})
        }
    }
}

pub(super) async fn undo(common: &Common, args: UndoArgs) -> Result<Exit, Fault> {
    let name = workload::required(&args.what)?;
    let guarded = workload::found(name, &args.place).await?;
    let sight = guarded.look_to_guard().await.map_err(guard::fault)?;
    let to = target(&guarded, &sight, args.to_revision)?;
    if sight.owner.is_some()
        && let Some(why) = guard::of_another(&sight, &common.client()?.owner().await?)
    {
        return Err(Fault::refuse(why));
    }
    let from = sight.present().map_or_else(|| "what is there".to_owned(), Revision::called);
    let what = format!(
        "{}: {} takes the place of {from}, as `kubectl rollout undo` does",
        guarded.called(),
        to.called()
    );
    if args.dry_run {
        if common.json {
            print_json(&json!({"deployment": name, "from": sight.present(), "to": to}))?;
        } else {
            sayln!("{what}; nothing was done");
        }
        return Ok(Exit::Success);
    }
    if !common.json {
        sayln!("{what}");
    }
    let reason = if args.reason.is_empty() { "undo".to_owned() } else { args.reason };
    let submit = guard::undo(&guarded, &sight, to, person(), reason)?;
    deploy::begin(common, &submit, args.detach).await
}

/// A revision as one that could be gone back to.
fn offered(sight: &Sight, revision: &Revision) -> String {
    let runs = sight.present.as_ref() == Some(&revision.hash);
    let image = revision.images.first().map_or_else(String::new, |image| format!(" of {image}"));
    if runs { format!("{}, which runs", revision.called()) } else { format!("{}{image}", revision.called()) }
}

/// The revision to go back to.
fn target<'s>(guarded: &Guarded, sight: &'s Sight, number: Option<u64>) -> Result<&'s Revision, Fault> {
    let called = guarded.called();
    let known: Vec<String> = sight.revisions.iter().map(|revision| offered(sight, revision)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let to = match (number, &sight.good) {
        (Some(number), _) => sight.revisions.iter().find(|revision| revision.number == number).ok_or_else(|| {
            Fault::refuse(format!(
                "{called} has no revision {number} any more: there is {known} (`revisionHistoryLimit` says how many are kept)"
            ))
        })?,
        (None, Some(hash)) => sight.revision(hash).ok_or_else(|| {
            Fault::refuse(format!(
                "the ReplicaSet of the good revision ({hash}) of {called} was pruned (`revisionHistoryLimit`): name another \
                 with --to-revision; there is {known}"
            ))
        })?,
        (None, None) => {
            return Err(Fault::refuse(format!(
                "no good revision of {called} is recorded: name one with --to-revision; there is {known}"
            )));
        }
    };
    if sight.present.as_ref() == Some(&to.hash) {
        return Err(Fault::refuse(format!("{called} runs {} already", to.called())));
    }
    if sight.paused {
        return Err(Fault::refuse(format!(
            "{called} is paused by its owner, and what is put into it would wait: `kubectl -n {} rollout resume \
             deployment/{}` first",
            sight.namespace, sight.deployment
        )));
    }
    Ok(to)
}
