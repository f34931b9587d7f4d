//! Probes: stands for the prober of a kubelet. Readiness and startup probes over HTTP and TCP decide about readiness.
//! Leaves out liveness probes, `exec` and `grpc`, which count as passed, and `initialDelaySeconds`: until a container is
//! ready, it is probed all the time.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::{Request, Uri};
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::client::Body;
use kube::{Client, Config};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Pause between two probes of a container that is not ready.
const EAGER: Duration = Duration::from_millis(250);

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// GET of a page.
    Http { uri: Uri, headers: Vec<(String, String)> },
    /// A connection.
    Tcp { port: u16 },
    /// Nothing that is played: the probe passes.
    Nothing,
}

/// The answers so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether the container is ready.
    pub(crate) ready: bool,
    /// How many answers in a row were the same.
    alike: i32,
    /// The last answer.
    passed: bool,
}

impl Readiness {
    /// The readiness after one more answer.
    pub(crate) fn after(self, passed: bool, probe: &Probe) -> Self {
        let alike = if passed == self.passed { self.alike.saturating_add(1) } else { 1 };
        let needed = if passed { probe.success_threshold.unwrap_or(1) } else { probe.failure_threshold.unwrap_or(3) };
        Self { ready: if alike >= needed { passed } else { self.ready }, alike, passed }
    }

    /// Pause until the next probe.
    pub(crate) fn pause(self, probe: &Probe) -> Duration {
        let period = probe.period_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10);
        if self.ready { Duration::from_secs(period.max(1)) } else { EAGER }
    }
}

/// The probe that decides about the readiness of a container. Without one, a container is ready as long as it runs.
pub(crate) fn deciding(container: &Container) -> Option<&Probe> {
    container.readiness_probe.as_ref().or(container.startup_probe.as_ref())
}

/// What a probe of a container asks at an address.
pub(crate) fn question(probe: &Probe, container: &Container, address: Ipv4Addr) -> Question {
    if let Some(get) = &probe.http_get {
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let host = get.host.clone().unwrap_or_else(|| address.to_string());
        let path = get.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri = port(&get.port, container).map(|port| format!("{scheme}://{host}:{port}{slash}{path}").parse());
        let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        match uri {
            Some(Ok(uri)) => Question::Http { uri, headers: headers.collect() },
            // As in a kubelet, such a probe never passes: nothing listens there.
            _ => Question::Tcp { port: 0 },
        }
    } else if let Some(socket) = &probe.tcp_socket {
        Question::Tcp { port: port(&socket.port, container).unwrap_or_default() }
    } else {
        Question::Nothing
    }
}

/// The number of a port that has a number or a name.
fn port(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())?
        }
    };
    u16::try_from(number).ok()
}

/// Asks the question of a probe again and again.
pub(crate) struct Prober {
    question: Question,
    address: Ipv4Addr,
    limit: Duration,
    client: Option<Client>,
}

impl Prober {
    /// A prober of a container at an address.
    pub(crate) fn new(probe: &Probe, container: &Container, address: Ipv4Addr) -> Self {
        let question = question(probe, container, address);
        let seconds = probe.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(1);
        let limit = Duration::from_secs(seconds.max(1));
        let client = match &question {
            Question::Http { uri, .. } => client(uri, limit),
            _ => None,
        };
        Self { question, address, limit, client }
    }

    /// True if the probe passes.
    pub(crate) async fn passes(&self) -> bool {
        let answer = async {
            match &self.question {
                Question::Http { uri, headers } => self.get(uri, headers).await.unwrap_or(false),
                Question::Tcp { port } => TcpStream::connect((self.address, *port)).await.is_ok(),
                Question::Nothing => true,
            }
        };
        timeout(self.limit, answer).await.unwrap_or(false)
    }

    async fn get(&self, uri: &Uri, headers: &[(String, String)]) -> Option<bool> {
        let mut request = Request::get(uri.path_and_query()?.as_str());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.client.as_ref()?.send(request.body(Body::empty()).ok()?).await.ok()?;
        Some(answer.status().as_u16() < 400)
    }
}

/// A client that trusts any certificate, as a kubelet does.
fn client(uri: &Uri, limit: Duration) -> Option<Client> {
    let mut config = Config::new(uri.clone());
    config.accept_invalid_certs = true;
    // Without any, the system's would be loaded, which this machine may not have.
    config.root_cert = Some(Vec::new());
    config.connect_timeout = Some(limit);
    config.read_timeout = Some(limit);
    let root = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    config.cluster_url = root.parse().ok()?;
    config.default_retry = false;
    Client::try_from(config).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn container(value: &Value) -> Container {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn asked(container: &Container) -> Question {
        question(deciding(container).unwrap(), container, Ipv4Addr::new(10, 243, 0, 3))
    }

    #[test]
    fn port_of_a_page_may_have_a_name() {
        let container = container(&json!({
            "name": "c", "ports": [{ "name": "health", "containerPort": 8081 }],
            "readinessProbe": { "httpGet": { "path": "/readyz", "port": "health", "scheme": "HTTPS" } },
        }));
        let uri = "https://10.243.0.3:8081/readyz".parse().unwrap();
        assert_eq!(asked(&container), Question::Http { uri, headers: Vec::new() });
    }

    #[test]
    fn probe_of_an_unknown_port_never_passes() {
        let container = container(&json!({ "name": "c", "readinessProbe": { "httpGet": { "port": "unknown" } } }));
        assert_eq!(asked(&container), Question::Tcp { port: 0 });
    }

    #[test]
    fn startup_probe_decides_without_readiness_probe_and_liveness_never() {
        let startup = container(&json!({ "name": "c", "startupProbe": { "tcpSocket": { "port": 1 } } }));
        assert_eq!(asked(&startup), Question::Tcp { port: 1 });
        let liveness = container(&json!({ "name": "c", "livenessProbe": { "tcpSocket": { "port": 1 } } }));
        assert_eq!(deciding(&liveness), None);
        let exec = container(&json!({ "name": "c", "readinessProbe": { "exec": { "command": ["true"] } } }));
        assert_eq!(asked(&exec), Question::Nothing);
    }

    #[test]
    fn container_turns_ready_and_unready_at_its_thresholds() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(2), ..Probe::default() };
        let states = [true, true, false, true, false, false].iter().scan(Readiness::default(), |readiness, passed| {
            *readiness = readiness.after(*passed, &probe);
            Some(readiness.ready)
        });
        assert_eq!(states.collect::<Vec<_>>(), [false, true, true, true, true, false]);
    }

    #[test]
    fn container_that_is_not_ready_is_probed_eagerly() {
        let probe = Probe { period_seconds: Some(5), ..Probe::default() };
        assert_eq!(Readiness::default().pause(&probe), EAGER);
        let ready = Readiness::default().after(true, &probe);
        assert_eq!(ready.pause(&probe), Duration::from_secs(5));
    }
}
