//! What the controller writes, and how.

use extension_conformance::object::{annotation, text};
use extension_contract::{TIMESTAMP_ANNOTATION, whole_seconds};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Turn;
use crate::mutation::Mutation as M;

impl Turn<'_> {
    pub(super) fn last_operation(&self, operation: &str, state: &str, progress: i32) -> Value {
        let now = whole_seconds(Timestamp::now());
        let requested = annotation(&self.object, TIMESTAMP_ANNOTATION).and_then(|time| time.parse().ok());
        let time = match requested.map(whole_seconds) {
            _ if self.makes(M::PastTime) => "2026-01-01T00:00:00Z".to_owned(),
            _ if self.makes(M::NoProcessing) => "2098-01-01T00:00:00Z".to_owned(),
            Some(requested) if !self.makes(M::OwnClock) => now.max(requested).to_string(),
            _ => now.to_string(),
        };
        // Otherwise a second write in the same second would change nothing.
        let description = if self.makes(M::FollowsCluster) { Timestamp::now().to_string() } else { state.to_owned() };
        json!({ "type": operation, "state": state, "progress": progress, "description": description,
            "lastUpdateTime": time })
    }

    /// Patches the object if it is still as it was read.
    pub(super) async fn patch(&mut self, mut patch: Value) -> kube::Result<()> {
        patch["metadata"]["resourceVersion"] = text(&self.object, "/metadata/resourceVersion").into();
        self.send(patch).await
    }

    pub(super) async fn send(&mut self, patch: Value) -> kube::Result<()> {
        self.object = json!(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?);
        Ok(())
    }

    pub(super) async fn status(&mut self, status: Value) -> kube::Result<()> {
        let version = text(&self.object, "/metadata/resourceVersion").to_owned();
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": status });
        self.object = json!(self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?);
        Ok(())
    }

    pub(super) async fn status_unlocked(&mut self, status: Value) -> kube::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.object = json!(self.api.patch_status(&self.name, &PatchParams::default(), &patch).await?);
        Ok(())
    }
}
