//! `status`, `watch`, `why`, `history`, `artifacts`, `audit`: reading what happened. None of them needs a running engine.

use clap::{Args, builder::RangedU64ValueParser};
use tidegate_core::{deployment::Recorded, model::Timestamp, view};
use tidegate_engine::journal::{Chain, History, Standing};

use super::{
    Common,
    control::{unknown, which},
    follow,
    out::{say, sayln},
    print_json, turn,
    workload::{self, WhereArgs},
};
use crate::{
    artifacts,
    fault::{Exit, Fault},
    render,
};

#[derive(Args)]
pub(super) struct OneArgs {
    /// The deployment, or a service: its newest; default: the one under way, else the newest.
    deployment: Option<String>,
}

#[derive(Args)]
pub(super) struct StatusArgs {
    /// A deployment, or a service; default: everything that has not ended, and the newest of each service. A plain Deployment
    /// on Kubernetes as `deployment/NAME`.
    which: Option<String>,
    #[command(flatten)]
    place: WhereArgs,
}

#[derive(Args)]
pub(super) struct HistoryArgs {
    /// A deployment, to see its events; `deployment/NAME`, to see the revisions of a plain Deployment on Kubernetes.
    deployment: Option<String>,
    #[command(flatten)]
    place: WhereArgs,
    /// Only this service.
    #[arg(long)]
    service: Option<String>,
    /// How many, newest first.
    #[arg(long, default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: usize,
}

#[derive(Args)]
pub(super) struct AuditArgs {
    /// Only this deployment.
    deployment: Option<String>,
}

pub(super) async fn status(common: &Common, args: StatusArgs) -> Result<Exit, Fault> {
    if let Some(name) = args.which.as_deref().and_then(workload::named) {
        return workload::status(common, name?, &args.place).await;
    }
    let client = common.client()?;
    let mut chosen = Vec::new();
    let mut troubles = Vec::new();
    let mut seen = Vec::new();
    let all = client.deployments(None, 500).await?;
    for kept in &all {
        let named =
            args.which.as_ref().is_none_or(|which| *which == kept.deployment || *which == kept.row.service);
        let first = !seen.contains(&kept.row.service);
        let wanted =
            args.which.as_ref() == Some(&kept.deployment) || first || kept.row.standing != Standing::Ended;
        if named && wanted {
            seen.push(kept.row.service.clone());
            let history = client.history(&kept.deployment).await?;
            let summary = view::summary(&history, now()).map(|mut summary| {
                turn::tell(&mut summary, turn::before(&all, &kept.deployment));
                summary
            });
            chosen.extend(summary);
            if kept.row.standing != Standing::Ended && !common.json {
                let live = client.live(&kept.deployment).await;
                troubles.extend(live.trouble.map(|trouble| (kept.deployment.clone(), trouble)));
            }
        }
    }
    if let (true, Some(named)) = (chosen.is_empty(), &args.which) {
        return Err(unknown("deployment or service", named, &all));
    }
    if common.json {
        print_json(&chosen)?;
    } else if chosen.is_empty() {
        sayln!("nothing was deployed yet from {}", client.place().root().display());
    } else {
        say!("{}", render::status(&chosen, now()));
        for (id, trouble) in troubles {
            sayln!("last trouble of {id}: {}", render::clean(&trouble));
        }
    }
    Ok(Exit::Success)
}

pub(super) async fn watch(common: &Common, args: OneArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    follow::follow(common, &client, &id).await
}

pub(super) async fn why(common: &Common, args: OneArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    let history = client.history(&id).await?;
    let mut sentence = why_of(&history);
    if let Some(before) = turn::of(&client, &id).await? {
        sentence = format!("{sentence} {before}.");
    }
    let live = client.live(&id).await;
    if common.json {
        print_json(&serde_json::json!({ "deployment": id, "why": sentence, "trouble": live.trouble }))?;
    } else {
        sayln!("{id}: {}", render::clean(&sentence));
        if let Some(trouble) = live.trouble {
            sayln!("last trouble: {}", render::clean(&trouble));
        }
    }
    Ok(Exit::Success)
}

/// What a deployment waits for, or why it ended.
pub(super) fn why_of(history: &[Recorded]) -> String {
    view::why(history, now(), &render::clock).unwrap_or_default()
}

pub(super) async fn history(common: &Common, args: HistoryArgs) -> Result<Exit, Fault> {
    if let Some(name) = args.deployment.as_deref().and_then(workload::named) {
        return workload::history(common, name?, &args.place).await;
    }
    let client = common.client()?;
    if let Some(named) = args.deployment {
        let id = which(&client, Some(named)).await?;
        let lines = view::timeline(&client.history(&id).await?);
        if common.json {
            print_json(&lines)?;
        } else {
            say!("{}", render::timeline(&lines));
        }
        return Ok(Exit::Success);
    }
    let mut rows: Vec<view::Summary> = Vec::new();
    for kept in client.deployments(args.service.as_deref(), args.limit).await? {
        let history = client.history(&kept.deployment).await?;
        rows.extend(view::summary(&history, now()));
    }
    if common.json {
        print_json(&rows)?;
    } else if let (true, Some(service)) = (rows.is_empty(), &args.service) {
        sayln!("no deployment of `{service}` is in {}", client.place().root().display());
    } else if rows.is_empty() {
        sayln!("nothing was deployed yet from {}", client.place().root().display());
    } else {
        say!("{}", render::history(&rows));
    }
    Ok(Exit::Success)
}

pub(super) async fn artifacts(common: &Common, args: OneArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    let history = client.history(&id).await?;
    let written = artifacts::write(&client.place().artifacts(), &history)?;
    if common.json {
        print_json(&written)?;
    } else {
        for path in written {
            sayln!("{}", path.display());
        }
    }
    Ok(Exit::Success)
}

pub(super) async fn audit(common: &Common, args: AuditArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let Some(journal) = client.journal()? else {
        return Err(Fault::refuse(format!("there is no journal in {}", client.place().root().display())));
    };
    let chains = match args.deployment {
        Some(named) => {
            let id = which(&client, Some(named)).await?;
            vec![journal.verify(&id).await.map_err(Fault::world)?]
        }
        None => journal.verify_all().await.map_err(Fault::world)?,
    };
    let broken: Vec<_> = chains
        .iter()
        .filter_map(|chain| match chain {
            Chain::Broken { deployment, seq, what } => {
                Some(serde_json::json!({ "deployment": deployment, "seq": seq, "what": what }))
            }
            Chain::Intact { .. } => None,
        })
        .collect();
    if common.json {
        print_json(&serde_json::json!({ "intact": broken.is_empty(), "broken": broken }))?;
    } else if broken.is_empty() {
        sayln!("every chain is intact");
    }
    if broken.is_empty() {
        return Ok(Exit::Success);
    }
    let names: Vec<String> = chains
        .iter()
        .filter_map(|chain| match chain {
            Chain::Broken { deployment, seq, what } => Some(format!("{deployment} at event {seq}: {what}")),
            Chain::Intact { .. } => None,
        })
        .collect();
    Err(Fault::trouble(format!("the journal is damaged: {}; restore it from a backup", names.join("; "))))
}

/// The present moment by the wall clock: for showing how long ago something was.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
