//! What a revision says about itself: what a release's `TargetSpec` holds for the kind `kubernetes-guard`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_adapters::target_spec::{self, SpecError};
use tidegate_core::model::{Release, TargetSpec};

use crate::cluster::Address;

/// The target kind that this is.
pub const KIND: &str = "kubernetes-guard";

/// Longest beginning of a pod's name that is kept before the five random characters.
const POD_PREFIX_MAX: usize = 58;

/// A revision of a plain Deployment, stored with its release for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardSpec {
    /// The kubeconfig; `None` is `KUBECONFIG`, the user's own, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None` is the current one.
    pub context: Option<String>,
    /// Where the Deployment is.
    pub namespace: String,
    /// Its name.
    pub deployment: String,
    /// Its uid: one that was made anew under the same name is another.
    pub uid: String,
    /// The revision's number, as `kubectl rollout history` shows it. It rises when an old template is applied again.
    pub revision: u64,
    /// The value of the label `pod-template-hash` of its pods: the same template has the same hash.
    pub hash: String,
    /// The pod template, without that label: what it takes to go back to it, even when its `ReplicaSet` is gone.
    pub template: Value,
    /// Why it was rolled out, as its owner said (`kubernetes.io/change-cause`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
    /// A start in which no further pod has become ready for so long has failed, milliseconds.
    pub progress_ms: u64,
    /// On a person's way back: the revision that is there and that this one takes the place of. `None` is whatever is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

impl GuardSpec {
    /// Reads a release's description.
    pub fn of(release: &Release) -> Result<Self, SpecError> {
        target_spec::read(release, KIND)
    }

    /// The description as a release keeps it.
    pub fn target_spec(&self) -> Result<TargetSpec, serde_json::Error> {
        target_spec::write(self, KIND)
    }

    /// `revision 4 (6c9f7d5b8)`, for a person.
    pub fn called(&self) -> String {
        format!("revision {} ({})", self.revision, self.hash)
    }

    pub(crate) fn address(&self) -> Address {
        Address { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }

    /// The name of its `ReplicaSet`.
    pub(crate) fn set(&self) -> String {
        format!("{}-{}", self.deployment, self.hash)
    }

    /// A regular expression for the names of its pods, those that are gone too. A dot stands in brackets, which needs no
    /// further escaping in any query.
    pub(crate) fn pods(&self) -> String {
        let prefix: String = format!("{}-", self.set()).chars().take(POD_PREFIX_MAX).collect();
        format!("{}[a-z0-9]+", prefix.replace('.', "[.]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_found_by_the_beginning_of_their_names_which_kubernetes_cuts() {
        let mut spec = GuardSpec {
            kubeconfig: None,
            context: None,
            namespace: "shop".to_owned(),
            deployment: "shop.web".to_owned(),
            uid: String::new(),
            revision: 1,
            hash: "6c9f7d5b8".to_owned(),
            template: Value::Null,
            change_cause: None,
            progress_ms: 1,
            replaces: None,
        };
        assert_eq!(spec.pods(), "shop[.]web-6c9f7d5b8-[a-z0-9]+");
        spec.deployment = "a".repeat(60);
        assert_eq!(spec.pods(), format!("{}[a-z0-9]+", "a".repeat(58)));
    }
}
