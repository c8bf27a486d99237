//! `plan`, `deploy`, `rollback`, `rehearse`: from the project's files to a request for a deployment.

use std::{path::Path, sync::Arc};

use clap::Args;
use tidegate_adapters::{clock::Clock, local::resolve_image};
use tidegate_core::{
    deployment::{Event, StateName},
    expression::{Expression, Unit},
    gate::Conditions,
    judge,
    model::{Artifact, Millis, Release},
    plan::{self, Incident, Plan, Request},
};
use tidegate_engine::{
    QueuePolicy, confidence,
    engine::last_good,
    journal::{History, Standing},
    learning::learned,
    record,
};
use tidegate_kubernetes::{KubernetesTarget, Untold};
use tidegate_sim::rehearse;

use super::{
    Common,
    confidence::know,
    control::person,
    follow,
    foresee::Ahead,
    inspect::now,
    out::{say, sayln},
    outlook::{self, TrafficArgs},
    print_json,
};
use crate::{
    client::Client,
    compose,
    config::{self, Config, Service},
    fault::{Blame, Exit, Fault},
    render,
    server::{Action, Submit},
};

/// Which service, and what is different from the configuration.
#[derive(Args, Clone, Debug)]
pub(super) struct WhatArgs {
    /// The service; default: the only one of the configuration.
    service: Option<String>,
    /// Roll out even if the release is identical to the running one.
    #[arg(long)]
    again: bool,
    /// The image to roll out on Kubernetes, by digest: `name@sha256:…`; default: the configuration's.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Roll out content that a gate turned back before; needs --reason.
    #[arg(long)]
    lift: bool,
    /// The incident that the release is to fix: at the end of the watch it is fixed, or the release goes back.
    #[arg(long, value_name = "ID", requires = "fixed_when")]
    incident: Option<String>,
    /// When it is fixed: a metric of the configuration and a condition on its value, as `open_orders: result < 10`.
    #[arg(long, value_name = "METRIC: CONDITION", requires = "incident")]
    fixed_when: Option<String>,
}

#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
}

#[derive(Args)]
pub(super) struct DeployArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Why; kept in the audit trail.
    #[arg(long, short, default_value = "")]
    reason: String,
    /// Start it and return at once.
    #[arg(long, short)]
    detach: bool,
    /// What to do about a running deployment of the service: wait, supersede or reject.
    #[arg(long, value_enum)]
    queue: Option<QueueChoice>,
    /// Idempotency key: repeating the command with the same key answers with the same deployment.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Args)]
pub(super) struct RollbackArgs {
    /// The service; default: the only one of the configuration.
    service: Option<String>,
    /// The release to go back to; default: the one before the present.
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Why; kept in the audit trail.
    #[arg(long, short, default_value = "")]
    reason: String,
    /// Start it and return at once.
    #[arg(long, short)]
    detach: bool,
}

#[derive(Args)]
pub(super) struct RehearseArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The imagined release fails from this stage on, 1 is the first.
    #[arg(long, value_name = "STAGE")]
    bad_from: Option<usize>,
    /// Kill the imagined control plane in the middle.
    #[arg(long)]
    kill: bool,
    /// Seed of the imagined world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum QueueChoice {
    Wait,
    Supersede,
    Reject,
}

/// A service of the configuration, and the release that its files make now.
struct Wanted {
    config: Config,
    name: String,
    request: Request,
}

impl Wanted {
    fn service(&self) -> Option<&Service> {
        self.config.services.get(&self.name)
    }

    /// Says by name which clusters are meant here: the engine has a shell of its own.
    async fn pin(&mut self) -> Result<(), Fault> {
        self.request.release = pinned(&self.request.release).await?;
        Ok(())
    }

    /// Reads what is known of the release beside the request's stable one.
    async fn know(&mut self) -> Result<(), Fault> {
        let root = std::path::absolute(self.config.directory()).map_err(Fault::world)?;
        match self.config.services.get(&self.name) {
            Some(service) => know(&root, &service.confidence, &mut self.request).await,
            None => Ok(()),
        }
    }
}

async fn pinned(release: &Release) -> Result<Release, Fault> {
    tidegate_kubernetes::pin(release.clone()).await.map_err(Fault::caller)
}

async fn wanted(common: &Common, what: &WhatArgs) -> Result<Wanted, Fault> {
    let config = common.config()?;
    let name = chosen(&config, what.service.as_deref())?;
    let root = std::path::absolute(config.directory()).map_err(Fault::world)?;
    let Some(service) = config.services.get(&name) else {
        return Err(Fault::refuse(format!("there is no service `{name}`")));
    };
    if what.image.is_some() && !matches!(service.run.kind, config::RunKind::Kubernetes(_)) {
        return Err(Fault::refuse(
            "--image is for services on Kubernetes: here the configuration names what runs",
        ));
    }
    let image = match &service.run.kind {
        config::RunKind::Container(container) => Some(
            resolve_image(
                &container.image,
                container.socket.as_deref().map(|path| root.join(path)).as_deref(),
            )
            .await
            .map_err(Fault::world)?,
        ),
        config::RunKind::Kubernetes(_) => what.image.clone(),
        config::RunKind::Command(_) => None,
    };
    // What is made from an image is not made from these files.
    let commit = match &service.run.kind {
        config::RunKind::Command(_) => marked_commit(&root),
        config::RunKind::Container(_) | config::RunKind::Kubernetes(_) => commit(&root),
    };
    let release = compose::release(&root, service, commit.as_deref(), image, now().0 / 1_000)?;
    let mut request = compose::request(&root, &name, service, release)?;
    request.again = what.again;
    request.lifted = what.lift;
    request.incident = incident(what, service)?;
    Ok(Wanted { config, name, request })
}

/// The incident of the command line, with its condition checked.
fn incident(what: &WhatArgs, service: &Service) -> Result<Option<Incident>, Fault> {
    let (Some(id), Some(fixed)) = (&what.incident, &what.fixed_when) else { return Ok(None) };
    if id.trim().is_empty() {
        return Err(Fault::refuse("--incident needs the incident's id, as `INC-42`"));
    }
    let Some((metric, condition)) = fixed.split_once(':').map(|(metric, rest)| (metric.trim(), rest.trim()))
    else {
        return Err(Fault::refuse(
            "--fixed-when needs a metric and a condition, as `open_orders: result < 10`",
        ));
    };
    valued(service, metric)?;
    let checked = Expression::parse(condition).and_then(|parsed| parsed.check(&judge::scope(Unit::Number)));
    checked.map_err(|error| Fault::refuse(format!("--fixed-when `{condition}`: {error}")))?;
    let fixed = Conditions {
        success: Some(condition.to_owned()),
        failure: None,
        failures_max: 0,
        unit: Unit::Number.to_string(),
    };
    Ok(Some(Incident { id: id.clone(), metric: metric.to_owned(), fixed }))
}

/// Refuses a metric that is not there, or that has counters where a condition needs a value.
fn valued(service: &Service, metric: &str) -> Result<(), Fault> {
    let with_value =
        || service.metrics.iter().filter(|(_, metric)| !metric.counts()).map(|(name, _)| name.as_str());
    let known = match with_value().collect::<Vec<_>>().as_slice() {
        [] => "none has a value".to_owned(),
        names => format!("with a value there is {}", names.join(", ")),
    };
    let near = config::nearest(metric, with_value()).map_or(known, |near| format!("did you mean `{near}`?"));
    match service.metrics.get(metric) {
        Some(found) if found.counts() => Err(Fault::refuse(format!(
            "--fixed-when names metric `{metric}`, which has counters, and a condition needs a value; {near}"
        ))),
        Some(_) => Ok(()),
        None => Err(Fault::refuse(format!(
            "--fixed-when names metric `{metric}`, which is not in `metrics` of the configuration; {near}"
        ))),
    }
}

pub(super) fn chosen(config: &Config, named: Option<&str>) -> Result<String, Fault> {
    let names: Vec<&str> = config.services.keys().map(String::as_str).collect();
    match (named, names.as_slice()) {
        (Some(named), _) if config.services.contains_key(named) => Ok(named.to_owned()),
        (Some(named), _) => {
            Err(Fault::refuse(format!("there is no service `{named}`; there is {}", names.join(", "))))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(Fault::refuse(format!(
            "the configuration has several services, name one: {}",
            names.join(", ")
        ))),
    }
}

/// The commit that the project stands at; `None` outside version control.
fn commit(root: &Path) -> Option<String> {
    git(root, &["rev-parse", "--verify", "HEAD"]).filter(|commit| !commit.is_empty())
}

/// The same, marked when a file that is under version control is not as the commit has it.
fn marked_commit(root: &Path) -> Option<String> {
    let commit = commit(root)?;
    let changed = git(root, &["status", "--porcelain", "--untracked-files=no", "--", "."])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}{}", Release::DIRTY) })
}

/// What git says of the project; `None` when it cannot.
fn git(root: &Path, asked: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git")
        .args(["--no-optional-locks", "-C"])
        .arg(root)
        .args(asked)
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    output.status.success().then_some(said)
}

pub(super) async fn plan(common: &Common, args: PlanArgs) -> Result<Exit, Fault> {
    let plan = Arc::new(planned(common, &args.what).await?);
    let sight = outlook::sight(common, &plan, &args.traffic).await?;
    let ahead = Ahead::of(common, &plan).await?;
    if common.json {
        print_json(&Planned { plan: &plan, outlook: sight.json(), problems: ahead.problems() })?;
    } else {
        say!("{}{}{}", render::plan(&plan), sight.text(&plan), render::problems(&ahead.problems()));
    }
    Ok(ahead.exit())
}

/// A plan, what it can see, and what its deployment would be refused for in its check.
#[derive(serde::Serialize)]
struct Planned<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    outlook: serde_json::Value,
    problems: Vec<&'a str>,
}

/// The plan that a deployment would have now.
async fn planned(common: &Common, what: &WhatArgs) -> Result<Plan, Fault> {
    let mut wanted = wanted(common, what).await?;
    wanted.pin().await?;
    let journal = common.client()?.journal()?;
    if let Some(journal) = &journal {
        let request = &mut wanted.request;
        request.stable =
            last_good(journal, &request.service, &request.environment).await.map_err(Fault::world)?;
        request.turn =
            journal.next_turn(&request.service, &request.environment).await.map_err(Fault::world)?;
        if let Some(learned) =
            learned(journal, &request.service, &request.environment).await.map_err(Fault::world)?
        {
            request.judge = request.judge.with_learned(&learned);
        }
    }
    adopt(&mut wanted.request).await?;
    wanted.know().await?;
    let mut request = wanted.request;
    match &journal {
        Some(journal) => confidence::complete(journal, &mut request, now()).await.map_err(Fault::world)?,
        None => confidence::weigh_past(&mut request, &[], now()),
    }
    plan::compile(request).map_err(Fault::caller)
}

/// Where nothing was deployed yet, what serves on Kubernetes is the stable release, and where that was returned to since, what
/// its owner has there now.
async fn adopt(request: &mut Request) -> Result<(), Fault> {
    if request.release.spec.kind != tidegate_kubernetes::KIND {
        return Ok(());
    }
    // A clock that nobody asks: nothing is measured.
    let clock = Arc::new(Clock::new(Path::new(".")));
    let target = KubernetesTarget::new("plan", clock);
    let Some(good) = &request.stable else {
        let found = target.found(&request.service, &request.release).await;
        let fault = |why: Untold| if why.permanent { Fault::caller(why) } else { Fault::world(why) };
        request.stable = found.map_err(fault)?;
        return Ok(());
    };
    if let Some(why) = tidegate_kubernetes::moved(&request.service, good, &request.release) {
        return Err(Fault::refuse(why));
    }
    if let Some(asked) = target.successor(good)
        && let Some(since) = asked.await.map_err(Fault::trouble)?
    {
        (request.stable, request.stable_note) = (Some(since.release), Some(since.note));
    }
    Ok(())
}

pub(super) async fn deploy(common: &Common, args: DeployArgs) -> Result<Exit, Fault> {
    if args.what.lift && args.reason.trim().is_empty() {
        return Err(Fault::refuse(
            "--lift needs --reason: why may a release that was turned back try again?",
        ));
    }
    let mut wanted = wanted(common, &args.what).await?;
    wanted.pin().await?;
    if let Some(journal) = common.client()?.journal()? {
        let request = &mut wanted.request;
        request.stable =
            last_good(&journal, &request.service, &request.environment).await.map_err(Fault::world)?;
    }
    wanted.know().await?;
    // The engine's to fill in; it notices when another release became stable meanwhile.
    wanted.request.stable = None;
    let configured = wanted.service().map_or(QueuePolicy::Wait, compose::queue);
    let queue = match args.queue {
        None => configured,
        Some(QueueChoice::Wait) => QueuePolicy::Wait,
        Some(QueueChoice::Supersede) => QueuePolicy::Supersede,
        Some(QueueChoice::Reject) => QueuePolicy::Reject,
    };
    let submit =
        Submit { request: wanted.request, queue, key: args.key, actor: person(), reason: args.reason };
    begin(common, &submit, args.detach).await
}

/// Hands a request to the engine and follows what becomes of it.
pub(super) async fn begin(common: &Common, submit: &Submit, detach: bool) -> Result<Exit, Fault> {
    let client = common.client()?;
    client.ensure().await?;
    let id = client.submit(submit).await?;
    if !detach {
        return follow::follow(common, &client, &id).await;
    }
    detached(common, &id, &submit.request.release.tag)
}

fn detached(common: &Common, id: &str, release: &str) -> Result<Exit, Fault> {
    if common.json {
        print_json(&serde_json::json!({ "deployment": id, "release": release }))?;
    } else {
        sayln!("{id} goes on by itself; `tidegate watch {id}` follows it");
    }
    Ok(Exit::Success)
}

pub(super) async fn rollback(common: &Common, args: RollbackArgs) -> Result<Exit, Fault> {
    let client = common.client()?;
    let service = match (&args.service, common.config_path()?) {
        (Some(named), _) => named.clone(),
        (None, Some(_)) => chosen(&common.config()?, None)?,
        (None, None) => return Err(Fault::refuse("name the service: `tidegate rollback SERVICE`")),
    };
    let under_way = client.deployments(Some(&service), 50).await?.into_iter().find(|kept| {
        kept.row.standing == Standing::Running && record::state_name(&kept.row) != Some(StateName::Stuck)
    });
    if let (Some(running), None) = (&under_way, &args.to) {
        client.ensure().await?;
        let id = &running.deployment;
        client.tell(id, Action::Abort, person(), args.reason).await?;
        if args.detach {
            return detached(common, id, &running.row.release);
        }
        // Turning back is what was asked for.
        let exit = follow::follow(common, &client, id).await?;
        return Ok(if exit == Exit::RolledBack { Exit::Success } else { exit });
    }
    let mut request = way_back(&client, &service, args.to.as_deref()).await?;
    request.release = pinned(&request.release).await?;
    let reason = if args.reason.is_empty() { "rollback".to_owned() } else { args.reason };
    let submit = Submit { request, queue: QueuePolicy::Supersede, key: None, actor: person(), reason };
    begin(common, &submit, args.detach).await
}

/// A request for the release that was good before the present one, or for the one that was named.
async fn way_back(client: &Client, service: &str, to: Option<&str>) -> Result<Request, Fault> {
    let mut known: Vec<String> = Vec::new();
    let mut present: Option<Release> = None;
    // What served before anything was deployed is in the oldest request alone.
    let mut oldest: Option<Request> = None;
    for kept in client.deployments(Some(service), 500).await? {
        if record::state_name(&kept.row) != Some(StateName::Verified) {
            continue;
        }
        let history = client.history(&kept.deployment).await?;
        let Some(Event::Planned { request, .. }) = history.first().map(|first| &first.event) else {
            continue;
        };
        let release = &request.release;
        oldest = Some(request.as_ref().clone());
        let Some(present) = present.as_ref() else {
            present = Some(release.clone());
            continue;
        };
        if present.tag == release.tag {
            continue;
        }
        if to.is_none_or(|to| to == release.tag) {
            pruned(client, release)?;
            return Ok(Request {
                way_back: true,
                again: true,
                shadow: None,
                confidence: None,
                ..request.as_ref().clone()
            });
        }
        known.push(release.tag.clone());
    }
    if let Some(request) = oldest
        && let Some(found) = request.stable.clone()
        && !known.contains(&found.tag)
    {
        if to.is_none_or(|to| to == found.tag) {
            let (shadow, confidence) = (None, None);
            return Ok(Request {
                release: found,
                way_back: true,
                again: true,
                shadow,
                confidence,
                ..request
            });
        }
        known.push(found.tag);
    }
    Err(Fault::refuse(match (to, present) {
        (Some(to), Some(present)) if present.tag == to => format!("`{service}` runs {to} already"),
        (Some(to), _) if known.is_empty() => {
            format!("`{service}` was never good at {to}, nor at any release before the present")
        }
        (Some(to), _) => format!("`{service}` was never good at {to}; it was at {}", known.join(", ")),
        (None, _) => format!("there is no release before the present one that `{service}` was good at"),
    }))
}

/// A release whose files were pruned cannot be gone back to.
fn pruned(client: &Client, release: &Release) -> Result<(), Fault> {
    let store = tidegate_adapters::local::ReleaseStore::new(client.place().root());
    match &release.artifact {
        Artifact::Files { sha256 } if !store.has(sha256) => Err(Fault::refuse(format!(
            "the files of {} were pruned (see `keep_releases`); check out its commit and deploy it again",
            release.tag
        ))),
        Artifact::Files { .. } | Artifact::Image { .. } => Ok(()),
    }
}

/// Plays the plan through; the exit code is the one that the deployment would have had.
pub(super) async fn rehearse(common: &Common, args: RehearseArgs) -> Result<Exit, Fault> {
    let Wanted { mut request, .. } = wanted(common, &args.what).await?;
    if let Some(journal) = common.client()?.journal()? {
        request.stable =
            last_good(&journal, &request.service, &request.environment).await.map_err(Fault::world)?;
    }
    if request.stable.is_none() {
        anstream::eprintln!(
            "nothing is deployed yet: a stable release is imagined, so that the strategy can be seen"
        );
        request.stable = Some(Release { tag: "imagined".to_owned(), ..request.release.clone() });
    }
    request.again = true;
    let transcript = play(request, &faults(&args), args.seed).await?;
    if let Some(broken) = transcript.violations.first() {
        return Err(Fault {
            blame: Blame::Us,
            message: format!("the rehearsal broke a law of Tidegate: {broken}"),
        });
    }
    if common.json {
        let line = |line: &rehearse::Line| {
            serde_json::json!({
                "at_ms": line.at.0, "state": line.state, "event": line.event, "detail": line.detail,
            })
        };
        let lines: Vec<_> = transcript.lines.iter().map(line).collect();
        print_json(&serde_json::json!({ "outcome": transcript.outcome, "events": lines }))?;
    } else {
        for line in &transcript.lines {
            sayln!("{}", render::clean(line.to_string().trim_end()));
        }
    }
    Ok(if transcript.outcome == Some(StateName::Verified) { Exit::Success } else { Exit::RolledBack })
}

fn faults(args: &RehearseArgs) -> Vec<rehearse::Fault> {
    let bad = args.bad_from.map(|stage| rehearse::Fault::ErrorsFrom(stage.saturating_sub(1)));
    let kill = args.kill.then_some(rehearse::Fault::ControlPlaneKilled { away: Millis::secs(5) });
    bad.into_iter().chain(kill).collect()
}

/// The imagined world has imagined time and a runtime of its own, which cannot run inside this one.
async fn play(
    request: Request,
    faults: &[rehearse::Fault],
    seed: u64,
) -> Result<rehearse::Transcript, Fault> {
    let faults = faults.to_vec();
    tokio::task::spawn_blocking(move || rehearse::rehearse(request, &faults, seed))
        .await
        .map_err(Fault::internal)?
        .map_err(Fault::caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_marked_when_the_files_under_version_control_are_not_as_it_has_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        assert_eq!(marked_commit(root), None, "outside version control");
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
        let file = root.join("shop.py");
        std::fs::write(&file, "print(1)\n").expect("written");
        for asked in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "-m", "first"]] {
            git(root, &[&who, asked].concat()).expect("git works");
        }
        std::fs::write(root.join("report.json"), "{}").expect("written");
        let clean = marked_commit(root).expect("a commit");
        assert!(clean.len() >= 40 && !clean.contains(Release::DIRTY), "{clean}");
        std::fs::write(&file, "print(2)\n").expect("written");
        assert_eq!(marked_commit(root), Some(format!("{clean}-dirty")));
    }
}
