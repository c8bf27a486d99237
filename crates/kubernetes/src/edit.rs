//! Objects that others write, too: read, changed, and written as what was read.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{cluster::Lane, fault::ClusterError, kinds::Kind, target::EffectError};

/// Times an object is read and written again when somebody else changed it in between.
const CHANGED_MAX: usize = 20;

/// Times of these without a pause; a conflict that lasts is no reason to keep the API server busy.
const CHANGED_AT_ONCE: usize = 3;

/// The pause between the others.
const CHANGED_PAUSE: Duration = Duration::from_millis(50);

/// An object that is to be changed.
pub(crate) struct Edited<'a> {
    /// Who asks.
    pub(crate) lane: &'a Lane,
    /// Its kind.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
}

impl Edited<'_> {
    /// Changes it as it is `known`, and does it again with what the API server has when somebody changed it in between, or
    /// when it could not be done with what is known. No changes are none. `wrote` hears of what was written.
    pub(crate) async fn edit(
        &self,
        mut known: Option<Arc<Value>>,
        wrote: impl Fn(&Value),
        changes: impl Fn(&Value) -> Result<Vec<Value>, EffectError>,
    ) -> Result<Arc<Value>, EffectError> {
        let mut refused = None;
        for times in 0..CHANGED_MAX {
            if times > CHANGED_AT_ONCE {
                tokio::time::sleep(CHANGED_PAUSE).await;
            }
            let (object, asked) = match known.take() {
                Some(known) => (known, false),
                None => (Arc::new(self.asked().await?), true),
            };
            let changes = match changes(&object) {
                Err(_) if !asked => continue,
                changes => changes?,
            };
            if changes.is_empty() {
                return Ok(object);
            }
            match self.lane.change(self.kind, self.namespace, self.name, &changes).await {
                Ok(changed) => {
                    wrote(&changed);
                    return Ok(Arc::new(changed));
                }
                Err(ClusterError::Changed { .. }) => {}
                // The test of a version that is the present one no more is answered so; of the present one it is a refusal.
                Err(why @ ClusterError::Refused { .. }) => {
                    let version = object.pointer("/metadata/resourceVersion").cloned();
                    if refused.replace(version.clone()) == Some(version) {
                        return Err(why.into());
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(ClusterError::Changed { what: self.what() }.into())
    }

    /// It as the API server has it now; it has to be there.
    pub(crate) async fn asked(&self) -> Result<Value, EffectError> {
        let found = self.lane.get(self.kind, self.namespace, self.name).await?;
        found.ok_or_else(|| EffectError::Gone(self.what()))
    }

    fn what(&self) -> String {
        format!("{} {}/{}", self.kind.name(), self.namespace, self.name)
    }
}
