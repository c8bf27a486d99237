//! The command line: arguments, and which room answers them.

pub(crate) mod backtest;
mod confidence;
mod control;
mod controller;
mod deploy;
mod follow;
mod foresee;
mod guard;
mod import;
mod inspect;
mod judge;
mod logs;
mod out;
mod outlook;
mod plot;
mod process;
mod project;
mod reference;
mod replay;
mod turn;
mod workload;

use std::path::PathBuf;

pub(crate) use inspect::now;

use out::sayln;

use clap::{Args, Parser, Subcommand};

use crate::{
    client::Client,
    config, demo,
    fault::{Exit, Fault},
    place::Place,
};

/// Takes a release to production and proves that it is healthy there.
#[derive(Parser)]
#[command(name = "tidegate", version, about, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// The last lines of `tidegate help`.
const EXIT_CODES: &str =
    "Exit codes: 0 done, 2 refused input, 3 world trouble, 4 rolled back, 5 held or awaiting, 70 internal.";

/// Options of every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Common {
    /// The configuration; default: tidegate.yaml here or in a parent directory.
    #[arg(long, short, global = true, env = "TIDEGATE_FILE", hide_env_values = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The data directory; default: .tidegate beside the configuration.
    #[arg(long, global = true, env = "TIDEGATE_DATA", hide_env_values = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Answer with JSON on standard output.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Look at the project and write a commented tidegate.yaml.
    Init(project::InitArgs),
    /// Check tidegate.yaml; every mistake is reported at once.
    Validate(project::ValidateArgs),
    /// Write a tidegate.yaml from manifests of Argo Rollouts or Flagger, and say what is different.
    Import(import::ImportArgs),
    /// Show what a deployment would do, without doing anything.
    Plan(deploy::PlanArgs),
    /// Print the Role that Tidegate needs in the namespace of a service on Kubernetes, for `kubectl apply -f -`
    Role(project::RoleArgs),
    /// Roll the project's present state out.
    Deploy(deploy::DeployArgs),
    /// Go back to a release that was good, at once.
    Rollback(deploy::RollbackArgs),
    /// Watch rollouts of a Deployment that something else starts (kubectl, CI, Argo CD), and undo the bad ones.
    Guard(guard::GuardArgs),
    /// Go back to the last good revision of a `deployment/NAME`, or to the one that is named.
    Undo(guard::UndoArgs),
    /// Show what is running and what is under way.
    Status(inspect::StatusArgs),
    /// Follow a deployment live.
    Watch(inspect::OneArgs),
    /// Say in one sentence what a deployment waits for, or why it ended.
    Why(inspect::OneArgs),
    /// List deployments, or one deployment's events.
    History(inspect::HistoryArgs),
    /// Compute every verdict of a deployment again from its evidence.
    Replay(replay::ReplayArgs),
    /// Draw a deployment's evidence, in the terminal or as SVG files.
    Plot(plot::PlotArgs),
    /// Ask gates about the past, before they are enabled.
    Backtest(backtest::BacktestArgs),
    /// Stop progress at the present share; gates go on.
    Pause(control::ReasonArgs),
    /// Go on after a pause.
    Resume(control::ReasonArgs),
    /// Take the present stage as passed; with --full, all of them.
    Promote(control::PromoteArgs),
    /// Agree to what waits for an approval.
    Approve(control::ReasonArgs),
    /// Turn a deployment back.
    Abort(control::ReasonArgs),
    /// Try a stuck way back, or a quarantined deployment, again.
    Retry(control::ReasonArgs),
    /// Show what a release's instances wrote.
    Logs(logs::LogsArgs),
    /// Draw the deployment's state machine.
    States(reference::StatesArgs),
    /// Show how much spoke for a release; with --calibration, how well that came true.
    Confidence(confidence::ConfidenceArgs),
    /// Say what a deployment turned out to be: the confidence score learns from it.
    Label(confidence::LabelArgs),
    /// Write a deployment's artifacts again and say where they are.
    Artifacts(inspect::OneArgs),
    /// Check the hash chains of the journal.
    Audit(inspect::AuditArgs),
    /// Run, look at, upgrade or stop the proxy.
    Proxy(process::ProxyArgs),
    /// Run the engine in the foreground, or stop it. `deploy` starts one by itself when none runs.
    Server(process::ServerArgs),
    /// Look after the Rollouts of a cluster, in the foreground; or print what installs such a controller there.
    Controller(controller::ControllerArgs),
    /// Play a plan through against an imagined world.
    Rehearse(deploy::RehearseArgs),
    /// Ask gates about numbers from outside, a batch a line: is this release worse than the one before?
    Judge(judge::JudgeArgs),
    /// See it work: a good release and three bad ones on this machine, in a minute and a half.
    Demo(demo::DemoArgs),
    /// Print a shell completion script.
    Completions(reference::CompletionsArgs),
    /// Write the man pages into a directory.
    Man(reference::DirectoryArgs),
    /// Write the generated reference into a directory.
    #[command(hide = true)]
    Gen(reference::GenArgs),
    /// A sample service for demonstrations and tests.
    #[command(hide = true)]
    Sample(demo::sample::SampleOptions),
    /// A load generator for demonstrations and tests.
    #[command(hide = true)]
    Load(demo::load::LoadArgs),
}

/// Answers a command line.
pub(crate) fn dispatch(arguments: Cli) -> Result<Exit, Fault> {
    let Cli { common, verb } = arguments;
    match verb {
        Verb::Init(args) => project::init(&common, &args),
        Verb::Validate(args) => project::validate(&common, &args),
        Verb::Import(args) => import::import(&common, &args),
        Verb::Role(args) => project::role(&common, &args),
        Verb::States(args) => reference::states(&common, &args),
        Verb::Completions(args) => reference::completions(&args),
        Verb::Man(args) => reference::man(&args),
        Verb::Gen(args) => reference::write_all(&args),
        Verb::Judge(args) => judge::judge(&args),
        Verb::Proxy(args) => process::proxy(&common, &args),
        Verb::Server(args) => process::server(&common, &args),
        Verb::Controller(args) => controller::controller(&common, args),
        Verb::Sample(options) => {
            block_on(async { demo::sample::serve(options).await.map_err(process::any) })?
                .map(|()| Exit::Success)
        }
        Verb::Load(args) => {
            block_on(async { demo::load::run(args).await.map_err(process::any) })?.map(|()| Exit::Success)
        }
        Verb::Demo(args) => block_on(demo::run(args))?,
        Verb::Plan(args) => block_on(deploy::plan(&common, args))?,
        Verb::Deploy(args) => block_on(deploy::deploy(&common, args))?,
        Verb::Rollback(args) => block_on(deploy::rollback(&common, args))?,
        Verb::Rehearse(args) => block_on(deploy::rehearse(&common, args))?,
        Verb::Guard(args) => block_on(guard::guard(&common, args))?,
        Verb::Undo(args) => block_on(guard::undo(&common, args))?,
        Verb::Status(args) => block_on(inspect::status(&common, args))?,
        Verb::Watch(args) => block_on(inspect::watch(&common, args))?,
        Verb::Why(args) => block_on(inspect::why(&common, args))?,
        Verb::History(args) => block_on(inspect::history(&common, args))?,
        Verb::Replay(args) => block_on(replay::replay(&common, args))?,
        Verb::Confidence(args) => block_on(confidence::confidence(&common, args))?,
        Verb::Label(args) => block_on(confidence::label(&common, args))?,
        Verb::Backtest(args) => block_on(backtest::backtest(&common, args))?,
        Verb::Plot(args) => block_on(plot::plot(&common, args))?,
        Verb::Artifacts(args) => block_on(inspect::artifacts(&common, args))?,
        Verb::Audit(args) => block_on(inspect::audit(&common, args))?,
        Verb::Logs(args) => block_on(logs::logs(&common, args))?,
        Verb::Pause(args) => block_on(control::tell(&common, args, crate::server::Action::Pause))?,
        Verb::Resume(args) => block_on(control::tell(&common, args, crate::server::Action::Resume))?,
        Verb::Promote(args) => block_on(control::promote(&common, args))?,
        Verb::Approve(args) => block_on(control::tell(&common, args, crate::server::Action::Approve))?,
        Verb::Abort(args) => block_on(control::tell(&common, args, crate::server::Action::Abort))?,
        Verb::Retry(args) => block_on(control::tell(&common, args, crate::server::Action::Retry))?,
    }
}

/// Runs one command's future to its end.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Fault::world)?;
    Ok(runtime.block_on(future))
}

impl Common {
    /// The configuration, read and checked.
    fn config(&self) -> Result<config::Config, Fault> {
        let path = self.config_path()?.ok_or_else(|| {
            Fault::refuse(format!(
                "there is no {} here or in a parent directory: make one with `tidegate init`, or name it with --file",
                config::FILE_NAME
            ))
        })?;
        config::load(&path).map_err(|rejected| Fault::refuse(project::rejection(&rejected)))
    }

    fn config_path(&self) -> Result<Option<PathBuf>, Fault> {
        if let Some(named) = &self.file {
            return Ok(Some(named.clone()));
        }
        let here = std::env::current_dir().map_err(Fault::world)?;
        Ok(config::find(&here))
    }

    /// The data directory, without reading the configuration.
    pub(crate) fn place(&self) -> Result<Place, Fault> {
        let config = self.config_path()?;
        Place::choose(self.data.as_deref(), config.as_deref().and_then(std::path::Path::parent))
    }

    fn client(&self) -> Result<Client, Fault> {
        Ok(Client::new(self.place()?))
    }
}

/// Prints a value as one JSON document.
fn print_json(value: &impl serde::Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value).map_err(Fault::internal)?;
    sayln!("{text}");
    Ok(())
}
