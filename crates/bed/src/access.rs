//! One identity's way into the control plane.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::api::Api;
use crate::{Answer, BedError};

/// A user or service account of the control plane: its kubeconfig, and a small blocking client.
pub struct Access {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) api: Api,
}

impl Access {
    /// The kubeconfig file. It lives as long as the control plane.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Reads an object or a list: `/apis/apps/v1/namespaces/shop/deployments/cart`.
    ///
    /// # Errors
    /// [`BedError::Refused`] for every status but 2xx, as for all verbs here.
    pub fn get(&self, path: &str) -> Result<Value, BedError> {
        self.must("GET", path, "", String::new())
    }

    /// Creates an object in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, BedError> {
        self.must("POST", path, "application/json", object.to_string())
    }

    /// Replaces an object, or a subresource of it.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, BedError> {
        self.must("PUT", path, "application/json", object.to_string())
    }

    /// Changes an object by a merge patch (RFC 7386).
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, BedError> {
        self.must("PATCH", path, "application/merge-patch+json", patch.to_string())
    }

    /// Deletes an object, or with a collection's path everything in it.
    pub fn delete(&self, path: &str) -> Result<Value, BedError> {
        self.must("DELETE", path, "", String::new())
    }

    /// Sends any request and gives back the answer, whatever its status.
    ///
    /// # Errors
    /// [`BedError::NoAnswer`].
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Answer, BedError> {
        self.api.ask(method, path, content_type, body)
    }

    /// Reads the events of a watch (`…/pods?watch=1`) as they come, until `heard` says that it was enough or the server ends
    /// it. Blocks, and must not be called inside a runtime.
    pub fn watch(&self, path: &str, heard: impl FnMut(&Value) -> bool) -> Result<(), BedError> {
        self.api.follow(path, heard)
    }

    /// Makes a running pod unready, as its kubelet would after a failed probe, or ready again. Nothing undoes it but
    /// another call: the nodes here only bring new pods up.
    pub fn set_ready(&self, namespace: &str, pod: &str, ready: bool) -> Result<(), BedError> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        let containers = self.get(&path)?.pointer("/status/containerStatuses").cloned();
        let names = containers.iter().filter_map(Value::as_array).flatten().map(|status| status.get("name"));
        let statuses: Vec<Value> = names.map(|name| json!({"name": name, "ready": ready})).collect();
        let status = if ready { "True" } else { "False" };
        let conditions = ["Ready", "ContainersReady"].map(|kind| json!({"type": kind, "status": status}));
        let patch = json!({"status": {"conditions": conditions, "containerStatuses": statuses}});
        let kind = "application/strategic-merge-patch+json";
        self.must("PATCH", &format!("{path}/status"), kind, patch.to_string()).map(drop)
    }

    pub(crate) fn must(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Value, BedError> {
        let Answer { status, body } = self.ask(method, path, content_type, body)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let said = body.get("message").and_then(Value::as_str).map(str::to_owned);
        let message = said.unwrap_or_else(|| body.to_string());
        Err(BedError::Refused { request: format!("{method} {path}"), status, message })
    }
}
