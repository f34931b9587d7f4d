//! What a kind does besides reconciling its objects.

use std::fmt::Debug;
use std::pin::Pin;

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;

use super::MockKind;

/// A task that runs beside the reconciler, if the kind's flags ask for it.
#[derive(Debug)]
pub struct Companion<K: MockKind> {
    /// Whether the flags ask for it.
    pub is_wanted: fn(&K::Options) -> bool,
    /// The rules of the ClusterRole that it needs besides those of the reconciler.
    pub rules: fn() -> Vec<PolicyRule>,
    /// Runs for ever. It starts when this process leads, and is dropped when the process stops.
    pub run: fn(Surroundings) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What a companion gets to know of its process.
#[derive(Clone)]
pub struct Surroundings {
    /// Client of the API server.
    pub client: Client,
    /// Served types.
    pub types: Vec<String>,
    /// The only namespace that is served, if there is one.
    pub namespace: Option<String>,
}
