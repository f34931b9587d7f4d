//! Load balancers: stands for the service controller of a cloud-controller-manager. Each Service of type LoadBalancer
//! has an address at once. Leaves out the load balancer: nothing outside of this machine reaches the address.

use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use serde_json::json;

use crate::error::Error;
use crate::player::{Seed, all, follow, name_of};

/// The address of all load balancers, of the block for documentation (RFC 5737).
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// Serves all Services for ever.
pub(crate) async fn play(seed: Arc<Seed>) {
    let services = all::<Service>(&seed);
    follow("load balancer", services, seed, reconcile, |_| {}).await;
}

async fn reconcile(service: Arc<Service>, seed: Arc<Seed>) -> Result<Action, Error> {
    if waits(&service) {
        let (namespace, name) = name_of(service.as_ref());
        let api: Api<Service> = Api::namespaced(seed.client.clone(), &namespace);
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": ADDRESS, "ipMode": "VIP" }] } } });
        let written = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
        written.map_err(Error::api(format!("write the status of Service {namespace}/{name}")))?;
    }
    Ok(Action::await_change())
}

/// True for a Service that waits for the address of its load balancer.
fn waits(service: &Service) -> bool {
    let balanced = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let has = status.and_then(|status| status.ingress.as_ref()).is_some_and(|ingress| !ingress.is_empty());
    balanced && !has && service.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_load_balancer_without_address_waits() {
        let service = |kind: &str, ingress: &[&str]| {
            let ingress: Vec<_> = ingress.iter().map(|ip| json!({ "ip": ip })).collect();
            let status = json!({ "loadBalancer": { "ingress": ingress } });
            serde_json::from_value(json!({ "spec": { "type": kind }, "status": status })).unwrap()
        };
        assert!(waits(&service("LoadBalancer", &[])));
        assert!(!waits(&service("LoadBalancer", &["192.0.2.10"])));
        assert!(!waits(&service("ClusterIP", &[])));
    }
}
