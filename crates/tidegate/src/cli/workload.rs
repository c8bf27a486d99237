//! `deployment/NAME`: a plain Deployment on a cluster, in the place of a service's name.

use clap::Args;
use tidegate_core::view;
use tidegate_kubernetes::guard::{Guarded, Revision, Sight};

use super::{Common, inspect::now, out::say, print_json};
use crate::{
    client::Client,
    fault::{Exit, Fault},
    guard::{Desk as _, Past, Stand, fault},
    render::{self, Marked},
};

/// Where a Deployment is. What is not named is what `kubectl` would use now.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct WhereArgs {
    /// The namespace of a `deployment/NAME`; default: the context's.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
    /// The context in the kubeconfig for a `deployment/NAME`; default: the current one.
    #[arg(long)]
    pub(super) context: Option<String>,
}

/// Deployments of the engine that are looked through for what became of a revision.
const LOOKED_AT: usize = 100;

/// The name in `deployment/NAME`; nothing where no kind of object stands before a slash.
pub(super) fn named(text: &str) -> Option<Result<&str, Fault>> {
    let (kind, name) = text.split_once('/')?;
    Some(match kind {
        "deployment" | "deployments" | "deploy" | "deployment.apps" | "deployments.apps" => valid(name),
        other => Err(Fault::refuse(format!(
            "`{other}/{name}` cannot be guarded: only a Deployment can, as `deployment/NAME`"
        ))),
    })
}

/// The same where nothing else is understood.
pub(super) fn required(text: &str) -> Result<&str, Fault> {
    named(text).unwrap_or_else(|| {
        Err(Fault::refuse(format!("write `deployment/{text}`, with what it is before the slash")))
    })
}

fn valid(name: &str) -> Result<&str, Fault> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.is_empty()
        && name.chars().all(plain)
        && name.starts_with(ends)
        && name.ends_with(ends)
        && name.len() <= 253
    {
        return Ok(name);
    }
    Err(Fault::refuse(format!(
        "`{name}` is no name of a Deployment: lower case letters, digits, `-` and `.`"
    )))
}

/// The Deployment on its cluster.
pub(super) async fn found(name: &str, place: &WhereArgs) -> Result<Guarded, Fault> {
    Guarded::new(None, place.context.clone(), place.namespace.clone(), name).await.map_err(fault)
}

/// What became of the revisions of a Deployment, newest first.
async fn pasts(client: &Client, sight: &Sight) -> Result<Vec<Past>, Fault> {
    let mut pasts = Vec::new();
    for kept in client.newest(&sight.deployment, &sight.environment(), LOOKED_AT).await? {
        pasts.extend(Past::of(&client.history(&kept.deployment).await?));
    }
    pasts.retain(|past| past.spec.uid == sight.uid);
    Ok(pasts)
}

/// The revisions with what is known of them.
fn marked<'s>(sight: &'s Sight, pasts: &[Past]) -> Vec<Marked<'s>> {
    let of = |hash: &str| {
        let said = |past: &&Past| past.stand() == Stand::Good || past.is_bad();
        pasts.iter().filter(|past| past.spec.hash == hash).find(said)
    };
    let mark = |revision: &'s Revision| {
        let hash = Some(&revision.hash);
        let last = of(&revision.hash);
        Marked {
            revision,
            current: sight.present.as_ref() == hash,
            recorded: sight.good.as_ref() == hash,
            good: last.map(|past| past.stand() == Stand::Good),
            undone: last.is_some_and(|past| past.is_bad() && past.good.is_some()),
            deployment: last.map(|past| past.deployment.clone()),
        }
    };
    sight.revisions.iter().map(mark).collect()
}

pub(super) async fn history(common: &Common, name: &str, place: &WhereArgs) -> Result<Exit, Fault> {
    let guarded = found(name, place).await?;
    let sight = guarded.look().await.map_err(fault)?;
    let pasts = pasts(&common.client()?, &sight).await?;
    let rows = marked(&sight, &pasts);
    if common.json {
        print_json(&rows)?;
    } else {
        say!("{}", render::revisions(&rows, now()));
    }
    Ok(Exit::Success)
}

/// What `status` says of a Deployment.
#[derive(serde::Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    sight: &'a Sight,
    revisions: Vec<Marked<'a>>,
    under_way: Vec<view::Summary>,
}

pub(super) async fn status(common: &Common, name: &str, place: &WhereArgs) -> Result<Exit, Fault> {
    let (guarded, client) = (found(name, place).await?, common.client()?);
    let sight = guarded.look().await.map_err(fault)?;
    let pasts = pasts(&client, &sight).await?;
    let mut under_way = Vec::new();
    for past in pasts.iter().filter(|past| !past.is_over()) {
        under_way.extend(view::summary(&client.history(&past.deployment).await?, now()));
    }
    let revisions = marked(&sight, &pasts);
    if common.json {
        print_json(&Status { sight: &sight, revisions, under_way })?;
    } else {
        say!("{}", render::guarded(&guarded.called(), &sight, &revisions, &under_way, now()));
    }
    Ok(Exit::Success)
}
