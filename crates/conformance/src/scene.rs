//! The scene of a rule: a shoot's namespace with its Cluster, and gardenlet's requests for the objects in it.

mod objects;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use extension_contract::{FORCE_DELETION_ANNOTATION, SHOOT_NAMESPACE};
use gardener_testbed::manifests::{self, Mode};
use gardener_testbed::said;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, DynamicObject, GetParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::eventually::eventually;
use crate::launcher::{Controller, Ends};
use crate::object::merged;
use crate::subject;
use crate::suite::Suite;

/// The API version of the objects in a Cluster.
const GARDEN: &str = "core.gardener.cloud/v1beta1";
/// Time for a controller's cache to get a Cluster that the API server's cache has.
const IN_CONTROLLERS_CACHE: Duration = Duration::from_millis(500);
/// The resolution of times in a status.
pub(crate) const A_SECOND: Duration = Duration::from_secs(1);

/// A shoot's namespace with its Cluster, for one rule.
#[derive(Clone)]
pub struct Scene {
    suite: Arc<Suite>,
    namespace: String,
    /// The first request of the rule that the API server refused, or what else keeps the rule from a verdict.
    refusal: Arc<OnceLock<String>>,
    /// The ends of the controllers that the rule has started.
    ends: Arc<Ends>,
}

impl Scene {
    /// The namespace of a rule in a test bed. It is also the type of the further controllers that the rule starts.
    #[must_use]
    pub fn namespace_of(rule: &str) -> String {
        Self::namespace_in("t", rule)
    }

    /// The namespace of a rule in a run with this ID. With the suffix of a further namespace, it has at most 63
    /// characters.
    pub(crate) fn namespace_in(run: &str, rule: &str) -> String {
        let name: String = rule.replace('_', "-").chars().take(51 - run.len()).collect();
        format!("shoot--{run}--{}", name.trim_end_matches('-'))
    }

    /// Creates the namespace of a rule, and its Cluster.
    pub async fn create(suite: Arc<Suite>, rule: &str) -> Result<Self, Failed> {
        let namespace = Self::namespace_in(suite.run(), rule);
        let scene = Self { suite, namespace, refusal: Arc::default(), ends: Arc::default() };
        scene.create_namespace().await?;
        Ok(scene)
    }

    /// A namespace of an earlier scene.
    pub(crate) fn existing(suite: Arc<Suite>, namespace: String) -> Self {
        Self { suite, namespace, refusal: Arc::default(), ends: Arc::default() }
    }

    /// The same suite in a namespace that need not exist.
    #[must_use]
    pub fn in_namespace(&self, namespace: String) -> Self {
        Self { namespace, ..self.clone() }
    }

    /// The first request of the rule that the API server refused, such as a change that a webhook does not admit, or
    /// what else keeps the rule from a verdict. The rule then says nothing about the controller.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// Notes that the API server has refused a request of the rule. An object that is gone, or that has changed in
    /// between, is no such refusal: the controller may have caused it.
    fn sent<T>(&self, doing: &str, result: kube::Result<T>) -> Result<T, Failed> {
        result.map_err(|error| {
            let why = format!("cannot {doing} in {}: {}", self.namespace, said(&error));
            if !matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                self.refusal.get_or_init(|| why.clone());
            }
            why.into()
        })
    }

    /// Notes what keeps the rule from a verdict, and ends it.
    pub(crate) fn not_judged(&self, why: &str) -> Failed {
        self.refusal.get_or_init(|| why.to_owned());
        why.into()
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
        Api::all_with(self.client(), &subject::clusters())
    }

    async fn create_namespace(&self) -> Result<(), Failed> {
        let (key, value) = SHOOT_NAMESPACE;
        self.create_namespace_labelled(&json!({ key: value })).await?;
        for object in &self.suite.subject().in_each_namespace {
            let object = merged(object.clone(), &json!({ "metadata": { "namespace": self.namespace } }));
            let applied = manifests::apply(&self.client(), &object, Mode::Apply).await;
            applied.inspect_err(|error| drop(self.refusal.set(error.to_string())))?;
        }
        self.write_cluster(json!({})).await?;
        // From the cache, controllers watch it. Gardener's library drops events of an object whose Cluster it does not
        // know yet (`extensions/pkg/predicate/preconditions.go`); gardenlet writes the Cluster long before.
        let in_cache = || async { Ok(self.clusters().get_with(&self.namespace, &GetParams::any()).await?) };
        eventually(self.suite.subject().patience, in_cache).await?;
        if !self.suite.serves_any_type() {
            // Nobody can see the cache of a controller that is not ours.
            sleep(IN_CONTROLLERS_CACHE).await;
        }
        Ok(())
    }

    async fn create_namespace_labelled(&self, labels: &Value) -> Result<(), Failed> {
        let labels = merged(labels.clone(), &self.suite.labels());
        let namespace = json!({ "metadata": { "name": self.namespace, "labels": labels } });
        let api = Api::<Namespace>::all(self.client());
        self.suite.note_namespace(&self.namespace);
        let namespace = serde_json::from_value(namespace)?;
        let create = async move { api.create(&PostParams::default(), &namespace).await };
        self.sent("create the namespace", self.suite.create(create).await?).map(drop)
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
            "status": { "lastOperation": { "type": "Reconcile", "state": "Processing" } },
        });
        let given = &self.suite.subject().cluster;
        let part = |name: &str, base| merged(base, given.get(name).unwrap_or(&json!({})));
        let own = json!({ "status": { "technicalID": self.namespace } });
        let cluster = json!({
            "apiVersion": subject::clusters().api_version,
            "kind": "Cluster",
            "metadata": { "name": self.namespace, "labels": self.suite.labels() },
            "spec": {
                "shoot": merged(merged(part("shoot", base), &own), &shoot),
                "cloudProfile": part("cloudProfile", json!({ "apiVersion": GARDEN, "kind": "CloudProfile" })),
                "seed": merged(part("seed", json!({ "apiVersion": GARDEN, "kind": "Seed" })), seed),
            },
        });
        let params = PatchParams::apply("gardenlet").force();
        let (clusters, name) = (self.clusters(), self.namespace.clone());
        let write = async move { clusters.patch(&name, &params, &Patch::Apply(cluster)).await };
        self.sent("write the Cluster", self.suite.create(write).await?).map(drop)
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
        let deleted = self.clusters().delete(&self.namespace, &DeleteParams::default()).await;
        self.sent("delete the Cluster", deleted).map(drop)
    }

    /// Starts one more controller, for the rule's [`own_type`](Self::own_type).
    pub fn start_controller(&self) -> Result<Controller, Failed> {
        Ok(self.suite.start_further(&self.namespace, &self.own_type())?.noting_its_end(self.ends.clone()))
    }

    /// How a controller of the rule has ended that the rule did not stop.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.ends.first()
    }

    /// Whether controllers of the rule have run beside another one. They may have wanted the same port.
    pub(crate) fn had_neighbours(&self) -> bool {
        self.suite.serves_any_type() || self.ends.overlapped()
    }

    /// The type of the controllers that the rule starts: the namespace's name, or the subject's type if the controller
    /// serves no other. No shared controller runs then.
    #[must_use]
    pub fn own_type(&self) -> String {
        if self.suite.serves_any_type() { self.namespace.clone() } else { self.suite.subject().type_.clone() }
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
