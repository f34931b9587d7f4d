//! The client of the API server.

use std::path::Path;
use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::start_error::StartError;

/// Address and credentials, from this kubeconfig or from where kubectl would look.
pub(crate) async fn config(kubeconfig: Option<&Path>) -> Result<Config, StartError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let attempt = format!("cannot use kubeconfig {}", path.display());
            let remedy = "give --kubeconfig or KUBECONFIG a readable kubeconfig";
            let kubeconfig = Kubeconfig::read_from(path).map_err(StartError::because(attempt.clone(), remedy))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(StartError::because(attempt, remedy))?
        }
        None => Config::infer()
            .await
            .map_err(StartError::because("cannot find an API server", "give --kubeconfig FILE or set KUBECONFIG"))?,
    };
    // A reconcile has a time limit and is retried with backoff. Retries of the client would hide both.
    config.default_retry = false;
    // Detects a peer that accepts a request and never answers, and closes idle connections before they can go stale. It
    // is longer than a watch lasts.
    config.read_timeout = Some(Duration::from_secs(40));
    Ok(config)
}

/// The API server's URL for people, without a password.
pub(crate) fn address(config: &Config) -> String {
    let url = config.cluster_url.to_string();
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// A client with its own connections.
pub(crate) fn new(config: Config) -> Result<Client, StartError> {
    // Do not print the proxy URL; it may contain a password.
    if config.proxy_url.is_some() {
        let attempt = format!("cannot connect to {} through a proxy", address(&config));
        let remedy = "remove proxy-url from the kubeconfig, or add the API server to NO_PROXY";
        return Err(StartError::because(attempt, remedy)("proxies are not supported"));
    }
    build(config).map_err(StartError::because("cannot build a client", "check the certificates in the kubeconfig"))
}

/// Builds the client as kube does, plus `TCP_NODELAY`: without it the first request of a connection waits 40 ms until
/// the API server's machine acknowledges the end of the TLS handshake. To be removed once kube sets it
/// (kube-rs/kube#2056).
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
    fn messages_contain_no_password() {
        assert_eq!(address(&config("https://admin:secret@[::1]:6443/a/b")), "https://[::1]:6443/a/b");
        assert_eq!(address(&config("https://admin:secret@api.example")), "https://api.example/");
        assert_eq!(address(&config("https://127.0.0.1:6443/")), "https://127.0.0.1:6443/");

        let mut proxied = config("https://admin:secret@api.example");
        proxied.proxy_url = Some("http://user:secret@proxy.example".parse().unwrap());
        let Err(error) = new(proxied) else { panic!("a proxy is accepted") };
        let problem = error.to_string();
        assert!(problem.contains("https://api.example/") && !problem.contains("secret"), "{problem}");
    }
}
