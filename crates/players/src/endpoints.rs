//! Services and the endpoints behind them, as the API server has them now.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{Config, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

/// The label of an EndpointSlice that names its Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// Services and endpoints.
#[derive(Clone)]
pub(crate) struct Endpoints {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
}

impl Endpoints {
    /// Empty stores, and what keeps them up to date for ever.
    pub(crate) fn watch(client: &Client) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (services, follow_services) = mirror(Api::all(client.clone()));
        let (slices, follow_slices) = mirror(Api::all(client.clone()));
        let follow = async {
            tokio::join!(follow_services, follow_slices);
        };
        (Self { services, slices }, follow)
    }

    /// A Service.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&ObjectRef::new(name).within(namespace))
    }

    /// The addresses that are ready to serve a port of a Service. A port without a name is called "".
    pub(crate) fn ready(&self, namespace: &str, name: &str, port: &str) -> Vec<SocketAddr> {
        self.slices_of(namespace, name).iter().flat_map(|slice| ready(slice, port)).collect()
    }

    /// The namespaces in which a Service has an address that is ready to serve a port.
    pub(crate) fn namespaces_ready(&self, name: &str, port: &str) -> BTreeSet<String> {
        let slices = self.slices.state().into_iter();
        let serves = |slice: &Arc<EndpointSlice>| {
            slice.labels().get(SERVICE).is_some_and(|service| service == name) && !ready(slice, port).is_empty()
        };
        slices.filter(serves).filter_map(|slice| slice.namespace()).collect()
    }

    /// The addresses of a Service's endpoints: those of one host name if one is given, and all otherwise.
    pub(crate) fn addresses(&self, namespace: &str, name: &str, host: Option<&str>) -> Vec<Ipv4Addr> {
        self.slices_of(namespace, name).iter().flat_map(|slice| addresses(slice, host)).collect()
    }

    fn slices_of(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let belongs = |slice: &EndpointSlice| {
            slice.namespace().as_deref() == Some(namespace)
                && slice.labels().get(SERVICE).is_some_and(|name| name == service)
        };
        self.slices.state().into_iter().filter(|slice| belongs(slice)).collect()
    }
}

/// A store of all objects of a type, and what keeps it up to date for ever.
fn mirror<K>(api: Api<K>) -> (Store<K>, impl Future<Output = ()> + Send + 'static)
where
    K: Clone + Resource<DynamicType = ()> + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (reader, writer) = store();
    let follow = async move {
        let mut events = pin!(reflector(writer, watcher(api, Config::default())).default_backoff());
        while let Some(event) = events.next().await {
            if let Err(error) = event {
                tracing::debug!(%error, "the watch failed; trying again");
            }
        }
    };
    (reader, follow)
}

/// The addresses of a slice that are ready to serve a port.
fn ready(slice: &EndpointSlice, port: &str) -> Vec<SocketAddr> {
    let mut ports =
        slice.ports.iter().flatten().filter(|candidate| candidate.name.as_deref().unwrap_or_default() == port);
    let number = ports.find_map(|port| u16::try_from(port.port?).ok());
    let ready =
        |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false);
    let addresses = slice.endpoints.iter().filter(ready).flat_map(|endpoint| &endpoint.addresses);
    addresses.filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, number?))).collect()
}

/// The addresses of a slice, ready or not: those of one host name if one is given.
fn addresses(slice: &EndpointSlice, host: Option<&str>) -> Vec<Ipv4Addr> {
    let chosen = |endpoint: &&Endpoint| host.is_none() || endpoint.hostname.as_deref() == host;
    let addresses = slice.endpoints.iter().filter(chosen).flat_map(|endpoint| &endpoint.addresses);
    addresses.filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    /// Stores that hold these objects.
    pub(crate) fn endpoints(services: &[Value], slices: &[Value]) -> Endpoints {
        fn filled<K>(objects: &[Value]) -> Store<K>
        where
            K: Clone + Resource<DynamicType = ()> + DeserializeOwned + 'static,
        {
            let (reader, mut writer) = store();
            for object in objects {
                writer.apply_watcher_event(&Event::Apply(serde_json::from_value(object.clone()).unwrap()));
            }
            reader
        }
        Endpoints { services: filled(services), slices: filled(slices) }
    }

    fn slice() -> Value {
        json!({
            "metadata": { "namespace": "n", "name": "s-1", "labels": { SERVICE: "s" } },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": 8443 }, { "name": "metrics", "port": 8080 }],
            "endpoints": [
                { "addresses": ["10.243.0.3"], "hostname": "a", "conditions": { "ready": true } },
                { "addresses": ["10.243.0.4"], "conditions": { "ready": false } },
                { "addresses": ["10.243.0.5"] },
            ],
        })
    }

    #[test]
    fn only_endpoints_that_are_ready_serve_a_port() {
        let endpoints = endpoints(&[], &[slice()]);
        let ready = endpoints.ready("n", "s", "https");
        assert_eq!(ready, ["10.243.0.3:8443", "10.243.0.5:8443"].map(|address| address.parse().unwrap()));
        assert!(endpoints.ready("n", "s", "").is_empty());
        assert!(endpoints.ready("other", "s", "https").is_empty());
        assert_eq!(endpoints.namespaces_ready("s", "https"), BTreeSet::from(["n".to_owned()]));
        assert!(endpoints.namespaces_ready("s", "http").is_empty());
    }

    #[test]
    fn host_name_chooses_an_endpoint() {
        let endpoints = endpoints(&[], &[slice()]);
        assert_eq!(endpoints.addresses("n", "s", Some("a")), [Ipv4Addr::new(10, 243, 0, 3)]);
        assert_eq!(endpoints.addresses("n", "s", None).len(), 3);
    }
}
