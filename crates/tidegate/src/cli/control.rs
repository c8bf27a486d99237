//! `pause`, `resume`, `promote`, `approve`, `abort`, `retry`: what a person asks of a deployment.

use clap::Args;
use tidegate_core::model::Actor;
use tidegate_engine::journal::{Kept, Standing};

use super::{Common, out::sayln, print_json};
use crate::{
    client::Client,
    config,
    fault::{Exit, Fault},
    server::Action,
};

#[derive(Args)]
pub(super) struct ReasonArgs {
    /// The deployment, or its service; default: the one under way.
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
        sayln!("{id}: {}", told.events.join(", ").replace('_', " "));
    }
    Ok(Exit::Success)
}

/// Deployments that are looked through for a service's newest one and for what somebody may have meant.
const LOOKED_AT: usize = 200;

/// The deployment that was named by its own name or by its service's; without a name the only one that has not ended, else
/// the newest. Of a service it is the one under way, else its newest.
pub(super) async fn which(client: &Client, named: Option<String>) -> Result<String, Fault> {
    let all = client.deployments(None, LOOKED_AT).await?;
    let Some(named) = named else { return newest(client, &all) };
    if all.iter().any(|kept| kept.deployment == named) {
        return Ok(named);
    }
    let of_service = client.deployments(Some(&named), LOOKED_AT).await?;
    let under_way = of_service.iter().find(|kept| kept.row.standing != Standing::Ended);
    if let Some(kept) = under_way.or(of_service.first()) {
        return Ok(kept.deployment.clone());
    }
    // An old one is not among them.
    match client.journal()? {
        Some(_) if client.history(&named).await.is_ok() => Ok(named),
        Some(_) | None => Err(unknown("deployment", &named, &all)),
    }
}

/// That nothing is named so, with what may have been meant.
pub(super) fn unknown(what: &str, named: &str, all: &[Kept]) -> Fault {
    let hint = meant(named, all)
        .map_or_else(|| "see `tidegate history`".to_owned(), |near| format!("did you mean `{near}`?"));
    Fault::refuse(format!("there is no {what} `{named}`: {hint}"))
}

/// Refuses a service that nothing was ever deployed of.
pub(super) async fn known_service(client: &Client, service: &str) -> Result<(), Fault> {
    if client.deployments(Some(service), 1).await?.is_empty() {
        return Err(unknown("deployed service", service, &client.deployments(None, LOOKED_AT).await?));
    }
    Ok(())
}

fn newest(client: &Client, all: &[Kept]) -> Result<String, Fault> {
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

/// The service whose name is near, or the deployment with the same number: the next number is another one and no slip.
fn meant<'a>(named: &str, all: &'a [Kept]) -> Option<&'a str> {
    let number = |name: &str| name.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok());
    let ids = all.iter().map(|kept| kept.deployment.as_str());
    let services = all.iter().map(|kept| kept.row.service.as_str());
    match number(named) {
        Some(wanted) => config::nearest(named, ids.filter(|id| number(id) == Some(wanted))),
        None => config::nearest(named, services),
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
