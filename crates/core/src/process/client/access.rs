//! Address, trust and credentials of the API server, read from a kubeconfig or from a Pod's files.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use kube::Config;
use kube::client::ConfigExt;
use kube::client::middleware::AuthLayer;
use kube::config::{AuthInfo, KubeConfigOptions};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::proxy::{self, Route};
use super::{kubeconfig, plugin, provider, tls};
use crate::process::unreachable::address;
use crate::start_error::StartError;

/// How long the token of a file is used before the file is read again, as in client-go.
const TOKEN_FILE: Duration = Duration::from_secs(60);
/// A plugin runs again this long before its credentials end, or after two thirds of their time if that is later.
const MARGIN: Duration = Duration::from_secs(60);

const USER_ATTEMPT: &str = "cannot use the user of the kubeconfig";
const USER: &str = "correct the user of the kubeconfig";
const UNUSED_PROXY: &str = "http://unused.invalid";

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
    /// Adds the token to requests, if there is one. All clients share it, so that one of them renews it for all.
    pub(super) token: Option<Arc<AuthLayer>>,
    /// Whether a plugin or a login server may have given the credentials.
    pub(super) asks_others: bool,
    /// The context that is the current one.
    pub(super) context: Option<String>,
}

impl Access {
    /// Whether another reading gave the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        json!(self.config.auth_info) == json!(other.config.auth_info) && self.config.root_cert == other.config.root_cert
    }
}

impl Source {
    /// Reads everything, and runs the plugin if there is one.
    pub(super) async fn read(&self) -> Result<Access, StartError> {
        let (mut config, Chosen { context, proxy_url }) = self.config().await?;
        // A reconcile has a time limit and is retried with backoff. Retries of the client would hide both.
        config.default_retry = false;
        // Detects a peer that accepts a request and never answers, and closes idle connections before they can go stale.
        // It is longer than a watch lasts.
        config.read_timeout = Some(Duration::from_secs(40));
        let variable = |name: &str| env::var(name).ok();
        let proxy = proxy::choose(&config.cluster_url, proxy_url.as_deref(), &variable)?;
        let proxy_address = proxy.as_ref().map(|proxy| proxy.uri().clone());
        let asks_others = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
        let lifetime = resolve(&mut config.auth_info).await?;
        check(&config.auth_info).map_err(StartError::because(USER_ATTEMPT, USER))?;
        config.extra_headers_layer().map_err(StartError::because(USER_ATTEMPT, USER))?;
        let token = config.auth_layer().map_err(StartError::because(USER_ATTEMPT, USER))?;
        let mut connector = TimeoutConnector::new(tls::connector(&config, Route::new(proxy))?);
        connector.set_connect_timeout(config.connect_timeout);
        connector.set_read_timeout(config.read_timeout);
        connector.set_write_timeout(config.write_timeout);
        // Otherwise the time that a connection was idle counts against the answer to its next request.
        connector.set_reset_reader_on_write(true);
        let token = token.map(Arc::new);
        Ok(Access { config, connector, proxy: proxy_address, lifetime, token, asks_others, context })
    }

    async fn config(&self) -> Result<(Config, Chosen), StartError> {
        let home = env::home_dir();
        let (flag, variable) = (self.flag.clone(), env::var_os("KUBECONFIG"));
        // Reading a file may block, for example a pipe without a writer.
        let read = spawn_blocking(move || kubeconfig::read(flag.as_deref(), variable.as_deref(), home.as_deref()));
        let read = read.await.map_err(StartError::because("cannot read the kubeconfig", "report this"))?;
        let Some(mut kubeconfig) = read? else {
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
        let cluster = kubeconfig::cluster(&kubeconfig);
        if cluster.is_some_and(|it| {
            it.insecure_skip_tls_verify == Some(true)
                && (it.certificate_authority.is_some() || it.certificate_authority_data.is_some())
        }) {
            return Err(StartError::because("cannot use the cluster of the kubeconfig", "remove one of them")(
                "it has both insecure-skip-tls-verify and a certificate authority",
            ));
        }
        let proxy_url = cluster.and_then(|cluster| cluster.proxy_url.clone());
        // Otherwise kube would read HTTPS_PROXY, and blame the kubeconfig for it.
        for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
            cluster.proxy_url = Some(UNUSED_PROXY.to_owned());
        }
        let name = context.as_deref().unwrap_or_default();
        let attempt = format!("cannot use context {name} of the kubeconfig");
        let remedy = "see `kubectl config view`, and correct the context, its cluster and its user";
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(StartError::because(attempt, remedy))?;
        with_scheme(&mut config);
        check_server(&config.cluster_url).map_err(|cause| {
            let attempt = format!("cannot use server {} of the kubeconfig", address(&config.cluster_url));
            StartError::because(attempt, "write https://HOST:PORT")(cause)
        })?;
        Ok((config, Chosen { context, proxy_url }))
    }
}

/// What a kubeconfig says beside kube's [`Config`].
#[derive(Default)]
struct Chosen {
    context: Option<String>,
    proxy_url: Option<String>,
}

/// What no connection would ever come about with.
fn check_server(server: &Uri) -> Result<(), String> {
    if let Some(scheme) = server.scheme_str().filter(|scheme| !matches!(*scheme, "http" | "https")) {
        return Err(format!("{scheme} is not supported"));
    }
    // The parser takes any digits, and the connector would use the port of the scheme.
    let authority = server.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') && port.parse::<u16>().is_err() => Err(format!("{port} is no port")),
        _ => Ok(()),
    }
}

/// What a request would fail with: kube panics at a token that no header can hold.
fn check(auth: &AuthInfo) -> Result<(), &'static str> {
    if auth.token.is_some() && auth.username.is_some() {
        return Err("it has both a token and a username");
    }
    let whole = json!(auth);
    if whole.get("token").and_then(Value::as_str).is_some_and(|token| HeaderValue::from_str(token).is_err()) {
        return Err("its token holds a line break or another control character");
    }
    let further =
        [auth.impersonate_groups.is_some(), auth.impersonate_uid.is_some(), auth.impersonate_user_extra.is_some()];
    if auth.impersonate.is_none() && further.contains(&true) {
        return Err("it has as-groups, as-uid or as-user-extra without as");
    }
    Ok(())
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

/// Replaces a plugin and a token file by what they give. Returns how long that may be used. As in client-go, the token of
/// a file wins over the token of the kubeconfig, and both win over a plugin and an auth-provider.
///
/// kube would read a token file itself, but keep a token that the API server refuses for a minute, and take the line
/// break at its end for a part of it. There is no issue upstream that would end this.
async fn resolve(auth: &mut AuthInfo) -> Result<Option<Duration>, StartError> {
    if let Some(provider) = &mut auth.auth_provider {
        if auth.exec.is_some() {
            return Err(StartError::because(USER_ATTEMPT, "remove one of them")("it has both auth-provider and exec"));
        }
        provider::complete(provider)?;
    }
    if let Some(file) = auth.token_file.take() {
        let attempt = format!("cannot use the token file {file}");
        match tokio::fs::read_to_string(&file).await.map(|token| token.trim().to_owned()) {
            Ok(token) if !token.is_empty() => auth.token = Some(token.into()),
            _ if auth.token.is_some() => {}
            Ok(_) => return Err(StartError::because(attempt, USER)("it is empty")),
            Err(error) => return Err(StartError::because(attempt, USER)(error)),
        }
        (auth.exec, auth.auth_provider) = (None, None);
        return Ok(Some(TOKEN_FILE));
    }
    if auth.token.is_some() || auth.username.is_some() {
        (auth.exec, auth.auth_provider) = (None, None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_that_no_request_could_carry_is_refused() {
        for (user, cause) in [
            (json!({ "token": "a\nb" }), "line break"),
            (json!({ "token": "a", "username": "b", "password": "c" }), "both a token and a username"),
            (json!({ "as-groups": ["a"] }), "without as"),
            (json!({ "as-user-extra": { "a": ["b"] } }), "without as"),
        ] {
            let user: AuthInfo = serde_json::from_value(user).unwrap();
            assert!(check(&user).unwrap_err().contains(cause), "{cause}");
        }
        for user in [json!({ "token": "ü" }), json!({ "as": "a", "as-groups": ["b"] }), json!({ "username": "a" })] {
            let user: AuthInfo = serde_json::from_value(user).unwrap();
            assert_eq!(check(&user), Ok(()));
        }
    }

    #[test]
    fn server_that_no_connection_could_reach_is_refused() {
        for (server, is_usable) in [
            ("https://a", true),
            ("https://[::1]", true),
            ("https://[::1]:6443/path", true),
            ("http://a:1/", true),
            ("https://a:99999", false),
            ("https://[::1]:99999", false),
            ("ftp://a:1", false),
        ] {
            assert_eq!(check_server(&server.parse().unwrap()).is_ok(), is_usable, "{server}");
        }
    }

    /// The token after the user of a kubeconfig is resolved, and its lifetime in seconds. `@` stands for a token file.
    async fn resolved(user: Value, content: &str) -> Result<(Option<String>, Option<u64>), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, content).unwrap();
        let user = user.to_string().replace('@', file.path().to_str().unwrap());
        let mut auth: AuthInfo = serde_json::from_str(&user).unwrap();
        let lifetime = resolve(&mut auth).await.map_err(|error| error.to_string())?;
        assert!(auth.exec.is_none() && auth.token_file.is_none());
        assert!(auth.token.is_none() || auth.auth_provider.is_none());
        let token = json!(auth).get("token").and_then(Value::as_str).map(str::to_owned);
        Ok((token, lifetime.map(|lifetime| lifetime.as_secs())))
    }

    #[tokio::test]
    async fn credentials_apply_in_the_order_of_client_go() {
        let print = r#"echo '{"kind":"ExecCredential","apiVersion":"v","status":{"token":"plugin"}}'"#;
        let exec = json!({ "command": "sh", "args": ["-c", print], "apiVersion": "v", "interactiveMode": "Never" });
        let token = |token: &str, lifetime| Ok((Some(token.to_owned()), lifetime));
        let failing = json!({ "command": "/nowhere/plugin", "apiVersion": "v" });
        assert_eq!(resolved(json!({}), "").await, Ok((None, None)));
        assert_eq!(resolved(json!({ "token": "own" }), "").await, token("own", None));
        assert_eq!(resolved(json!({ "tokenFile": "@" }), "file\n").await, token("file", Some(60)));
        assert_eq!(resolved(json!({ "tokenFile": "@", "token": "own" }), " file ").await, token("file", Some(60)));
        assert_eq!(resolved(json!({ "tokenFile": "@", "token": "own" }), "").await, token("own", Some(60)));
        assert_eq!(resolved(json!({ "tokenFile": "/nowhere/a", "token": "own" }), "").await, token("own", Some(60)));
        assert_eq!(resolved(json!({ "exec": exec }), "").await, token("plugin", None));
        assert_eq!(resolved(json!({ "exec": failing, "token": "own" }), "").await, token("own", None));
        assert_eq!(resolved(json!({ "exec": failing, "tokenFile": "@" }), "file").await, token("file", Some(60)));
        let provider = json!({ "name": "oidc", "config": { "refresh-token": "r" } });
        assert_eq!(resolved(json!({ "auth-provider": provider, "token": "own" }), "").await, token("own", None));
        assert_eq!(resolved(json!({ "auth-provider": provider, "tokenFile": "@" }), "f").await, token("f", Some(60)));
        assert_eq!(resolved(json!({ "auth-provider": provider }), "").await, Ok((None, None)));
        let both = resolved(json!({ "auth-provider": provider, "exec": failing }), "").await.unwrap_err();
        assert!(both.contains("both auth-provider and exec; remove one"), "{both}");
        assert!(
            resolved(json!({ "tokenFile": "@" }), "\n").await.unwrap_err().contains("it is empty; correct the user")
        );
        assert!(resolved(json!({ "tokenFile": "/nowhere/a" }), "").await.unwrap_err().contains("/nowhere/a: No such"));
    }

    #[test]
    fn credentials_are_renewed_before_they_end() {
        let now = Timestamp::constant(1_800_000_000, 0);
        for (left, used) in [(3600, 3540), (180, 120), (90, 60), (3, 2), (0, 0), (-3600, 0)] {
            let end = Timestamp::from_second(now.as_second() + left).unwrap();
            assert_eq!(usable(now, end), Duration::from_secs(used), "{left} s left");
        }
    }

    #[test]
    fn a_server_without_scheme_gets_that_of_client_go() {
        for (certificate, expected) in [(None, "http://10.0.0.1:6443/"), (Some("c"), "https://10.0.0.1:6443/")] {
            let mut config = Config::new("10.0.0.1:6443".parse().unwrap());
            config.auth_info.client_certificate = certificate.map(str::to_owned);
            with_scheme(&mut config);
            assert_eq!(config.cluster_url, expected);
        }
    }
}
