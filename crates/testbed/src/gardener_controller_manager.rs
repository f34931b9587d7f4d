//! A real gardener-controller-manager beside a [`GardenerApiserver`](crate::gardener_apiserver::GardenerApiserver).

use std::fs;
use std::path::Path;

use kube::{Client, Config};
use serde_json::json;
use tokio::process::Command;

use crate::bed::{TESTBED, TestBed};
use crate::error::BedError;
use crate::port;
use crate::server::{Server, on_a_free_port};

const PROGRAM: &str = "gardener-controller-manager";
const HOST: &str = "127.0.0.1";

/// A running gardener-controller-manager with all its controllers, such as the one that merges a
/// `NamespacedCloudProfile` with its parent. It ends when it is dropped, and with the test bed.
#[derive(Debug)]
pub struct GardenerControllerManager {
    _server: Server,
}

impl GardenerControllerManager {
    /// Starts the controllers. Returns when their caches are filled. The test bed needs a gardener-apiserver, and the
    /// namespace `garden`.
    pub async fn start(bed: &TestBed, program: &Path) -> Result<Self, BedError> {
        on_a_free_port(async |port| Self::try_start(bed, program, port).await).await
    }

    async fn try_start(bed: &TestBed, program: &Path, port: u16) -> Result<Self, BedError> {
        let metrics = port::free().map_err(BedError::failed("find a free port"))?;
        let configuration = json!({
            "apiVersion": "controllermanager.config.gardener.cloud/v1alpha1",
            "kind": "ControllerManagerConfiguration",
            "gardenClientConnection": {"kubeconfig": bed.kubeconfig_for(TESTBED)?},
            "leaderElection": {"leaderElect": false},
            "server": {
                "healthProbes": {"bindAddress": HOST, "port": port},
                "metrics": {"bindAddress": HOST, "port": metrics},
            },
        });
        let file = bed.dir().join("gardener-controller-manager.json");
        fs::write(&file, configuration.to_string())
            .map_err(BedError::failed(format_args!("write {}", file.display())))?;
        let mut command = Command::new(program);
        // The variable would take precedence over the configuration.
        command.kill_on_drop(true).env_remove("KUBECONFIG").arg(format!("--config={}", file.display()));
        let mut server = bed.spawn_server(PROGRAM, command)?;

        let doing = "create a client of gardener-controller-manager";
        let address = format!("http://{HOST}:{port}").parse::<http::Uri>().map_err(BedError::failed(doing))?;
        let mut config = Config::new(address);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(BedError::failed(doing))?;
        server.answers(&client, "/readyz", None).await?;
        Ok(Self { _server: server })
    }
}
