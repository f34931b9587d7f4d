//! The scene of a promise: a [`Scene`] of the kit, and what is special to our controllers.

use std::ops::Deref;
use std::sync::Arc;

use extension_conformance::launcher::Controller;
use extension_conformance::{Scene, ensure};
use gardener_testbed::audit::{Audit, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use libtest_mimic::Failed;

use crate::mock::Mock;

/// A shoot's namespace with its Cluster, for one promise. It can do what a [`Scene`] can.
#[derive(Clone)]
pub struct MockScene {
    scene: Scene,
    mock: Arc<Mock>,
}

impl Deref for MockScene {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl MockScene {
    pub(crate) const fn new(scene: Scene, mock: Arc<Mock>) -> Self {
        Self { scene, mock }
    }

    /// Creates one more namespace with a Cluster, for the same promise. No other promise of the suite may use the name.
    pub async fn beside(&self, name: &str) -> Result<Self, Failed> {
        Ok(Self { scene: Scene::create(self.suite().clone(), name).await?, mock: self.mock.clone() })
    }

    /// The same scene in a namespace that does not exist.
    pub(crate) fn in_missing_namespace(&self, namespace: String) -> Self {
        Self { scene: self.in_namespace(namespace), mock: self.mock.clone() }
    }

    /// The controller under test.
    pub(crate) fn mock(&self) -> &Mock {
        &self.mock
    }

    /// The custom resource definitions of the API server.
    pub(crate) fn crds(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.client())
    }

    /// The name of the kind's CRD.
    pub(crate) fn crd(&self) -> String {
        format!("{}.{}", self.suite().resource().plural, self.suite().resource().group)
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> Result<&Audit, Failed> {
        Ok(self.suite().bed().audit().ok_or("the test bed has no audit log")?)
    }

    /// How many write requests the controller has made about the object and its Secrets so far.
    pub fn writes(&self, name: &str) -> Result<usize, Failed> {
        Ok(self.requests(name)?.len())
    }

    /// The controller's write requests about the object and its Secrets so far, each with the code of its answer.
    pub(crate) fn requests(&self, name: &str) -> Result<Vec<String>, Failed> {
        let ours = self.audit()?.requests(|request| {
            request.user == self.mock.user
                && request.namespace == self.namespace()
                && (request.name == name || request.name == format!("osc-result-{name}"))
                && !matches!(request.verb.as_str(), "get" | "list" | "watch")
        })?;
        let line = |request: Request| {
            format!("{} {}/{}: {}", request.verb, request.resource, request.subresource, request.code)
        };
        Ok(ours.into_iter().map(line).collect())
    }

    /// How often the controller has listed the namespace's Cluster with a consistent read, which may take a moment.
    pub fn patient_reads(&self) -> Result<usize, Failed> {
        let lists = self.audit()?.requests(|request| {
            request.user == self.mock.user
                && (request.verb.as_str(), request.resource.as_str()) == ("list", "clusters")
                && request.name == self.namespace()
                && !request.uri.contains("limit=")
                && request.code == 200
        })?;
        Ok(lists.len())
    }

    /// Fails unless the controller has made exactly `expected` write requests in addition to `before`. A
    /// [`barrier`](Scene::barrier) comes first, so that the controller has made all of them.
    pub async fn has_cost(&self, name: &str, before: usize, expected: usize) -> Result<(), Failed> {
        self.barrier().await?;
        let writes = self.writes(name)?.saturating_sub(before);
        ensure(writes == expected, format!("{writes} writes instead of {expected}: {:#?}", self.requests(name)?))
    }

    /// How many metadata writes a request costs if its timestamp is after the last operation.
    pub(crate) fn metadata_writes(&self) -> usize {
        usize::from(!self.mock.is_assisted)
    }

    /// How many writes an operation with one outcome costs: the status, the Secrets and the metadata.
    pub(crate) fn fewest_writes(&self) -> usize {
        1 + self.metadata_writes() + self.mock.secrets
    }

    /// Starts one more controller with the kubeconfig and these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        self.start_bare(&self.mock.host().with_kubeconfig(arguments)?)
    }

    /// Starts one more controller with the kubeconfig and these arguments, for the type that has the namespace's name.
    pub(crate) fn start_own(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        self.start(&[&["--type", self.namespace()], arguments].concat())
    }

    /// Starts one more controller with these arguments alone.
    pub(crate) fn start_bare(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        self.mock.host().start(self.suite().bed(), &self.suite().new_log()?, arguments)
    }
}
