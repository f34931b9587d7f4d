//! Which proxy leads to the API server, and how a connection gets there.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::start_error::StartError;

/// Chooses the proxy for `server` as Go does: `proxy-url` of the kubeconfig, else the environment
/// (`golang.org/x/net/http/httpproxy`), which never applies to the loopback.
///
/// kube ignores `NO_PROXY` unless its feature http-proxy is on, and compares it with the address of the proxy then,
/// not of the server. There is no issue upstream that would end this function (kube-rs/kube#1203 is closed).
pub(super) fn choose(
    server: &Uri,
    proxy_url: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Intercept>, StartError> {
    let any = |names: [&str; 2]| names.into_iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let host = server.host().unwrap_or_default();
    let (name, url, exceptions) = match proxy_url {
        Some(url) => ("proxy-url of the kubeconfig", url.to_owned(), String::new()),
        None if is_loopback(host) => return Ok(None),
        None => {
            let is_http = server.scheme_str() == Some("http");
            let names = if is_http { ["HTTP_PROXY", "http_proxy"] } else { ["HTTPS_PROXY", "https_proxy"] };
            let Some(url) = any(names) else { return Ok(None) };
            let port = server.port_u16().unwrap_or(if is_http { 80 } else { 443 });
            let exceptions = any(["NO_PROXY", "no_proxy"]).unwrap_or_default();
            let exceptions: Vec<_> = exceptions.split(',').filter_map(|entry| exception(entry, host, port)).collect();
            (names[0], url, exceptions.join(","))
        }
    };
    let intercept = Matcher::builder().all(&url).no(exceptions).build().intercept(server);
    let scheme =
        Matcher::builder().all(url).build().intercept(server).and_then(|it| it.uri().scheme_str().map(str::to_owned));
    match scheme.as_deref() {
        Some("http" | "socks5" | "socks5h") => Ok(intercept),
        // Never print the URL; it may contain a password.
        scheme => {
            let cause =
                scheme.map_or_else(|| "it is no URL of a proxy".to_owned(), |it| format!("{it} is not supported"));
            Err(StartError::because(format!("cannot use {name}"), "use http://HOST:PORT or socks5://HOST:PORT")(cause))
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Translates an entry of `NO_PROXY` into hyper-util's rules, which know neither ports nor `*.`, and take `.domain` for
/// the domain too. Returns `None` if the entry cannot match this host and port.
fn exception<'a>(entry: &'a str, host: &str, port: u16) -> Option<&'a str> {
    let entry = entry.trim();
    let with_port = entry.rsplit_once(':').and_then(|(name, port)| {
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let port = port.parse::<u16>().ok()?;
        (entry.starts_with('[') || !name.contains(':')).then_some((name, port))
    });
    let name = match with_port {
        Some((name, only)) if only == port => name,
        Some(_) => return None,
        None => entry,
    };
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let is_parent = name.strip_prefix('.').is_some_and(|domain| domain.eq_ignore_ascii_case(host));
    (!is_parent).then_some(name)
}

/// Makes TCP connections to the API server, through the proxy if there is one.
#[derive(Clone)]
pub(super) enum Route {
    Direct(HttpConnector),
    Tunnel(Tunnel<HttpConnector>),
    Socks(SocksV5<HttpConnector>),
}

impl Route {
    pub(super) fn new(proxy: Option<Intercept>) -> Self {
        let tcp = tcp();
        let Some(proxy) = proxy else { return Self::Direct(tcp) };
        if proxy.uri().scheme_str() == Some("http") {
            let tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            return Self::Tunnel(match proxy.basic_auth() {
                Some(header) => tunnel.with_auth(header.clone()),
                None => tunnel,
            });
        }
        let socks = SocksV5::new(proxy.uri().clone(), tcp);
        Self::Socks(match proxy.raw_auth() {
            Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
            None => socks,
        })
    }
}

/// Sockets that notice within 45 s that packets are dropped: a probe after 15 s without a packet, and 30 s for the peer
/// to acknowledge what was sent, probes included. `TCP_NODELAY`: otherwise the first request of a connection waits 40 ms
/// until the API server's machine acknowledges the end of the TLS handshake.
///
/// To be removed once kube sets the like; it sets none (kube-rs/kube#2056 is about `TCP_NODELAY`).
fn tcp() -> HttpConnector {
    const PROBE: Duration = Duration::from_secs(15);
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBE));
    connector.set_keepalive_interval(Some(PROBE / 3));
    connector.set_keepalive_retries(Some(4));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(PROBE * 2));
    connector
}

type Connecting = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

impl Service<Uri> for Route {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(tcp) => tcp.poll_ready(context).map_err(Into::into),
            Self::Tunnel(tunnel) => tunnel.poll_ready(context).map_err(Into::into),
            Self::Socks(socks) => socks.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, server: Uri) -> Connecting {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(server);
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Tunnel(tunnel) => {
                let connecting = tunnel.call(with_port(server));
                Box::pin(async { Ok(connecting.await?) })
            }
            Self::Socks(socks) => {
                let connecting = socks.call(server);
                Box::pin(async { Ok(connecting.await?) })
            }
        }
    }
}

/// hyper-util's tunnel takes 443 for the port of each URL that has none.
fn with_port(server: Uri) -> Uri {
    let plain = server.scheme_str() == Some("http") && server.port().is_none();
    let host = server.host().filter(|_| plain);
    host.and_then(|host| format!("http://{host}:80/").parse().ok()).unwrap_or(server)
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tower::ServiceExt;

    use super::*;

    /// The proxy for a server, in an environment.
    fn chosen(server: &str, proxy_url: Option<&str>, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let proxy = choose(&server.parse().unwrap(), proxy_url, &variable).map_err(|error| error.to_string())?;
        Ok(proxy.map(|proxy| proxy.uri().to_string()))
    }

    #[test]
    fn the_environment_names_the_proxy_in_either_case_and_with_or_without_a_scheme() {
        let proxy = Ok(Some("http://proxy.example:3128/".to_owned()));
        let server = "https://api.example:6443/";
        assert_eq!(chosen(server, None, &[]), Ok(None));
        assert_eq!(chosen(server, None, &[("HTTP_PROXY", "http://proxy.example:3128")]), Ok(None));
        for environment in [
            &[("HTTPS_PROXY", "http://proxy.example:3128")][..],
            &[("https_proxy", "http://user:secret@proxy.example:3128/")],
            &[("HTTPS_PROXY", ""), ("https_proxy", "proxy.example:3128")],
            &[("HTTPS_PROXY", "http://proxy.example:3128"), ("https_proxy", "http://other.example")],
            &[("HTTPS_PROXY", "http://proxy.example:3128"), ("NO_PROXY", ""), ("no_proxy", " , ")],
        ] {
            assert_eq!(chosen(server, None, environment), proxy, "{environment:?}");
        }
        assert_eq!(chosen("http://api.example/", None, &[("http_proxy", "proxy.example:3128")]), proxy);
    }

    /// Expectations are those of `httpproxy.Config` in Go.
    #[test]
    fn no_proxy_excepts_what_go_would_except() {
        for (server, exceptions, is_excepted) in [
            ("https://api.example:6443", "*", true),
            ("https://api.example:6443", "example", true),
            ("https://api.example:6443", "api.example", true),
            ("https://api.example:6443", "API.Example", true),
            ("https://api.example:6443", "pi.example", false),
            ("https://api.example:6443", ".api.example", false),
            ("https://api.example:6443", "*.api.example", false),
            ("https://api.example:6443", "other, *.example ,", true),
            ("https://api.example:6443", ".example", true),
            ("https://api.example:6443", "api.example:6443", true),
            ("https://api.example:6443", "api.example:443", false),
            ("https://api.example", "api.example:443", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
            ("https://10.1.2.3:6443", "10.1.2.3:443", false),
            ("https://10.1.2.3:6443", "10.1.2.4,11.0.0.0/8,1.2.3", false),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "fd00::1", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "[fd00::1]:443", false),
        ] {
            for name in ["NO_PROXY", "no_proxy"] {
                let environment = [("HTTPS_PROXY", "http://proxy.example:1"), (name, exceptions)];
                let proxy = chosen(server, None, &environment).unwrap();
                assert_eq!(proxy.is_none(), is_excepted, "{server} {exceptions}");
            }
        }
    }

    #[test]
    fn the_environment_never_applies_to_the_loopback() {
        for server in ["https://127.0.0.1:6443", "https://127.8.8.8", "https://localhost:1", "https://[::1]:6443"] {
            assert_eq!(chosen(server, None, &[("HTTPS_PROXY", "http://127.0.0.1:9")]), Ok(None), "{server}");
        }
    }

    #[test]
    fn proxy_url_of_the_kubeconfig_wins_over_the_environment_and_over_exceptions() {
        let environment = [("HTTPS_PROXY", "http://proxy.example:1"), ("NO_PROXY", "*")];
        let proxy = chosen("https://127.0.0.1:6443", Some("socks5://own.example:1080"), &environment);
        assert_eq!(proxy.unwrap().as_deref(), Some("socks5://own.example:1080/"));
    }

    #[test]
    fn an_unsupported_proxy_is_an_error_without_its_password() {
        for (url, cause) in [("https://u:secret@p.example", "https is not supported"), ("ftp://secret", "no URL of a")]
        {
            let error = chosen("https://api.example", None, &[("https_proxy", url)]).unwrap_err();
            assert!(error.starts_with("cannot use HTTPS_PROXY: ") && error.contains(cause), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    /// Connects to `server` through a proxy that is a listener here. Returns the first `bytes` that the proxy reads
    /// after it has sent `greeting`s for each read.
    async fn through(scheme: &str, answers: &[&[u8]]) -> (Vec<String>, Result<(), BoxError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://user:pass%40@{}", listener.local_addr().unwrap());
        let server: Uri = "https://api.example:6443".parse().unwrap();
        let route = Route::new(choose(&server, Some(&url), &|_| None).unwrap());
        let proxy = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            for answer in answers {
                let mut buffer = [0; 1024];
                let length = stream.read(&mut buffer).await.unwrap();
                read.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                stream.write_all(answer).await.unwrap();
            }
            read
        };
        let (read, connected) = tokio::join!(proxy, route.oneshot(server));
        (read, connected.map(drop))
    }

    #[tokio::test]
    async fn an_http_proxy_is_asked_for_a_tunnel() {
        let (read, connected) = through("http", &[b"HTTP/1.1 200 OK\r\n\r\n"]).await;
        connected.unwrap();
        assert!(read[0].starts_with("CONNECT api.example:6443 HTTP/1.1\r\n"), "{read:?}");
        // base64 of user:pass@
        assert!(read[0].to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnzqa=="), "{read:?}");
    }

    #[tokio::test]
    async fn a_socks_proxy_resolves_the_name() {
        let (read, connected) = through("socks5", &[&[5, 2], &[1, 0], &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]]).await;
        connected.unwrap();
        assert!(read[1].contains("user") && read[2].contains("api.example"), "{read:?}");
    }

    #[test]
    fn a_tunnel_to_a_server_without_port_has_the_port_of_its_scheme() {
        assert_eq!(with_port("http://[::1]/a".parse().unwrap()), "http://[::1]:80/");
        for kept in ["http://api.example:8080/a", "https://api.example/a"] {
            assert_eq!(with_port(kept.parse().unwrap()), kept);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_notices_dropped_packets_within_45_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let stream = Route::new(None).oneshot(server).await.unwrap().into_inner();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let (idle, limit) = (socket.tcp_keepalive_time().unwrap(), socket.tcp_user_timeout().unwrap().unwrap());
        let interval = socket.tcp_keepalive_interval().unwrap();
        // Linux gives up at the first probe after the limit. Data that is not acknowledged has the limit alone.
        assert!(idle.max(limit) + interval <= Duration::from_secs(45), "{idle:?} {interval:?} {limit:?}");
    }
}
