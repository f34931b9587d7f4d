//! The scene of a promise: a [`Scene`] of the kit, and what is special to our controllers.

use std::ops::Deref;
use std::sync::Arc;

use extension_conformance::launcher::Controller;
use extension_conformance::{Scene, ensure};
use extension_contract::Reader;
use gardener_testbed::audit::{Audit, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use libtest_mimic::Failed;
use mock_core::kind::SecretKey;

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
        Ok(self.suite().bed()?.audit().ok_or("the test bed has no audit log")?)
    }

    /// How many write requests the controller has made about the object and its Secrets so far.
    pub fn writes(&self, name: &str) -> Result<usize, Failed> {
        Ok(self.requests(name)?.len())
    }

    /// The controller's write requests about the object and its Secrets so far, each with the code of its answer.
    pub(crate) fn requests(&self, name: &str) -> Result<Vec<String>, Failed> {
        let (full_name, secrets) = (self.full_name(name), self.secrets(name));
        let kind = self.suite().subject().kind;
        let namespace = if kind.namespaced { self.namespace() } else { "" };
        let is_secret = |request: &Request| {
            secrets.iter().any(|key| (&key.namespace, &key.name) == (&request.namespace, &request.name))
        };
        let ours = self.audit()?.requests(|request| {
            request.user == self.mock.user
                && !matches!(request.verb.as_str(), "get" | "list" | "watch")
                && match request.resource.as_str() {
                    "secrets" => is_secret(request),
                    resource => resource == kind.plural && request.namespace == namespace && request.name == full_name,
                }
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

    /// The Secrets that one outcome of an object holds.
    #[must_use]
    pub fn secrets(&self, name: &str) -> Vec<SecretKey> {
        (self.mock.secrets)(self.namespace(), &self.full_name(name))
    }

    /// How many writes of an object's status one outcome costs. A reader that watches has to see Processing first.
    pub(crate) fn status_writes(&self) -> usize {
        match self.suite().subject().kind.reader {
            Reader::Polls => 1,
            Reader::Watches => 2,
        }
    }

    /// How many writes one outcome of the object `a` costs besides that of its metadata: the status and the Secrets.
    pub(crate) fn outcome_writes(&self) -> usize {
        self.status_writes() + self.secrets("a").len()
    }

    /// How many metadata writes a request costs if its timestamp is after the last operation.
    pub(crate) fn metadata_writes(&self) -> usize {
        usize::from(!self.mock.is_assisted)
    }

    /// How many writes an operation with one outcome costs: the status, the Secrets and the metadata.
    pub(crate) fn fewest_writes(&self) -> usize {
        self.outcome_writes() + self.metadata_writes()
    }

    /// How many writes a deletion costs: the metadata, and the Secrets that the controller deletes itself.
    pub(crate) fn deletion_writes(&self) -> usize {
        1 + if self.mock.deletes_secrets { self.secrets("a").len() } else { 0 }
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
        self.mock.host().start(self.suite().bed()?, &self.suite().new_log(self.namespace())?, arguments)
    }
}
