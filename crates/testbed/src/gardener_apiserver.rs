//! A real gardener-apiserver behind a test bed's kube-apiserver. Together they serve the API of a garden cluster.

use std::path::Path;

use futures::future::try_join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec, ServiceReference};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Config};
use tokio::process::Command;

use crate::bed::{ETCD_SOCKET, TESTBED, TestBed};
use crate::certificate::Certificate;
use crate::error::BedError;
use crate::server::{Server, on_a_free_port};

/// The group versions that gardener-apiserver serves, each with its priority among the versions of its group.
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

/// A running gardener-apiserver with its default admission plugins. Clients reach it through the test bed's kube-apiserver.
///
/// It ends when it is dropped, and with the test bed. Without a
/// [`GardenerControllerManager`](crate::gardener_controller_manager::GardenerControllerManager), nothing creates the
/// namespace of a Project, for example.
#[derive(Debug)]
pub struct GardenerApiserver {
    _server: Server,
}

impl GardenerApiserver {
    /// Starts the server. Returns when the test bed's kube-apiserver serves Gardener's API groups, usually within 10 s.
    ///
    /// Both API servers share the test bed's etcd. `flags` are passed on in addition to those that the start needs.
    pub async fn start(bed: &TestBed, program: &Path, flags: &[&str]) -> Result<Self, BedError> {
        on_a_free_port(async |port| Self::try_start(bed, program, flags, port).await).await
    }

    async fn try_start(bed: &TestBed, program: &Path, flags: &[&str], port: u16) -> Result<Self, BedError> {
        let service = format!("{PROGRAM}.{NAMESPACE}.svc");
        let certificate = Certificate::create(bed.dir(), PROGRAM, &[HOST, &service])?;
        let kubeconfig = bed.kubeconfig_for(TESTBED)?;
        let mut command = Command::new(program);
        command
            .kill_on_drop(true)
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={port}"))
            .arg(format!("--etcd-servers={ETCD_SOCKET}"))
            .arg(format!("--tls-cert-file={}", certificate.file.display()))
            .arg(format!("--tls-private-key-file={}", certificate.private_key_file.display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--authentication-kubeconfig={}", kubeconfig.display()))
            .arg(format!("--authorization-kubeconfig={}", kubeconfig.display()))
            .arg("--authorization-always-allow-paths=/readyz")
            .arg("--cluster-identity=gardener-testbed")
            .args(flags);
        let mut server = bed.spawn_server(PROGRAM, command)?;

        // Register the server only when it is ready: the aggregator probes a failing server less and less often.
        server.answers(&direct_client(port, &certificate)?, "/readyz", None).await?;
        let client = bed.client_without_retries().await?;
        register(&client, port, &certificate.pem()).await?;
        for path in served() {
            server.answers(&client, &path, None).await?;
        }
        Ok(Self { _server: server })
    }
}

/// An anonymous client that connects to gardener-apiserver directly, without kube-apiserver.
fn direct_client(port: u16, certificate: &Certificate) -> Result<Client, BedError> {
    let doing = "create a client of gardener-apiserver";
    let address = format!("https://{HOST}:{port}").parse::<http::Uri>().map_err(BedError::failed(doing))?;
    let mut config = Config::new(address);
    config.root_cert = Some(vec![certificate.der()]);
    config.default_retry = false;
    Client::try_from(config).map_err(BedError::failed(doing))
}

/// The paths at which kube-apiserver serves Gardener's API groups once it reaches a registered gardener-apiserver.
pub fn served() -> impl Iterator<Item = String> {
    SERVED.iter().map(|(group, version, _)| format!("/apis/{group}/{version}"))
}

/// Makes kube-apiserver forward requests for Gardener's API groups to `port` of its loopback. gardener-apiserver proves
/// itself there with a certificate for `gardener-apiserver.kube-system.svc`, which `certificate`, PEM, is or has issued.
pub async fn register(client: &Client, port: u16, certificate: &str) -> Result<(), BedError> {
    let params = PatchParams::apply(TESTBED).force();
    // Of type ExternalName: the API server refuses endpoints with a loopback address.
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
        .map_err(BedError::failed("apply the Service of gardener-apiserver"))?;

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
        applied.map_err(BedError::failed(format_args!("apply the APIService {name}")))
    }))
    .await?;
    Ok(())
}
