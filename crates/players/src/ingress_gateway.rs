//! Ingress: stands for istiod and the gateways of istio. The server name of a TLS connection to a gateway chooses a
//! VirtualService, whose last route gets the connection, still encrypted: a Shoot's API server has the same names in its
//! certificate. Leaves out ending TLS, which a gateway does, matches of headers and paths, and other ports than 443.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use rustls::server::Acceptor;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::endpoints::Endpoints;
use crate::player::Seed;

/// How long a client may take to say which server it wants.
const HELLO: Duration = Duration::from_secs(5);

/// The longest first message of a client that is read. Longer ones are those of attackers.
const LONGEST: usize = 16 * 1024;

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Namespace of the Service.
    pub(crate) namespace: String,
    /// Name of the Service.
    pub(crate) service: String,
    port: i64,
}

/// The routes of all gateways.
#[derive(Clone, Default)]
pub(crate) struct Routes(Arc<OnceLock<Store<DynamicObject>>>);

impl Routes {
    /// Keeps the routes up to date for ever.
    pub(crate) async fn follow(self, seed: Arc<Seed>) {
        let resource = seed.custom_resource("virtualservices.networking.istio.io").await;
        let api = Api::<DynamicObject>::all_with(seed.client.clone(), &resource);
        let writer = Writer::new(resource);
        self.0.get_or_init(|| writer.as_reader());
        let events = reflector(writer, watcher(api, watcher::Config::default())).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if let Err(error) = event {
                tracing::debug!(%error, "the watch of VirtualServices failed; trying again");
            }
        }
    }

    /// The Service, and the name of its port, that a client of a gateway wants. Returns `None` if the client names no
    /// server, or one without a route.
    pub(crate) async fn of(&self, client: &TcpStream, endpoints: &Endpoints) -> Option<(Destination, String)> {
        let name = timeout(HELLO, server_name(client)).await.ok()??;
        let routes = self.0.get()?.state();
        let destination = routes.iter().find_map(|route| destination(&route.data, &name));
        let Some(destination) = destination else {
            tracing::info!(server = name, "no VirtualService has a route for this server");
            return None;
        };
        let service = endpoints.service(&destination.namespace, &destination.service)?;
        let ports = service.spec.as_ref()?.ports.as_ref()?;
        let port = ports.iter().find(|port| i64::from(port.port) == destination.port)?;
        let port = port.name.clone().unwrap_or_default();
        Some((destination, port))
    }
}

/// True if connections to a port of a Service are those of a gateway.
pub(crate) fn is_gateway(namespace: &str, port: u16) -> bool {
    namespace.starts_with("istio-ingress") && port == 443
}

/// The server name that a TLS client asks for. The client's message stays unread.
async fn server_name(client: &TcpStream) -> Option<String> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = client.peek(&mut buffer).await.ok().filter(|length| *length > 0)?;
        match parse_server_name(buffer.get(..length)?) {
            Hello::Name(name) => return name,
            Hello::Partial if length < LONGEST => {}
            Hello::Partial => return None,
        }
        // What has arrived can be peeked at again at once.
        sleep(Duration::from_millis(10)).await;
    }
}

/// What is known of the first message of a client.
#[derive(Debug, PartialEq, Eq)]
enum Hello {
    /// More of it is to come.
    Partial,
    /// It is complete. It is no TLS, or names no server, if there is no name.
    Name(Option<String>),
}

fn parse_server_name(mut bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Hello::Name(None);
        }
    }
    match acceptor.accept() {
        Ok(None) => Hello::Partial,
        Ok(Some(accepted)) => Hello::Name(accepted.client_hello().server_name().map(str::to_owned)),
        Err(_) => Hello::Name(None),
    }
}

/// Where a VirtualService leads the clients of a server. Its last route that leads to a Service has no condition.
fn destination(virtual_service: &Value, server: &str) -> Option<Destination> {
    let list = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    if !list(virtual_service, "/spec/hosts").iter().any(|host| host == server) {
        return None;
    }
    let routes = ["/spec/tls", "/spec/http"].iter().flat_map(|path| list(virtual_service, path).into_iter().rev());
    routes.into_iter().find_map(|route| {
        let to = route.pointer("/route/0/destination")?;
        let mut host = to.get("host")?.as_str()?.split('.');
        let (service, namespace) = (host.next()?.to_owned(), host.next()?.to_owned());
        Some(Destination { namespace, service, port: to.pointer("/port/number")?.as_i64()? })
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use serde_json::json;

    use super::*;

    /// The first message of a client that wants a server.
    fn hello(server: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), server.to_owned().try_into().unwrap()).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        client.write_tls(&mut bytes).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn server_name_is_read_once_the_message_is_complete() {
        let hello = hello("api.dev.internal");
        assert_eq!(parse_server_name(&hello[..hello.len() - 1]), Hello::Partial);
        assert_eq!(parse_server_name(&hello), Hello::Name(Some("api.dev.internal".to_owned())));
        assert_eq!(parse_server_name(b"GET / HTTP/1.1\r\n\r\n"), Hello::Name(None));
    }

    #[test]
    fn last_route_gets_the_connection() {
        let route = |service: &str| {
            let host = format!("{service}.shoot--dev--a.svc.cluster.local");
            json!({ "route": [{ "destination": { "host": host, "port": { "number": 443 } } }] })
        };
        let virtual_service = json!({
            "spec": { "hosts": ["api.dev.internal"], "http": [route("upgrade"), route("kube-apiserver")] },
        });
        let expected =
            Destination { namespace: "shoot--dev--a".to_owned(), service: "kube-apiserver".to_owned(), port: 443 };
        assert_eq!(destination(&virtual_service, "api.dev.internal"), Some(expected));
        assert_eq!(destination(&virtual_service, "api.other.internal"), None);
    }

    #[test]
    fn virtual_service_without_a_service_leads_nowhere() {
        let refused = json!({ "spec": { "hosts": ["a"], "http": [{ "directResponse": { "status": 403 } }] } });
        assert_eq!(destination(&refused, "a"), None);
    }
}
