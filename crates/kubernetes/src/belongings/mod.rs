//! What belongs to a release or a service beside Deployments, Services and routes: who may evict its pods, who may reach
//! them, what configures them, and what changes their number. Pure: what is said of them, and the objects as they are written.
//!
//! | where | what |
//! |---|---|
//! | `standards`, `security` | what a pod may do |
//! | `resources` | what a pod may use |
//! | `config` | `ConfigMaps` and Secrets by the hash of their content |
//! | `objects` | the others as objects |

pub(crate) mod config;
pub(crate) mod objects;
pub mod resources;
pub mod security;
pub(crate) mod selector;
mod standards;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{demand::Limits, fence::annotation};
pub use config::{ConfigError, ConfigRef, Configuration, configured};

/// What belongs to a release. The default is nothing at all, as releases of older journals have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Belongings {
    /// At least one pod of the service stays when nodes are emptied, once there is more than one.
    #[serde(default)]
    pub disruption_budget: bool,
    /// Who may reach the release's pods; `None` is everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// `ConfigMaps` and Secrets that the pod template refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<ConfigRef>,
    /// What changes the number of pods.
    #[serde(default)]
    pub autoscaling: Autoscaling,
}

impl Belongings {
    /// Whether a release of so many pods wants that one of its service's pods stays.
    pub(crate) fn wants_budget(&self, replicas: u32) -> bool {
        self.disruption_budget && replicas.max(self.autoscaling.min()) > 1
    }
}

/// Who may reach a release's pods: nobody but pods of its own namespace and of these, and these addresses,
/// and by these ports alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Names of further namespaces.
    #[serde(default)]
    pub from: Vec<String>,
    /// Ranges of addresses (`10.0.0.0/8`) beside pods: of nodes, of a load balancer.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Ports of the pods (TCP) beside those of the users' Service.
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// What changes the number of pods beside a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Autoscaling {
    /// Nothing.
    #[default]
    Off,
    /// What the stable release's `HorizontalPodAutoscaler` says, where it has one.
    Follow,
    /// This.
    Own(Autoscale),
}

impl Autoscaling {
    /// Fewest pods that it asks for, as far as that is written down.
    pub(crate) const fn min(&self) -> u32 {
        match self {
            Self::Own(own) => own.min,
            Self::Off | Self::Follow => 0,
        }
    }
}

/// How the number of pods follows their load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Fewest pods of a release that has any, 1 or more.
    pub min: u32,
    /// Most pods of a release; never below `min`.
    pub max: u32,
    /// What is looked at: `metrics` of `autoscaling/v2`.
    pub metrics: Vec<Value>,
    /// How fast: `behavior` of `autoscaling/v2`; `None` is Kubernetes' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Value>,
}

impl Autoscale {
    pub(crate) const fn limits(&self) -> Limits {
        Limits { min: self.min, max: self.max }
    }

    /// What a `HorizontalPodAutoscaler` says, ours or anybody's.
    pub(crate) fn of(object: &Value) -> Self {
        let number = |path: &str| {
            let number = object.pointer(path).and_then(Value::as_u64).unwrap_or(1);
            u32::try_from(number).unwrap_or(u32::MAX).max(1)
        };
        let least = annotation(object, objects::LEAST).and_then(|least| least.parse::<u32>().ok());
        let min = least.unwrap_or_else(|| number("/spec/minReplicas"));
        Self {
            min,
            max: number("/spec/maxReplicas").max(min),
            metrics: object.pointer("/spec/metrics").and_then(Value::as_array).cloned().unwrap_or_default(),
            behavior: object.pointer("/spec/behavior").cloned(),
        }
    }
}
