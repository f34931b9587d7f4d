//! The way to the API server.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::problem::problem;

/// Where the API server is and who we are: from that kubeconfig, or from where kubectl would look.
pub(crate) async fn config(kubeconfig: Option<&Path>) -> Result<Config, String> {
    let mut config = match kubeconfig {
        Some(path) => {
            let hint = "give --kubeconfig FILE or KUBECONFIG a readable kubeconfig";
            let error = |error: &dyn Display| format!("kubeconfig {}: {error}; {hint}", path.display());
            let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(|e| error(&e))?;
            Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await
                .map_err(|e| error(&e))?
        }
        None => Config::infer()
            .await
            .map_err(problem("no API server to talk to", "give --kubeconfig FILE or set KUBECONFIG"))?,
    };
    // Rounds are bounded as a whole and retried with backoff: a client that retries by itself would hide both.
    config.default_retry = false;
    // A peer that takes a request and never answers is noticed; longer than a watch may be idle.
    config.read_timeout = Some(Duration::from_secs(300));
    Ok(config)
}

/// The API server's address for people: its URL without the password that it may hold.
pub(crate) fn address(config: &Config) -> String {
    let url = config.cluster_url.to_string();
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// A client with connections of its own.
pub(crate) fn new(config: Config) -> Result<Client, String> {
    // The URL of a proxy may hold a password: it is not told.
    if config.proxy_url.is_some() {
        let remedy = "take proxy-url out of the kubeconfig, or name the API server in NO_PROXY";
        return Err(format!("cannot go through a proxy to {}: none is supported; {remedy}", address(&config)));
    }
    build(config).map_err(problem("cannot build a client", "check the kubeconfig's certificates"))
}

/// As kube builds one, but for `TCP_NODELAY`: without it the first request of a connection waits 40 ms until the API
/// server's machine acknowledges the end of the TLS handshake.
fn build(config: Config) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config::new(url.parse().unwrap())
    }

    #[test]
    fn no_password_is_told() {
        assert_eq!(address(&config("https://admin:secret@[::1]:6443/a/b")), "https://[::1]:6443/a/b");
        assert_eq!(address(&config("https://admin:secret@api.example")), "https://api.example/");
        assert_eq!(address(&config("https://127.0.0.1:6443/")), "https://127.0.0.1:6443/");

        let mut proxied = config("https://admin:secret@api.example");
        proxied.proxy_url = Some("http://user:secret@proxy.example".parse().unwrap());
        let Err(problem) = new(proxied) else { panic!("a proxy is taken") };
        assert!(problem.contains("https://api.example/") && !problem.contains("secret"), "{problem}");
    }
}
