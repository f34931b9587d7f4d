//! Address, trust and credentials of the API server, read from a kubeconfig or from a Pod's files.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use kube::Config;
use kube::config::{AuthInfo, KubeConfigOptions};
use serde_json::json;

use super::proxy::{self, Route};
use super::{kubeconfig, plugin, tls};
use crate::start_error::StartError;

/// How long the token of a file is used before the file is read again, as in client-go.
const TOKEN_FILE: Duration = Duration::from_secs(60);
/// A plugin runs again this long before its credentials end, or after two thirds of their time if that is later.
const MARGIN: Duration = Duration::from_secs(60);

/// Where access is read from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The file of `--kubeconfig`.
    pub(super) flag: Option<PathBuf>,
    /// The context that was the current one at the start. Another one is another cluster.
    pub(super) context: Option<String>,
}

/// What one reading gives.
#[derive(Clone)]
pub(super) struct Access {
    /// Without a plugin and without a token file: what they gave is in it.
    pub(super) config: Config,
    pub(super) connector: TimeoutConnector<HttpsConnector<Route>>,
    /// The proxy on the way.
    pub(super) proxy: Option<Uri>,
    /// How long until it has to be read again, if it ever has to.
    pub(super) lifetime: Option<Duration>,
    /// Whether a plugin gave the credentials.
    pub(super) is_from_plugin: bool,
    /// The context that is the current one.
    pub(super) context: Option<String>,
}

impl Source {
    /// Reads everything, and runs the plugin if there is one.
    pub(super) async fn read(&self) -> Result<Access, StartError> {
        let (mut config, Chosen { context, proxy_url }) = self.config().await?;
        // A reconcile has a time limit and is retried with backoff. Retries of the client would hide both.
        config.default_retry = false;
        // Detects a peer that accepts a request and never answers. It is longer than a watch may be idle.
        config.read_timeout = Some(Duration::from_secs(300));
        let variable = |name: &str| env::var(name).ok();
        let proxy = proxy::choose(&config.cluster_url, proxy_url.as_deref(), &variable)?;
        let proxy_address = proxy.as_ref().map(|proxy| proxy.uri().clone());
        let is_from_plugin = config.auth_info.exec.is_some();
        let lifetime = resolve(&mut config.auth_info).await?;
        let mut connector = TimeoutConnector::new(tls::connector(&config, Route::new(proxy))?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        Ok(Access { config, connector, proxy: proxy_address, lifetime, is_from_plugin, context })
    }

    async fn config(&self) -> Result<(Config, Chosen), StartError> {
        let home = env::home_dir();
        let variable = env::var_os("KUBECONFIG");
        let Some(mut kubeconfig) = kubeconfig::read(self.flag.as_deref(), variable.as_deref(), home.as_deref())? else {
            let attempt =
                "cannot find an API server: no --kubeconfig, no KUBECONFIG, no ~/.kube/config, and this is no Pod";
            let remedy = "give --kubeconfig FILE or set KUBECONFIG";
            let config = Config::incluster().map_err(StartError::because(attempt, remedy))?;
            return Ok((config, Chosen::default()));
        };
        if self.context.is_some() {
            kubeconfig.current_context.clone_from(&self.context);
        }
        let context = kubeconfig.current_context.clone();
        let proxy_url = kubeconfig::cluster(&kubeconfig).and_then(|cluster| cluster.proxy_url.clone());
        let name = context.as_deref().unwrap_or_default();
        let attempt = format!("cannot use context {name} of the kubeconfig");
        let remedy = "see `kubectl config view`, and correct the context, its cluster and its user";
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(StartError::because(attempt, remedy))?;
        with_scheme(&mut config);
        Ok((config, Chosen { context, proxy_url }))
    }
}

/// What a kubeconfig says beside kube's [`Config`].
#[derive(Default)]
struct Chosen {
    context: Option<String>,
    proxy_url: Option<String>,
}

/// Completes `server: HOST:PORT` as client-go does (`rest/url_utils.go`).
fn with_scheme(config: &mut Config) {
    let auth = &config.auth_info;
    if config.cluster_url.scheme().is_none() {
        let has_certificate = auth.client_certificate.is_some() || auth.client_certificate_data.is_some();
        let is_tls = config.root_cert.is_some() || config.accept_invalid_certs || has_certificate;
        let scheme = if is_tls { "https" } else { "http" };
        if let Ok(url) = format!("{scheme}://{}", config.cluster_url).parse() {
            config.cluster_url = url;
        }
    }
}

/// Replaces a plugin and a token file by what they give. Returns how long that may be used.
///
/// kube would read a token file itself, but keep a token that the API server refuses for a minute, and take the line
/// break at its end for a part of it. There is no issue upstream that would end this.
async fn resolve(auth: &mut AuthInfo) -> Result<Option<Duration>, StartError> {
    const USER: &str = "correct the user of the kubeconfig";
    if let Some(file) = auth.token_file.take_if(|_| auth.token.is_none()) {
        let attempt = format!("cannot read the token file {file}");
        let token = tokio::fs::read_to_string(&file).await.map_err(StartError::because(attempt, USER))?;
        auth.token = Some(token.trim().to_owned().into());
        return Ok(Some(TOKEN_FILE));
    }
    let Some(exec) = auth.exec.take() else { return Ok(None) };
    let credentials = plugin::run(&exec).await?;
    if let Some(token) = credentials.token {
        auth.token = Some(token.into());
    }
    if let (Some(certificate), Some(key)) = (credentials.client_certificate_data, credentials.client_key_data) {
        let pem = |text: String| ByteString(text.into_bytes());
        let printed = json!({ "client-certificate-data": pem(certificate), "client-key-data": pem(key) });
        let printed = serde_json::from_value::<AuthInfo>(printed);
        let printed =
            printed.map_err(|_| StartError::because("cannot use the credentials of the plugin", USER)("not text"))?;
        auth.client_certificate_data = printed.client_certificate_data;
        auth.client_key_data = printed.client_key_data;
    }
    Ok(credentials.expiration_timestamp.map(|end| usable(Timestamp::now(), end)))
}

/// How long credentials that end at `end` are used.
fn usable(now: Timestamp, end: Timestamp) -> Duration {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    left.saturating_sub(MARGIN).max(left / 3 * 2)
}
