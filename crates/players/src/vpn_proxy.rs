//! The tunnel to a Shoot's nodes: stands for the envoy of vpn-seed-server, through which a Shoot's API server reaches
//! nodes. A request for a kubelet is answered in this process, by the kubelet of a hollow node. Leaves out the VPN,
//! certificates of clients, and the side-car of API servers with several replicas.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use mock_hollow::node::KUBELET_PORT;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::environment::Place;
use crate::error::Error;
use crate::kubelet_port::{self, Nodes};
use crate::player::{Seed, name_of};
use crate::port_forward::Dial as _;
use crate::shoot_pods::ShootPods;
use crate::volumes::{Volumes, inside};

/// The container that is played, its port, and where its certificate is (`pkg/component/networking/vpn/envoy`).
const CONTAINER: &str = "envoy-proxy";
const PORT: u16 = 9443;
const CERTIFICATE: &str = "/srv/secrets/envoy-proxy";

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// The proxies of all Shoots, by namespace and name of their Pods.
pub(crate) struct VpnProxies {
    running: Mutex<HashMap<(String, String), DropGuard>>,
    shoot_pods: ShootPods,
}

impl VpnProxies {
    pub(crate) fn new(shoot_pods: ShootPods) -> Self {
        Self { running: Mutex::default(), shoot_pods }
    }

    /// Starts the proxy of a Pod that has one, unless it runs.
    pub(crate) async fn ensure(&self, seed: &Arc<Seed>, pod: &Arc<Pod>, place: Place) -> Result<(), Error> {
        let key = name_of(pod.as_ref());
        let mut proxies = self.running.lock().await;
        if certificate_volume(pod).is_none() || proxies.contains_key(&key) {
            return Ok(());
        }
        let acceptor = acceptor(seed, pod, place).await?;
        let address = SocketAddr::from((place.address, PORT));
        let listener = TcpListener::bind(address).await.map_err(Error::io("listen on", address))?;
        let stop = CancellationToken::new();
        let nodes = Nodes { seed: seed.clone(), namespace: key.0.clone(), shoot_pods: self.shoot_pods.clone() };
        tokio::spawn(serve(nodes, listener, acceptor, stop.clone()));
        proxies.insert(key, stop.drop_guard());
        Ok(())
    }

    /// Stops the proxy of a Pod.
    pub(crate) async fn stop(&self, key: &(String, String)) {
        self.running.lock().await.remove(key);
    }
}

/// The volume with the proxy's certificate, of a Pod that has a proxy.
fn certificate_volume(pod: &Pod) -> Option<&str> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == CONTAINER)?;
    let mount = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == CERTIFICATE)?;
    Some(&mount.name)
}

/// Reads the certificate out of the Pod's volume. gardenlet replaces the Pod when the certificate changes.
async fn acceptor(seed: &Arc<Seed>, pod: &Arc<Pod>, place: Place) -> Result<TlsAcceptor, Error> {
    let folder = seed.args.root.join("pods").join(pod.uid().unwrap_or_default());
    let folders = Volumes::new(seed.clone(), pod.clone(), place, folder).fill().await?;
    let folder = certificate_volume(pod).and_then(|volume| folders.get(volume));
    let folder = folder.ok_or_else(|| Error::Unusable(format!("container {CONTAINER} has no certificate")))?;
    let (chain, key) = (inside(folder, "tls.crt")?, inside(folder, "tls.key")?);
    let unusable = |error: rustls::pki_types::pem::Error| Error::Unusable(format!("{}: {error}", folder.display()));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(chain).map_err(unusable)?.collect::<Result<_, _>>().map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(unusable)?;
    Ok(TlsAcceptor::from(Arc::new(kubelet_port::config(&(chain, key))?)))
}

async fn serve(nodes: Nodes, listener: TcpListener, acceptor: TlsAcceptor, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        // Fails if the client has gone already, or all file descriptors are in use.
        let Ok((client, _)) = accepted else { continue };
        let (nodes, acceptor) = (nodes.clone(), acceptor.clone());
        tokio::spawn(async move {
            // A probe connects and says nothing.
            let Ok(client) = acceptor.accept(client).await else { return };
            let service = service_fn(|request| connect(nodes.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(client), service).with_upgrades();
            // The client closes the connection at any time.
            let _ = connection.await;
        });
    }
}

/// Where a CONNECT request leads.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// The kubelet of a hollow node.
    Kubelet(IpAddr),
    /// A server that really exists.
    Server(String),
}

/// The target of a request. Returns `None` unless it is CONNECT to a host and port.
fn target(method: &Method, uri: &Uri) -> Option<Target> {
    let authority = uri.authority().filter(|_| method == Method::CONNECT)?;
    let port = authority.port_u16()?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse() {
        Ok(address) if port == KUBELET_PORT => Some(Target::Kubelet(address)),
        _ => Some(Target::Server(authority.to_string())),
    }
}

/// Connects with a server: with a Pod of the Shoot that runs, or with another one.
async fn dial(nodes: &Nodes, server: &str) -> Result<TcpStream, String> {
    let pod = server.parse::<SocketAddr>().ok().and_then(|address| {
        let pod = nodes.shoot_pods.at(&nodes.namespace, address.ip())?;
        Some((pod, address.port()))
    });
    if let Some((pod, port)) = pod {
        return pod.dial(port).await;
    }
    match timeout(CONNECT, TcpStream::connect(server)).await {
        Ok(connected) => connected.map_err(|error| format!("cannot connect to {server}: {error}")),
        Err(_) => Err(format!("{server} does not answer")),
    }
}

/// Answers one request, and connects its client.
async fn connect(nodes: Nodes, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let refused = |status: StatusCode, text: String| {
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = status;
        Ok(answer)
    };
    match target(request.method(), request.uri()) {
        None => return refused(StatusCode::METHOD_NOT_ALLOWED, "only CONNECT to a host and port is served".to_owned()),
        Some(Target::Kubelet(address)) => {
            tokio::spawn(async move {
                let Ok(client) = hyper::upgrade::on(request).await else { return };
                let namespace = nodes.namespace.clone();
                if let Err(error) = kubelet_port::serve(nodes, address, TokioIo::new(client)).await {
                    tracing::info!(namespace, %address, %error, "a connection to a kubelet failed");
                }
            });
        }
        Some(Target::Server(server)) => match dial(&nodes, &server).await {
            Ok(mut server) => {
                tokio::spawn(async move {
                    let Ok(client) = hyper::upgrade::on(request).await else { return };
                    // Either side may close the connection at any time.
                    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
                });
            }
            Err(problem) => return refused(StatusCode::BAD_GATEWAY, problem),
        },
    }
    Ok(Response::new(Full::default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_connect_to_a_port_has_a_target() {
        let of = |method: Method, uri: &str| target(&method, &uri.parse().unwrap());
        assert_eq!(of(Method::CONNECT, "10.0.0.1:10250"), Some(Target::Kubelet("10.0.0.1".parse().unwrap())));
        assert_eq!(of(Method::CONNECT, "[::1]:10250"), Some(Target::Kubelet("::1".parse().unwrap())));
        assert_eq!(
            of(Method::CONNECT, "metrics.kube-system:443"),
            Some(Target::Server("metrics.kube-system:443".into()))
        );
        assert_eq!(of(Method::GET, "http://10.0.0.1:10250/"), None);
        assert_eq!(of(Method::CONNECT, "10.0.0.1"), None);
    }

    #[test]
    fn only_pod_with_the_proxys_certificate_has_a_proxy() {
        let pod = |container: &str| -> Pod {
            let mounts = json!([{ "name": "certs", "mountPath": CERTIFICATE }]);
            let containers = json!([{ "name": "vpn-seed-server" }, { "name": container, "volumeMounts": mounts }]);
            serde_json::from_value(json!({ "metadata": {}, "spec": { "containers": containers } })).unwrap()
        };
        assert_eq!(certificate_volume(&pod(CONTAINER)), Some("certs"));
        assert_eq!(certificate_volume(&pod("another")), None);
    }
}
