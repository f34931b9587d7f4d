//! A real gardener-apiserver beside a test bed's kube-apiserver: together they are the API of a garden cluster.

use std::path::Path;

use futures::future::try_join_all;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec, ServiceReference},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
};
use tokio::process::Command;

use crate::{
    bed::{BedError, TESTBED, TestBed},
    identity::Identity,
    server::{Server, on_a_free_port},
};

/// What gardener-apiserver serves: group, version, and the version's priority among those of its group.
const SERVED: [(&str, &str, i32); 5] = [
    ("core.gardener.cloud", "v1beta1", 20),
    ("core.gardener.cloud", "v1", 19),
    ("seedmanagement.gardener.cloud", "v1alpha1", 20),
    ("operations.gardener.cloud", "v1alpha1", 20),
    ("security.gardener.cloud", "v1alpha1", 20),
];
const GROUP_PRIORITY: i32 = 10_000;

const PROGRAM: &str = "gardener-apiserver";
const NAMESPACE: &str = "kube-system";
const HOST: &str = "localhost";

/// A running gardener-apiserver with all its admission plugins, reached through the kube-apiserver of its bed.
///
/// It ends when it is dropped, and with its bed. There is no gardener-controller-manager: what that would make, such
/// as a Project's namespace, is not made.
#[derive(Debug)]
pub struct Garden {
    _server: Server,
}

impl Garden {
    /// Starts it, and returns when the bed's API server serves Gardener's API groups, usually within 10 s.
    ///
    /// Both API servers share the bed's etcd.
    pub async fn start(bed: &TestBed, program: &Path) -> Result<Self, BedError> {
        on_a_free_port(async |port| Self::try_start(bed, program, port).await).await
    }

    async fn try_start(bed: &TestBed, program: &Path, port: u16) -> Result<Self, BedError> {
        let identity = Identity::create(bed.dir(), PROGRAM, &[HOST, &format!("{PROGRAM}.{NAMESPACE}.svc")])?;
        let kubeconfig = bed.kubeconfig_for(TESTBED)?;
        let mut command = Command::new(program);
        command
            .kill_on_drop(true)
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={port}"))
            .arg(format!("--etcd-servers={}", bed.etcd()))
            .arg(format!("--tls-cert-file={}", identity.certificate_file.display()))
            .arg(format!("--tls-private-key-file={}", identity.private_key_file.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--authentication-kubeconfig={}", kubeconfig.display()))
            .arg(format!("--authorization-kubeconfig={}", kubeconfig.display()))
            .arg("--authorization-always-allow-paths=/readyz")
            .arg("--cluster-identity=mock-testbed");
        let mut server = bed.spawn_server(PROGRAM, command)?;

        // The aggregator looks after an API server that did not answer at first less and less often.
        server.answers(&direct_client(port, &identity)?, "/readyz", None).await?;
        let client = bed.impatient_client().await?;
        register(&client, port, &identity.certificate.pem()).await?;
        for (group, version, _) in SERVED {
            server.answers(&client, &format!("/apis/{group}/{version}"), None).await?;
        }
        Ok(Self { _server: server })
    }
}

/// A client that talks to gardener-apiserver without the API server before it, as nobody.
fn direct_client(port: u16, identity: &Identity) -> Result<Client, BedError> {
    let doing = "make a client for gardener-apiserver";
    let address = format!("https://{HOST}:{port}")
        .parse()
        .map_err(|error| BedError::request(doing)(kube::Error::HttpError(http::Error::from(error))))?;
    let mut config = Config::new(address);
    config.root_cert = Some(vec![identity.certificate.der().to_vec()]);
    config.default_retry = false;
    Client::try_from(config).map_err(BedError::request(doing))
}

/// Has the bed's API server pass Gardener's API groups on to `port` of this machine.
async fn register(client: &Client, port: u16, certificate: &str) -> Result<(), BedError> {
    let params = PatchParams::apply(TESTBED).force();
    // A Service of a name: the API server would not go to the address of a Pod on its own machine.
    let service = Service {
        metadata: ObjectMeta { name: Some(PROGRAM.to_owned()), ..ObjectMeta::default() },
        spec: Some(ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(HOST.to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    services
        .patch(PROGRAM, &params, &Patch::Apply(service))
        .await
        .map_err(BedError::request("apply the Service of gardener-apiserver"))?;

    let api_services: Api<APIService> = Api::all(client.clone());
    try_join_all(SERVED.map(async |(group, version, priority)| {
        let name = format!("{version}.{group}");
        let api_service = APIService {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: Some(APIServiceSpec {
                group: Some(group.to_owned()),
                version: Some(version.to_owned()),
                group_priority_minimum: GROUP_PRIORITY,
                version_priority: priority,
                ca_bundle: Some(ByteString(certificate.as_bytes().to_owned())),
                service: Some(ServiceReference {
                    name: Some(PROGRAM.to_owned()),
                    namespace: Some(NAMESPACE.to_owned()),
                    port: Some(port.into()),
                }),
                ..APIServiceSpec::default()
            }),
            ..APIService::default()
        };
        let applied = api_services.patch(&name, &params, &Patch::Apply(api_service)).await;
        applied.map_err(BedError::request(format_args!("apply the APIService {name}")))
    }))
    .await?;
    Ok(())
}
