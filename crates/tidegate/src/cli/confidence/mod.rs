//! `confidence` and `label`: how much spoke for a release, and whether that came true.

mod facts;

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use tidegate_core::{
    confidence::{Calibration, Label, Prediction, calibrate},
    view,
};
use tidegate_engine::confidence::{label_by_hand, predictions};

pub(super) use facts::know;

use super::{
    Common,
    control::{known_service, person, which},
    inspect::now,
    out::{say, sayln},
    print_json,
};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    render,
    server::Labelled,
};

/// Deployments whose services are looked for.
const LOOKED_AT: usize = 1_000;

#[derive(Args)]
pub(super) struct ConfidenceArgs {
    /// The deployment, or a service: its newest; default: the one under way, else the newest.
    #[arg(conflicts_with = "calibration")]
    deployment: Option<String>,
    /// Compare all predictions with what came true.
    #[arg(long)]
    calibration: bool,
    /// Only this service; beside --calibration.
    #[arg(long, requires = "calibration")]
    service: Option<String>,
}

#[derive(Args)]
pub(super) struct LabelArgs {
    /// The deployment.
    deployment: String,
    /// What it turned out to be.
    #[arg(value_enum)]
    verdict: Verdict,
    /// Why; kept with your name.
    #[arg(long, short)]
    reason: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Verdict {
    Good,
    Bad,
}

pub(super) async fn confidence(common: &Common, args: ConfidenceArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    if args.calibration {
        if let Some(service) = &args.service {
            known_service(&client, service).await?;
        }
        return calibration(common, &client, args.service.as_deref()).await;
    }
    let id = which(&client, args.deployment).await?;
    let history = client.history(&id).await?;
    let Some(report) = view::confidence(&history) else {
        return Err(Fault::refuse(format!(
            "{id} was planned without a confidence score: ways back have none, nor have deployments of older versions"
        )));
    };
    let label = match client.journal()? {
        Some(journal) => label_by_hand(&journal, &id).await.map_err(Fault::world)?,
        None => None,
    };
    if common.json {
        let mut document = serde_json::to_value(&report).map_err(Fault::internal)?;
        if let (Some(fields), Some(label)) = (document.as_object_mut(), &label) {
            let label = serde_json::to_value(label).map_err(Fault::internal)?;
            fields.insert("label_by_hand".to_owned(), label);
        }
        print_json(&document)?;
    } else {
        say!("{}", render::confidence(&report, label.as_ref()));
    }
    Ok(Exit::Success)
}

async fn calibration(common: &Common, client: &Client, service: Option<&str>) -> Result<Exit, Fault> {
    let records = records(client, service).await?;
    let calibration: Calibration = calibrate(&records);
    if common.json {
        print_json(&calibration)?;
    } else {
        say!("{}", render::calibration(&calibration));
    }
    Ok(Exit::Success)
}

/// Every service's predictions with what they turned out to be.
async fn records(client: &Client, only: Option<&str>) -> Result<Vec<(Prediction, Label)>, Fault> {
    let Some(journal) = client.journal()? else { return Ok(Vec::new()) };
    let services: BTreeSet<(String, String)> = client
        .deployments(only, LOOKED_AT)
        .await?
        .into_iter()
        .map(|kept| (kept.row.service, kept.row.environment))
        .collect();
    let mut all = Vec::new();
    for (service, environment) in services {
        let some = predictions(&journal, &service, &environment, now()).await.map_err(Fault::world)?;
        all.extend(some);
    }
    Ok(all)
}

pub(super) async fn label(common: &Common, args: LabelArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let found = which(&client, Some(args.deployment.clone())).await?;
    if found != args.deployment {
        return Err(Fault::refuse(format!(
            "a label is for one deployment: name it, as `{found}`, the newest of `{}`",
            args.deployment
        )));
    }
    client.ensure().await?;
    let good = matches!(args.verdict, Verdict::Good);
    let labelled = Labelled { good, actor: person(), reason: args.reason };
    client.label(&args.deployment, &labelled).await?;
    let word = if good { "good" } else { "bad" };
    if common.json {
        print_json(&serde_json::json!({ "deployment": args.deployment, "label": word }))?;
    } else {
        sayln!("{} is labelled {word}", args.deployment);
    }
    Ok(Exit::Success)
}
