//! The scene of a rule: a shoot's namespace with its Cluster, and gardenlet's requests for the objects in it.

mod objects;

use std::sync::Arc;
use std::time::Duration;

use extension_contract::{FORCE_DELETION_ANNOTATION, GROUP, SHOOT_NAMESPACE, VERSION};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::launcher::Controller;
use crate::object::merged;
use crate::suite::Suite;

/// The API version of the objects in a Cluster.
const GARDEN: &str = "core.gardener.cloud/v1beta1";
/// The resolution of times in a status.
pub(crate) const A_SECOND: Duration = Duration::from_secs(1);

/// A shoot's namespace with its Cluster, for one rule.
#[derive(Clone)]
pub struct Scene {
    suite: Arc<Suite>,
    namespace: String,
}

impl Scene {
    /// The namespace of a rule. It is also the type of the further controllers that the rule starts.
    #[must_use]
    pub fn namespace_of(rule: &str) -> String {
        let name: String = rule.replace('_', "-").chars().take(50).collect();
        format!("shoot--t--{}", name.trim_end_matches('-'))
    }

    /// Creates the namespace of a rule, and its Cluster.
    pub async fn create(suite: Arc<Suite>, rule: &str) -> Result<Self, Failed> {
        let scene = Self { suite, namespace: Self::namespace_of(rule) };
        scene.create_namespace().await?;
        Ok(scene)
    }

    /// The same suite in a namespace that need not exist.
    #[must_use]
    pub fn in_namespace(&self, namespace: String) -> Self {
        Self { suite: self.suite.clone(), namespace }
    }

    /// What all rules share.
    #[must_use]
    pub const fn suite(&self) -> &Arc<Suite> {
        &self.suite
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.suite.client()
    }

    /// The objects of the kind: those in the namespace, or all if the kind is cluster-scoped.
    #[must_use]
    pub fn api(&self) -> Api<DynamicObject> {
        if self.suite.subject().kind.namespaced {
            Api::namespaced_with(self.client(), &self.namespace, self.suite.resource())
        } else {
            Api::all_with(self.client(), self.suite.resource())
        }
    }

    /// An object's name in the API server.
    #[must_use]
    pub fn full_name(&self, name: &str) -> String {
        self.suite.subject().name(&self.namespace, name)
    }

    fn clusters(&self) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(GROUP, VERSION, "Cluster");
        Api::all_with(self.client(), &ApiResource::from_gvk_with_plural(&gvk, "clusters"))
    }

    async fn create_namespace(&self) -> Result<(), Failed> {
        let (key, value) = SHOOT_NAMESPACE;
        self.create_namespace_labelled(&json!({ key: value })).await?;
        self.write_cluster(json!({})).await
    }

    async fn create_namespace_labelled(&self, labels: &Value) -> Result<(), Failed> {
        let namespace = json!({ "metadata": { "name": self.namespace, "labels": labels } });
        let api = Api::<Namespace>::all(self.client());
        api.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        Ok(())
    }

    /// Creates a namespace that is no Shoot's: it lacks the label, and has no Cluster.
    pub async fn outside_of_shoots(&self) -> Result<Self, Failed> {
        let scene = self.in_namespace(format!("{}-o", self.namespace));
        scene.create_namespace_labelled(&json!({})).await?;
        Ok(scene)
    }

    /// Writes the namespace's Cluster. `shoot` is merged over a minimal Shoot.
    pub async fn write_cluster(&self, shoot: Value) -> Result<(), Failed> {
        self.write_cluster_on(shoot, &json!({})).await
    }

    /// Writes the namespace's Cluster. `shoot` and `seed` are merged over a minimal Shoot and Seed.
    pub async fn write_cluster_on(&self, shoot: Value, seed: &Value) -> Result<(), Failed> {
        let base = json!({
            "apiVersion": GARDEN,
            "kind": "Shoot",
            "metadata": { "name": "a", "namespace": "garden-t", "annotations": {} },
            "spec": { "networking": { "nodes": "10.10.0.0/16", "pods": "10.20.0.0/16", "services": "10.30.0.0/16" } },
            "status": { "technicalID": self.namespace, "lastOperation": { "type": "Reconcile", "state": "Processing" } },
        });
        let cluster = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "Cluster",
            "metadata": { "name": self.namespace },
            "spec": {
                "shoot": merged(base, &shoot),
                "cloudProfile": { "apiVersion": GARDEN, "kind": "CloudProfile" },
                "seed": merged(json!({ "apiVersion": GARDEN, "kind": "Seed" }), seed),
            },
        });
        let params = PatchParams::apply("gardenlet").force();
        self.clusters().patch(&self.namespace, &params, &Patch::Apply(cluster)).await?;
        Ok(())
    }

    /// Makes the Shoot Failed.
    pub async fn fail_shoot(&self) -> Result<(), Failed> {
        self.write_cluster(json!({ "status": { "lastOperation": { "state": "Failed" } } })).await
    }

    /// Marks the Shoot as force-deleted.
    pub async fn force_delete_shoot(&self) -> Result<(), Failed> {
        self.write_cluster(json!({ "metadata": { "annotations": { FORCE_DELETION_ANNOTATION: "true" } } })).await
    }

    /// Deletes the Cluster.
    pub async fn delete_cluster(&self) -> Result<(), Failed> {
        self.clusters().delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Starts one more controller, for the type that has the namespace's name.
    pub fn start_controller(&self) -> Result<Controller, Failed> {
        self.suite.start_further(&self.namespace)
    }

    /// A Secret of the namespace. `None` if it does not exist.
    pub async fn secret(&self, name: &str) -> Result<Option<Secret>, Failed> {
        Ok(self.secrets().get_opt(name).await?)
    }

    /// Creates a Secret in the namespace.
    pub async fn create_secret(&self, secret: &Value) -> Result<(), Failed> {
        self.secrets().create(&PostParams::default(), &serde_json::from_value(secret.clone())?).await?;
        Ok(())
    }

    /// Sends one merge patch of a Secret of the namespace.
    pub async fn patch_secret(&self, name: &str, patch: &Value) -> Result<(), Failed> {
        self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes a Secret of the namespace.
    pub async fn delete_secret(&self, name: &str) -> Result<(), Failed> {
        self.secrets().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Asks for the deletion of the namespace.
    pub async fn delete_namespace(&self) -> Result<(), Failed> {
        Api::<Namespace>::all(self.client()).delete(&self.namespace, &DeleteParams::default()).await?;
        Ok(())
    }
}
