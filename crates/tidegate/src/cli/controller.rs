//! `controller`: Tidegate in a cluster, and what is applied there for it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use tidegate_kubernetes::control::Scope;

use super::{Common, out::say, print_json, process::log_to_stderr};
use crate::{
    controller::{self, ControllerOptions, manifests, resource, yaml},
    fault::{Exit, Fault},
};

/// Where a pod finds the namespace that it runs in.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ControllerArgs {
    #[command(subcommand)]
    verb: Option<ControllerVerb>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum ControllerVerb {
    /// Print what is applied to a cluster so that a controller runs there.
    Manifests(ManifestsArgs),
}

#[derive(Args)]
struct ScopeArgs {
    /// A namespace whose Rollouts are looked after; may be given several times. Default: the one that this runs in.
    #[arg(long, value_name = "NS", conflicts_with = "all_namespaces", value_parser = namespace)]
    namespace: Vec<String>,
    /// Look after the Rollouts of every namespace.
    #[arg(long)]
    all_namespaces: bool,
    /// The namespace of the Lease that says which controller leads; default: the one that this runs in.
    #[arg(long, value_name = "NS", value_parser = namespace)]
    lease_namespace: Option<String>,
    /// Name of the installation, of its Lease too: two with different names or Leases do not look after the same Rollout.
    #[arg(long, default_value = "tidegate", value_name = "NAME", value_parser = object_name)]
    name: String,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The kubeconfig; default: the usual ones, else the service account of the pod that this runs in.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Answer /healthz, /readyz and /metrics at this address.
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Seconds without a renewal of the Lease after which another controller takes over.
    #[arg(long, value_name = "SECONDS", default_value_t = manifests::LEASE_S, value_parser = clap::value_parser!(u64).range(3..=60))]
    lease: u64,
}

#[derive(Args)]
struct ManifestsArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// The controller's image by digest: `name@sha256:…`
    #[arg(long, value_name = "IMAGE", required_unless_present = "crd", value_parser = pinned)]
    image: Option<String>,
    /// Print the definition of Rollouts alone.
    #[arg(long, conflicts_with_all = ["image", "namespace", "all_namespaces", "lease_namespace", "name"])]
    crd: bool,
}

impl ScopeArgs {
    fn own(what: &str) -> Result<String, Fault> {
        let own = std::fs::read_to_string(OWN_NAMESPACE).unwrap_or_default();
        if own.trim().is_empty() {
            return Err(Fault::refuse(format!("this runs in no pod: {what}")));
        }
        Ok(own.trim().to_owned())
    }

    fn scope(&self) -> Result<Scope, Fault> {
        if self.all_namespaces {
            return Ok(Scope::All);
        }
        if !self.namespace.is_empty() {
            // Said twice, it is one: two Roles of one name are not.
            let mut once = self.namespace.clone();
            once.sort_unstable();
            once.dedup();
            return Ok(Scope::Namespaces(once));
        }
        let what = "say whose Rollouts are looked after with --namespace NS or --all-namespaces";
        Ok(Scope::Namespaces(vec![Self::own(what)?]))
    }

    fn lease_namespace(&self) -> Result<String, Fault> {
        match &self.lease_namespace {
            Some(named) => Ok(named.clone()),
            None => Self::own("name the namespace of the Lease with --lease-namespace NS"),
        }
    }
}

/// As the API server takes it (RFC 1123 label).
fn namespace(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty()
        && text.len() <= 63
        && text.chars().all(good)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        return Ok(text.to_owned());
    }
    Err("a namespace has small letters, digits and `-`, no `-` at either end, and at most 63 characters, as `shop-prod`".to_owned())
}

fn object_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-');
    if ends && text.len() <= 40 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("use small letters, digits and `-`, a letter first, at most 40 characters".to_owned())
}

fn pinned(text: &str) -> Result<String, String> {
    let digest = text.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
    if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err("name it by digest, `name@sha256:…`: a tag may be another image tomorrow".to_owned())
}

pub(super) fn controller(common: &Common, args: ControllerArgs) -> Result<Exit, Fault> {
    match args.verb {
        Some(ControllerVerb::Manifests(args)) => print_manifests(common, &args),
        None => run(common, args.run),
    }
}

fn run(common: &Common, args: RunArgs) -> Result<Exit, Fault> {
    let options = ControllerOptions {
        place: common.place()?,
        scope: args.scope.scope()?,
        lease_namespace: args.scope.lease_namespace()?,
        name: args.scope.name,
        lease: Duration::from_secs(args.lease),
        kubeconfig: args
            .kubeconfig
            .map(|path| std::path::absolute(&path).map_err(Fault::world))
            .transpose()?,
        listen: args.listen,
    };
    log_to_stderr();
    let runtime = super::process::runtime()?;
    let ended = runtime.block_on(controller::run(options));
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended.map(|()| Exit::Success)
}

fn print_manifests(common: &Common, args: &ManifestsArgs) -> Result<Exit, Fault> {
    let all = match (&args.image, args.crd) {
        (Some(image), false) => {
            let (namespace, scope) = (args.scope.lease_namespace()?, args.scope.scope()?);
            manifests::all(&manifests::Installed {
                namespace: &namespace,
                name: &args.scope.name,
                scope: &scope,
                image,
            })
        }
        _ => vec![resource::definition()],
    };
    if common.json {
        print_json(&all)?;
    } else {
        say!("{}", yaml::documents(&all));
    }
    Ok(Exit::Success)
}
