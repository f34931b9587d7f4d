//! Deployments of extensions, which show whether a Pod of the extension runs.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

/// What is wrong with the Deployments of each extension, by its namespace. An extension without an entry was not read.
pub type Deployments = BTreeMap<String, Vec<Idle>>;

/// A Deployment without a Pod that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    name: String,
    is_scaled_down: bool,
}

impl Idle {
    /// Returns `None` if a Pod of the Deployment is ready.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Option<Self> {
        let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        (ready == 0).then(|| Self { name: deployment.name_any(), is_scaled_down: wanted == 0 })
    }

    /// What is wrong, and what there is to do. gardenlet takes a Deployment without replicas for healthy.
    #[must_use]
    pub fn words(&self) -> (String, String) {
        let Self { name, is_scaled_down } = self;
        if *is_scaled_down {
            (
                format!("its Deployment {name} is scaled to 0"),
                format!("scale {name} up, in the ControllerDeployment that installs it"),
            )
        } else {
            (format!("its Deployment {name} has no ready Pod"), format!("look why no Pod of {name} is ready"))
        }
    }
}
