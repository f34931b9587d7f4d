//! Services: stands for kube-proxy. Listens on each ClusterIP and forwards connections to the ready endpoints in turn.
//! Leaves out UDP, node ports, session affinity and traffic policies.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::runtime::controller::Action;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::ingress_gateway::{Routes, is_gateway};
use crate::player::{Seed, all, follow, name_of};

/// How long an endpoint may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A Service's namespace and name.
type Key = (String, String);

/// One port of a Service on which the proxy listens.
struct Listener {
    service: Key,
    port: String,
    // Dropping it stops listening.
    _stop: DropGuard,
}

/// All ports on which the proxy listens.
struct ServiceProxy {
    endpoints: Endpoints,
    routes: Routes,
    listeners: Mutex<HashMap<SocketAddr, Listener>>,
    connections: Arc<AtomicUsize>,
}

/// Serves all Services for ever.
pub(crate) async fn play(seed: Arc<Seed>, endpoints: Endpoints, routes: Routes) {
    let connections = Arc::default();
    let proxy = Arc::new(ServiceProxy { endpoints, routes, listeners: Mutex::default(), connections });
    let gone = |object: &kube::runtime::reflector::ObjectRef<_>| {
        let key = (object.namespace.clone().unwrap_or_default(), object.name.clone());
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.listeners.lock().await.retain(|_, listener| listener.service != key) });
    };
    follow("service proxy", all::<Service>(&seed), proxy.clone(), reconcile, gone).await;
}

async fn reconcile(service: Arc<Service>, proxy: Arc<ServiceProxy>) -> Result<Action, Error> {
    let key = name_of(service.as_ref());
    let wanted = ports(&service);
    let mut listeners = proxy.listeners.lock().await;
    // Ports that other Services had before this one got their address are stale, too.
    listeners.retain(|address, listener| match wanted.get(address) {
        Some(port) => listener.service == key && listener.port == *port,
        None => listener.service != key,
    });
    for (address, port) in wanted {
        if listeners.contains_key(&address) {
            continue;
        }
        let listener = TcpListener::bind(address).await.map_err(Error::io("listen on", address))?;
        let stop = CancellationToken::new();
        let forward = Forward {
            endpoints: proxy.endpoints.clone(),
            routes: is_gateway(&key.0, address.port()).then(|| proxy.routes.clone()),
            service: key.clone(),
            port: port.clone(),
            connections: proxy.connections.clone(),
        };
        tokio::spawn(forward.serve(listener, stop.clone()));
        listeners.insert(address, Listener { service: key.clone(), port, _stop: stop.drop_guard() });
    }
    Ok(Action::await_change())
}

/// The addresses on which the proxy listens for a Service, with the name of the port.
fn ports(service: &Service) -> BTreeMap<SocketAddr, String> {
    let Some(spec) = service.spec.as_ref() else { return BTreeMap::new() };
    // "None", and the empty text of a Service of type ExternalName, are no addresses.
    let Some(address) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) else {
        return BTreeMap::new();
    };
    let tcp = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    tcp.filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        Some((SocketAddr::new(address, number), port.name.clone().unwrap_or_default()))
    })
    .collect()
}

/// How to forward the connections of one port.
struct Forward {
    endpoints: Endpoints,
    /// Only at the port of a gateway: each connection has a Service of its own.
    routes: Option<Routes>,
    service: Key,
    port: String,
    connections: Arc<AtomicUsize>,
}

impl Forward {
    async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let forward = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            // Fails if the client has gone already, or all file descriptors are in use.
            let Ok((client, _)) = accepted else { continue };
            let forward = forward.clone();
            tokio::spawn(async move { forward.connect(client).await });
        }
    }

    /// Forwards one connection. Without a ready endpoint, it is closed at once.
    async fn connect(&self, mut client: TcpStream) {
        let mut ready = match &self.routes {
            None => self.endpoints.ready(&self.service.0, &self.service.1, &self.port),
            Some(routes) => match routes.of(&client, &self.endpoints).await {
                Some((to, port)) => self.endpoints.ready(&to.namespace, &to.service, &port),
                None => return,
            },
        };
        let turn = self.connections.fetch_add(1, Ordering::Relaxed);
        let first = turn.checked_rem(ready.len()).unwrap_or_default();
        ready.rotate_left(first);
        for address in ready {
            if let Ok(Ok(mut server)) = timeout(CONNECT, TcpStream::connect(address)).await {
                // Either side may close the connection at any time.
                let _ = copy_bidirectional(&mut client, &mut server).await;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listens(spec: &Value) -> Vec<(String, String)> {
        let service = serde_json::from_value(json!({ "spec": spec })).unwrap();
        ports(&service).into_iter().map(|(address, port)| (address.to_string(), port)).collect()
    }

    #[test]
    fn listens_on_the_tcp_ports_of_a_cluster_ip() {
        let listened = listens(&json!({
            "clusterIP": "10.97.0.7",
            "ports": [{ "name": "https", "port": 443 }, { "port": 53, "protocol": "UDP" }, { "port": 80 }],
        }));
        let expected = [("10.97.0.7:80", ""), ("10.97.0.7:443", "https")];
        assert_eq!(listened, expected.map(|(address, port)| (address.to_owned(), port.to_owned())));
    }

    #[test]
    fn service_without_cluster_ip_has_no_listener() {
        assert!(listens(&json!({ "clusterIP": "None", "ports": [{ "port": 80 }] })).is_empty());
        assert!(listens(&json!({ "type": "ExternalName", "externalName": "localhost" })).is_empty());
    }
}
