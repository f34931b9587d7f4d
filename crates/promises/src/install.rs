//! Installs a controller as gardenlet does, for the suite of installed controllers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use extension_conformance::{ensure, text};
use extension_contract::json;
use gardener_testbed::assets;
use gardener_testbed::bed::TestBed;
use gardener_testbed::container::{ContainerOptions, Image, Mount};
use gardener_testbed::manifests;
use gardener_testbed::workspace::root;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::Api;
use kube::api::PostParams;
use libtest_mimic::Failed;
use mock_core::deploy::rbac;
use mock_core::kind::MockKind;
use mock_gardenlet::installation::Installation;
use serde_json::{Value, json};

use crate::host::{Host, Installed, Place};

/// Where a Pod finds the token of its ServiceAccount.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long the token is valid, in seconds. No suite takes longer.
const TOKEN_EXPIRES: i64 = 3600;

/// Installs the kind's registration as gardenlet does, and unpacks its image from the folder `images`.
///
/// Returns where controllers run, and the user of their ServiceAccount. The kubeconfig of that user is in `folder`.
pub(crate) async fn install<K: MockKind>(
    bed: &TestBed,
    name: &str,
    images: &Path,
    folder: &Path,
) -> Result<(Host, String), Failed> {
    let registration = root().join(format!("deploy/controllerregistrations/{name}.yaml"));
    let seed = manifests::read(&root().join("example/40-seed.yaml"))?;
    let seed = seed.iter().find(|object| json::text(object, "kind") == Some("Seed")).ok_or("there is no Seed")?;
    #[expect(clippy::print_stderr, reason = "building helm takes a minute")]
    let helm = assets::helm(&|line| eprintln!("{line}"))?;
    let installation = Installation::render(&registration, seed, &helm, bed.dir())?;
    allows_no_more_than_was_tested::<K>(&installation, name)?;
    installation.apply(&bed.client()).await?;

    let unpacked = bed.dir().join("image");
    fs::create_dir(&unpacked)?;
    let image = Image::open(&images.join(format!("{name}.tar")), &unpacked)?;
    let pod = installation.pod()?;
    let account = pod.service_account_name.clone().unwrap_or_default();
    let kubeconfig = account_kubeconfig(bed, &installation.namespace, &account).await?;
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string())?;

    let mounted = folder.join("serviceaccount");
    fs::create_dir(&mounted)?;
    let ByteString(ca) = serde_json::from_value(at(&kubeconfig, "/clusters/0/cluster/certificate-authority-data"))?;
    fs::write(mounted.join("ca.crt"), ca)?;
    fs::write(mounted.join("token"), text(&kubeconfig, "/users/0/user/token"))?;
    fs::write(mounted.join("namespace"), &installation.namespace)?;
    let container = installation.container()?;
    let server: http::Uri = text(&kubeconfig, "/clusters/0/cluster/server").parse()?;
    let mut env: BTreeMap<String, String> =
        container.env.into_iter().flatten().map(|env| (env.name, env.value.unwrap_or_default())).collect();
    env.insert("KUBERNETES_SERVICE_HOST".to_owned(), server.host().unwrap_or_default().to_owned());
    env.insert("KUBERNETES_SERVICE_PORT".to_owned(), server.port_u16().unwrap_or_default().to_string());
    let pod = ContainerOptions {
        args: container.args.unwrap_or_default(),
        env: env.into_iter().collect(),
        mounts: vec![Mount { source: mounted, destination: SERVICE_ACCOUNT.into() }],
    };
    let folder = Mount { source: folder.to_owned(), destination: folder.to_owned() };
    let user = format!("system:serviceaccount:{}:{account}", installation.namespace);
    let place = Place::Installed(Box::new(Installed { installation, image, pod, folder }));
    Ok((Host { place, kubeconfig: path }, user))
}

/// Fails if the chart allows a request that the suite does not prove to be needed.
fn allows_no_more_than_was_tested<K: MockKind>(installation: &Installation, name: &str) -> Result<(), Failed> {
    let allowed = installation.object::<ClusterRole>("ClusterRole")?.rules;
    ensure(allowed == Some(rbac::rules::<K>(K::KIND.usual_classes())), format!("the ClusterRole allows {allowed:#?}"))?;
    let leases = rbac::lease_rules(name);
    let allowed = installation.object::<Role>("Role")?.rules.unwrap_or_default();
    let beyond: Vec<_> = allowed.iter().filter(|rule| !leases.contains(rule)).collect();
    ensure(beyond.is_empty(), format!("the Role allows also {beyond:#?}"))
}

/// A kubeconfig with a token of the ServiceAccount.
async fn account_kubeconfig(bed: &TestBed, namespace: &str, account: &str) -> Result<Value, Failed> {
    let accounts: Api<ServiceAccount> = Api::namespaced(bed.client(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_EXPIRES), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = answer.status.ok_or("the API server gave no token")?.token;
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(bed.kubeconfig())?)?;
    let user = kubeconfig.pointer_mut("/users/0/user").ok_or("the kubeconfig has no user")?;
    *user = json!({ "token": token });
    Ok(kubeconfig)
}

fn at(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}
