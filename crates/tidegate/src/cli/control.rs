//! `pause`, `resume`, `promote`, `approve`, `abort`, `retry`: what a person asks of a deployment.

use clap::Args;
use tidegate_core::model::Actor;
use tidegate_engine::journal::{Kept, Standing};

use super::{Common, print_json};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    server::Action,
};

#[derive(Args)]
pub(super) struct ReasonArgs {
    /// The deployment; default: the one under way.
    deployment: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, short, default_value = "")]
    reason: String,
}

#[derive(Args)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    which: ReasonArgs,
    /// Leave out all further stages, bakes and approvals.
    #[arg(long)]
    full: bool,
}

pub(super) async fn promote(common: &Common, args: PromoteArgs) -> Result<Exit, Fault> {
    let action = if args.full { Action::PromoteFull } else { Action::Promote };
    tell(common, args.which, action).await
}

pub(super) async fn tell(common: &Common, args: ReasonArgs, action: Action) -> Result<Exit, Fault> {
    let client = common.client()?;
    let id = which(&client, args.deployment).await?;
    client.ensure().await?;
    let told = client.tell(&id, action, person(), args.reason).await?;
    if common.json {
        print_json(&serde_json::json!({ "deployment": id, "events": told.events }))?;
    } else {
        anstream::println!("{id}: {}", told.events.join(", ").replace('_', " "));
    }
    Ok(Exit::Success)
}

/// The deployment that was named, else the only one that has not ended, else the newest.
pub(super) async fn which(client: &Client, named: Option<String>) -> Result<String, Fault> {
    if let Some(named) = named {
        return Ok(named);
    }
    let all = client.deployments(None, 200).await?;
    let under_way: Vec<&Kept> = all.iter().filter(|kept| kept.row.standing != Standing::Ended).collect();
    match (under_way.as_slice(), all.first()) {
        ([one], _) => Ok(one.deployment.clone()),
        ([], Some(newest)) => Ok(newest.deployment.clone()),
        ([], None) => {
            let place = client.place().root().display();
            Err(Fault::refuse(format!("nothing was deployed yet from {place}: start with `tidegate deploy`")))
        }
        (several, _) => {
            let ids: Vec<&str> = several.iter().map(|kept| kept.deployment.as_str()).collect();
            Err(Fault::refuse(format!("several deployments are under way, name one: {}", ids.join(", "))))
        }
    }
}

/// Who sits at this terminal: the name that was given or that the session has, else the user that this process runs as.
pub(crate) fn person() -> Actor {
    let named = ["TIDEGATE_ACTOR", "SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    Actor::person(&named.unwrap_or_else(user))
}

fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(own) = std::fs::metadata("/proc/self") else { return "unknown".to_owned() };
    let uid = own.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(&uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}
