//! Access to a test bed's API server: keys, tokens, kubeconfigs, clients and grants.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{
    NonResourceRule, ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::options::{ADMIN, TESTBED};
use crate::certificate::Certificate;
use crate::error::BedError;

const EFFECTIVE_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The files with which kube-apiserver authenticates itself and its users.
#[derive(Debug)]
pub(super) struct Credentials {
    pub(super) serving: Certificate,
    /// Authenticates kube-apiserver when it forwards requests to an aggregated API server.
    pub(super) proxy: Certificate,
    pub(super) service_account_private_key: PathBuf,
    pub(super) service_account_public_key: PathBuf,
    pub(super) tokens: PathBuf,
}

/// The users of one API server.
#[derive(Debug)]
pub(super) struct Access {
    credentials: Credentials,
    admin_kubeconfig: PathBuf,
    kubeconfigs: PathBuf,
    users: Vec<String>,
}

impl Access {
    /// Creates new keys and tokens, and a kubeconfig for each user.
    pub(super) fn create(folder: &Path, port: u16, users: &[String]) -> Result<Self, BedError> {
        let mut all: Vec<String> = vec![ADMIN.to_owned(), TESTBED.to_owned()];
        for user in users {
            if all.contains(user) || !is_name(user) {
                return Err(BedError::UserName(user.clone()));
            }
            all.push(user.clone());
        }

        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(BedError::failed(format_args!("write {}", path.display())))?;
            Ok::<_, BedError>(path)
        };
        let serving = Certificate::create(folder, "tls", &["127.0.0.1", "localhost"])?;
        let service_accounts =
            rcgen::KeyPair::generate().map_err(BedError::failed("create the key of service accounts"))?;

        let kubeconfigs = folder.join("kubeconfigs");
        fs::create_dir(&kubeconfigs).map_err(BedError::failed(format_args!("create {}", kubeconfigs.display())))?;
        let mut tokens = Vec::new();
        for user in &all {
            let token = random_token()?;
            let groups = if [ADMIN, TESTBED].contains(&user.as_str()) { "system:masters" } else { "" };
            tokens.push([token.as_str(), user, user, groups].join(","));
            let path = kubeconfig_path(&kubeconfigs, user);
            let text = kubeconfig(port, &serving.pem(), user, &token);
            fs::write(&path, text).map_err(BedError::failed(format_args!("write {}", path.display())))?;
        }

        Ok(Self {
            credentials: Credentials {
                serving,
                proxy: Certificate::create(folder, "proxy", &[])?,
                service_account_private_key: write("service-account.key", &service_accounts.serialize_pem())?,
                service_account_public_key: write("service-account.pub", &service_accounts.public_key_pem())?,
                tokens: write("tokens.csv", &tokens.join("\n"))?,
            },
            admin_kubeconfig: kubeconfig_path(&kubeconfigs, ADMIN),
            kubeconfigs,
            users: all,
        })
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    pub(super) fn kubeconfig(&self, user: &str) -> Result<PathBuf, BedError> {
        if self.users.iter().any(|known| known == user) {
            Ok(kubeconfig_path(&self.kubeconfigs, user))
        } else {
            Err(BedError::NoSuchUser(user.to_owned()))
        }
    }

    /// A client with kube's defaults, which retries requests.
    pub(super) async fn client(&self, user: &str) -> Result<Client, BedError> {
        connect(self.config(user).await?)
    }

    /// A client for polling. It returns an error at once while the server is not ready.
    pub(super) async fn client_without_retries(&self, user: &str) -> Result<Client, BedError> {
        let mut config = self.config(user).await?;
        config.default_retry = false;
        connect(config)
    }

    async fn config(&self, user: &str) -> Result<Config, BedError> {
        let doing = format!("read the kubeconfig of {user:?}");
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user)?).map_err(BedError::failed(&doing))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let mut config = config.map_err(BedError::failed(doing))?;
        // As in Go, no proxy leads to the loopback. kube takes HTTPS_PROXY for every server, and compares NO_PROXY, if it
        // reads it at all, with the address of the proxy (kube-rs/kube#1203 is closed nevertheless).
        config.proxy_url = None;
        Ok(config)
    }

    pub(super) async fn grant(&self, user: &str, rules: Vec<PolicyRule>) -> Result<(), BedError> {
        self.kubeconfig(user)?;
        let doing = format!("grant rules to {user:?}");
        let client = self.client(TESTBED).await?;
        let params = PatchParams::apply(TESTBED).force();
        let metadata = ObjectMeta { name: Some(user.to_owned()), ..ObjectMeta::default() };
        let role = ClusterRole { metadata: metadata.clone(), rules: Some(rules.clone()), ..ClusterRole::default() };
        let rbac = "rbac.authorization.k8s.io".to_owned();
        let binding = ClusterRoleBinding {
            metadata,
            role_ref: RoleRef { api_group: rbac.clone(), kind: "ClusterRole".to_owned(), name: user.to_owned() },
            subjects: Some(vec![Subject {
                api_group: Some(rbac),
                kind: "User".to_owned(),
                name: user.to_owned(),
                ..Subject::default()
            }]),
        };
        let cluster_roles: Api<ClusterRole> = Api::all(client.clone());
        cluster_roles.patch(user, &params, &Patch::Apply(role)).await.map_err(BedError::failed(&doing))?;
        let cluster_role_bindings: Api<ClusterRoleBinding> = Api::all(client);
        cluster_role_bindings.patch(user, &params, &Patch::Apply(binding)).await.map_err(BedError::failed(&doing))?;

        // The authorizer sees both objects through watches, with a delay. A review shows when it has seen them.
        let mut config = self.config(TESTBED).await?;
        config.auth_info.impersonate = Some(user.to_owned());
        let reviews: Api<SelfSubjectRulesReview> = Api::all(connect(config)?);
        let question = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec { namespace: Some("default".to_owned()) },
            ..SelfSubjectRulesReview::default()
        };
        let deadline = Instant::now() + EFFECTIVE_WITHIN;
        loop {
            let answer = reviews.create(&PostParams::default(), &question).await.map_err(BedError::failed(&doing))?;
            let status = answer.status.unwrap_or_default();
            if rules.iter().all(|rule| is_effective(rule, &status.resource_rules, &status.non_resource_rules)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = format!("the ClusterRole {user:?} has no effect");
                return Err(BedError::NoEffect { what, after: EFFECTIVE_WITHIN });
            }
            sleep(POLL).await;
        }
    }
}

fn is_effective(rule: &PolicyRule, resource_rules: &[ResourceRule], non_resource_rules: &[NonResourceRule]) -> bool {
    let is_same = |one: &Option<Vec<String>>, other: &Option<Vec<String>>| {
        one.as_deref().unwrap_or_default() == other.as_deref().unwrap_or_default()
    };
    if rule.non_resource_urls.is_some() {
        return non_resource_rules.iter().any(|effective| {
            effective.verbs == rule.verbs && is_same(&effective.non_resource_urls, &rule.non_resource_urls)
        });
    }
    resource_rules.iter().any(|effective| {
        effective.verbs == rule.verbs
            && is_same(&effective.api_groups, &rule.api_groups)
            && is_same(&effective.resources, &rule.resources)
            && is_same(&effective.resource_names, &rule.resource_names)
    })
}

fn connect(config: Config) -> Result<Client, BedError> {
    Client::try_from(config).map_err(BedError::failed("create a client of the test bed"))
}

/// Returns whether a name can be part of a file name and of a CSV file, and can name a `ClusterRole`.
fn is_name(user: &str) -> bool {
    user.starts_with(|c: char| c.is_ascii_alphanumeric())
        && user.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@".contains(c))
}

fn random_token() -> Result<String, BedError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| BedError::failed("generate a random token")(error))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn kubeconfig_path(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.yaml"))
}

fn kubeconfig(port: u16, certificate: &str, user: &str, token: &str) -> String {
    let cluster = "gardener-testbed";
    // JSON is valid YAML, so that kubectl and all libraries read it.
    format!(
        "{:#}\n",
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {
                "server": format!("https://127.0.0.1:{port}"),
                "certificate-authority-data": ByteString(certificate.as_bytes().to_owned()),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "current-context": cluster,
        })
    )
}
