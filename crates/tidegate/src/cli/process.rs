//! `proxy` and `server`: Tidegate's own processes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use tidegate_adapters::local::{Node, NodeError};

use super::{Common, block_on, out::sayln, print_json};
use crate::{
    client::Client,
    fault::{Blame, Exit, Fault, chain},
    place::Place,
    server::{self, ServerOptions},
};

/// An idle engine ends within this time.
const ENGINE_STOP: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct ProxyArgs {
    #[command(subcommand)]
    verb: ProxyVerb,
}

#[derive(Subcommand)]
enum ProxyVerb {
    /// Run the proxy in the foreground. `--data` is its own directory.
    Run {
        /// Data-plane threads; default: one per core.
        #[arg(long)]
        workers: Option<usize>,
        /// Serve Prometheus text on this loopback address.
        #[arg(long, value_name = "IP:PORT")]
        metrics: Option<SocketAddr>,
    },
    /// Show what the proxy is and what it carries.
    Status,
    /// Replace the proxy's program with this one, without losing a request.
    Upgrade,
    /// Drain and stop the proxy.
    Stop {
        /// Stop the services' instances too.
        #[arg(long)]
        instances: bool,
    },
}

#[derive(Args)]
pub(super) struct ServerArgs {
    /// End after so many seconds without a deployment.
    #[arg(long, value_name = "SECONDS")]
    idle_exit: Option<u64>,
    /// Stop the engine that runs in the data directory; what is under way goes on at its next start.
    #[arg(long)]
    stop: bool,
}

pub(super) fn proxy(common: &Common, args: &ProxyArgs) -> Result<Exit, Fault> {
    match args.verb {
        ProxyVerb::Run { workers, metrics } => {
            log_to_stderr();
            let data = match &common.data {
                Some(data) => std::path::absolute(data).map_err(Fault::world)?,
                None => common.place()?.root().join("proxy"),
            };
            tidegate_proxy::run(tidegate_proxy::Options { data, workers, metrics }).map_err(Fault::world)?;
            Ok(Exit::Success)
        }
        ProxyVerb::Status => block_on(proxy_status(common))?,
        ProxyVerb::Upgrade => block_on(async {
            let program = std::env::current_exe().map_err(Fault::world)?;
            let status = node(&common.place()?)?.upgrade(&program).await.map_err(node_fault)?;
            if common.json {
                print_json(&status)?;
            } else {
                sayln!("the proxy is version {} now, process {}", status.version, status.pid);
            }
            Ok(Exit::Success)
        })?,
        ProxyVerb::Stop { instances } => block_on(async {
            stop_idle_engine(&Client::new(common.place()?)).await?;
            node(&common.place()?)?.shutdown(instances).await.map_err(node_fault)?;
            if common.json {
                print_json(&serde_json::json!({ "stopped": true, "instances": instances }))?;
            } else {
                let left = if instances { "with its instances" } else { "its instances go on" };
                sayln!("the proxy stops, {left}");
            }
            Ok(Exit::Success)
        })?,
    }
}

/// An engine keeps its proxy running, so it has to go first; one that drives deployments stays, and so does the proxy.
async fn stop_idle_engine(client: &Client) -> Result<(), Fault> {
    let Ok(status) = client.status().await else { return Ok(()) };
    if !status.active.is_empty() {
        let under_way = status.active.join(", ");
        return Err(Fault::refuse(format!(
            "{under_way} is under way and needs the proxy: wait for it, or abort it"
        )));
    }
    client.shutdown().await?;
    let late = Instant::now() + ENGINE_STOP;
    while client.status().await.is_ok() {
        if Instant::now() > late {
            return Err(Fault::trouble("the engine does not stop, and would start the proxy again"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn proxy_status(common: &Common) -> Result<Exit, Fault> {
    let node = node(&common.place()?)?;
    let status = node.status().await.map_err(node_fault)?;
    let services = node.services().await.map_err(node_fault)?;
    if common.json {
        print_json(&serde_json::json!({ "proxy": status, "services": services }))?;
        return Ok(Exit::Success);
    }
    sayln!(
        "proxy {}, process {}, {} workers, up {} s",
        status.version,
        status.pid,
        status.workers,
        status.uptime_ms / 1_000
    );
    for service in services {
        sayln!("{} on {}", service.table.service, service.listening.join(", "));
        let parts = service.table.releases.iter().zip(&service.weights).zip(&service.healthy);
        for ((route, weight), healthy) in parts {
            sayln!("  {:40} {:>3}.{:02} %  {healthy} healthy", route.release, weight / 100, weight % 100);
        }
    }
    Ok(Exit::Success)
}

pub(super) fn server(common: &Common, args: &ServerArgs) -> Result<Exit, Fault> {
    let place = common.place()?;
    if args.stop {
        let stopped = block_on(async { Client::new(place).shutdown().await })??;
        if common.json {
            print_json(&serde_json::json!({ "stopped": stopped }))?;
        } else {
            sayln!("{}", if stopped { "the engine stops" } else { "no engine runs" });
        }
        return Ok(Exit::Success);
    }
    log_to_stderr();
    let idle_exit = args.idle_exit.map(Duration::from_secs);
    let runtime = runtime()?;
    let ended = runtime.block_on(server::run(ServerOptions { place, idle_exit }));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended.map(|()| Exit::Success)
}

/// What an engine runs in. Few threads: each keeps memory of its own for good, and none of them waits for long.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all()
        .build()
        .map_err(Fault::world)
}

/// The proxy of a data directory.
pub(super) fn node(place: &Place) -> Result<Node, Fault> {
    Ok(Node::new(place.root(), std::env::current_exe().map_err(Fault::world)?))
}

pub(super) fn node_fault(error: NodeError) -> Fault {
    if error.is_permanent() { Fault::caller(error) } else { Fault::world(error) }
}

/// An error of a part that reports with `anyhow`.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
pub(super) fn any(error: anyhow::Error) -> Fault {
    Fault { blame: Blame::World, message: chain(error.as_ref()) }
}

/// Long-running processes log to their standard error; `TIDEGATE_LOG` chooses what.
pub(super) fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Set once per process; a second call changes nothing.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .try_init(),
    );
}
