//! How a release runs and is routed on this machine: what a release's [`TargetSpec`] says for the kind `local`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_core::model::{Artifact, Release, Share, TargetSpec};
use tidegate_proxy::protocol::{
    Backend, Command, Container, EnvValue, Health, JsonIgnore, Limits, ListenAddress, LogPolicy, Match,
    Mirror, Mode, Readiness, ReleaseRoute, Resources, RestartPolicy, Rule, Run, RunKind, ServiceTable,
    Sticky, StopPolicy,
};

use crate::target_spec::{self, SpecError};

/// The target kind that this is.
pub(super) const KIND: &str = "local";

/// A release's own description, stored with it for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSpec {
    /// What to run.
    pub program: Program,
    /// Instances that carry all traffic.
    pub instances: u32,
    /// When an instance is ready.
    pub ready: Readiness,
    /// What to do when it ends by itself.
    pub restart: RestartPolicy,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// Where its output goes.
    pub log: LogPolicy,
    /// What 100 % is.
    pub resources: Resources,
    /// How users reach it.
    pub routing: Routing,
    /// Good releases of the service whose files are kept.
    pub keep_releases: u32,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// A process started from the release's files.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Environment.
        env: BTreeMap<String, EnvValue>,
        /// Working directory inside the release, `.` for its root.
        directory: String,
        /// User to run as.
        user: Option<String>,
        /// Where the files come from.
        source: Source,
    },
    /// A container.
    Container(Container),
}

/// The files that make a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The project's directory.
    pub root: PathBuf,
    /// Files and folders in it.
    pub files: Vec<String>,
    /// Globs of what is left out.
    pub exclude: Vec<String>,
}

/// How users reach a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// Addresses.
    pub listen: Vec<ListenAddress>,
    /// Stickiness.
    pub sticky: Option<Sticky>,
    /// Rules for testers and A/B tests.
    pub rules: Vec<RuleSpec>,
    /// Health.
    pub health: Health,
    /// Bounds.
    pub limits: Limits,
    /// The page while nothing can answer.
    pub maintenance: Option<Mode>,
    /// Which methods a shadow phase copies.
    pub mirror_methods: Vec<String>,
    /// Largest body that it copies, bytes.
    pub mirror_body_max: u64,
    /// JSON parts that may differ; `None` compares digests.
    pub mirror_ignore: Option<Vec<String>>,
}

/// A rule before the releases have names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// All must hold.
    pub when: Vec<Match>,
    /// Which release.
    pub to: RuleTarget,
}

/// Which release a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleTarget {
    /// The one being rolled out, while there is one.
    New,
    /// The stable one.
    Stable,
}

impl LocalSpec {
    /// Reads a release's description.
    pub fn of(release: &Release) -> Result<Self, SpecError> {
        target_spec::read(release, KIND)
    }

    /// The description as a release keeps it.
    pub fn target_spec(&self) -> Result<TargetSpec, serde_json::Error> {
        target_spec::write(self, KIND)
    }

    /// The run of this release with so many instances. `files` is the immutable directory of its files.
    pub fn run(&self, files: Option<PathBuf>, epoch: u64, generation: u64, instances: u32) -> Run {
        let kind = match &self.program {
            Program::Container(container) => RunKind::Container(container.clone()),
            Program::Command { argv, env, directory, user, .. } => {
                let root = files.unwrap_or_default();
                let directory = if directory == "." { root } else { root.join(directory) };
                RunKind::Command(Command {
                    argv: argv.clone(),
                    env: env.clone(),
                    directory: directory.to_string_lossy().into_owned(),
                    user: user.clone(),
                })
            }
        };
        Run {
            epoch,
            generation,
            instances,
            kind,
            ready: self.ready.clone(),
            restart: self.restart.clone(),
            stop: self.stop.clone(),
            log: self.log.clone(),
            resources: self.resources.clone(),
        }
    }

    /// The mirror to a release with this share of requests; `None` without one.
    fn mirror(&self, release: &str, share: Share) -> Option<Mirror> {
        (share > Share::NONE).then(|| Mirror {
            release: release.to_owned(),
            share: share.basis_points(),
            methods: self.routing.mirror_methods.clone(),
            body_max: self.routing.mirror_body_max,
            in_flight_max: 256,
            timeout_ms: 5_000,
            json: self.routing.mirror_ignore.clone().map(|pointers| JsonIgnore { pointers }),
        })
    }
}

/// What a service's table should say: who has which share.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// The service.
    pub(super) service: &'a str,
    /// Fencing.
    pub(super) epoch: u64,
    /// Order.
    pub(super) generation: u64,
    /// Whose routing settings are in force, and which traffic returns to; `None` when nothing serves.
    pub(super) stable: Option<&'a Release>,
    /// The release being rolled out, with its share of traffic and of copies.
    pub(super) new: Option<(&'a Release, Share, Share)>,
    /// The canary lease, milliseconds.
    pub(super) lease_ms: Option<u64>,
}

impl Wanted<'_> {
    /// The table. Routing settings are those of the release being rolled out once it has traffic or copies, so that a
    /// new setting is tried on its own release's way; before that, and after a way back, the stable release's.
    pub(super) fn table(&self) -> Result<ServiceTable, SpecError> {
        let exposed = self.new.filter(|(_, share, mirror)| *share > Share::NONE || *mirror > Share::NONE);
        let whose =
            exposed.map(|(release, ..)| release).or(self.stable).or(self.new.map(|(release, ..)| release));
        let Some(whose) = whose else { return Ok(self.empty()) };
        let spec = LocalSpec::of(whose)?;
        let route = |release: &Release, share: Share| ReleaseRoute {
            release: release.tag.clone(),
            weight: share.basis_points(),
            backend: Backend::Supervised,
        };
        let mut releases = Vec::new();
        let new_share = self.new.map_or(Share::NONE, |(_, share, _)| share);
        if let Some(stable) = self.stable {
            releases.push(route(stable, new_share.rest()));
        }
        if let Some((new, share, _)) = self.new {
            releases.push(route(new, share));
        }
        let named = |target| match target {
            RuleTarget::New => self.new.map(|(release, ..)| release),
            RuleTarget::Stable => self.stable,
        };
        let rules =
            spec.routing.rules.iter().filter_map(|rule| {
                Some(Rule { when: rule.when.clone(), release: named(rule.to)?.tag.clone() })
            });
        let serving = releases.iter().any(|route| route.weight > 0);
        Ok(ServiceTable {
            rules: rules.collect(),
            mirror: self.new.and_then(|(release, _, share)| spec.mirror(&release.tag, share)),
            mode: if serving { Mode::Serve } else { spec.routing.maintenance.clone().unwrap_or_default() },
            listen: spec.routing.listen,
            sticky: spec.routing.sticky,
            health: spec.routing.health,
            limits: spec.routing.limits,
            releases,
            ..self.empty()
        })
    }

    fn empty(&self) -> ServiceTable {
        ServiceTable {
            service: self.service.to_owned(),
            epoch: self.epoch,
            generation: self.generation,
            listen: Vec::new(),
            releases: Vec::new(),
            stable: self.stable.map(|release| release.tag.clone()),
            sticky: None,
            rules: Vec::new(),
            mirror: None,
            health: Health::default(),
            mode: Mode::Serve,
            limits: Limits::default(),
            lease_ms: self.lease_ms,
        }
    }
}

/// The digest that names a release's files in the store; `None` for an image.
pub(super) fn files_digest(release: &Release) -> Option<&str> {
    match &release.artifact {
        Artifact::Files { sha256 } => Some(sha256),
        Artifact::Image { .. } => None,
    }
}
