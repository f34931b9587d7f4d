//! Gardener's programs in the garden cluster, and the objects that its operator would create there.

use std::fs;
use std::path::Path;

use extension_contract::GARDENER_VERSION;
use serde_json::{Value, json};

use crate::access::{Access, SEEDS};
use crate::cluster::Cluster;
use crate::error::GardenError;
use crate::processes::Recipe;

/// The port of gardener-apiserver.
pub(crate) const PORT: u16 = 6450;
const LOCAL: &str = "127.0.0.1";

/// gardener-apiserver, which shares the etcd of the garden cluster.
pub(crate) fn gardener_apiserver(garden: &Cluster, access: &Access, kubeconfig: &str) -> Recipe {
    let file = |name: &str| access.file(name).display().to_string();
    let arguments = vec![
        format!("--bind-address={LOCAL}"),
        format!("--secure-port={PORT}"),
        format!("--etcd-servers={}", garden.etcd_address()),
        format!("--tls-cert-file={}", file("gardener-apiserver.crt")),
        format!("--tls-private-key-file={}", file("gardener-apiserver.key")),
        "--cluster-identity=garden".to_owned(),
        "--authorization-always-allow-paths=/readyz".to_owned(),
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
    ];
    Recipe::new("gardener-apiserver", "gardener-apiserver", arguments)
}

/// gardener-controller-manager. The intervals are short, so that a person sees at once what Gardener sees.
pub(crate) fn controller_manager(kubeconfig: &str, folder: &Path) -> Result<Recipe, GardenError> {
    let configuration = json!({
        "apiVersion": "controllermanager.config.gardener.cloud/v1alpha1",
        "kind": "ControllerManagerConfiguration",
        "gardenClientConnection": {"kubeconfig": kubeconfig, "qps": 100, "burst": 130},
        "controllers": {
            "seed": {"syncPeriod": "10s"},
            // gardenlet calls the condition Progressing at the end of each flow, until the next check.
            "seedExtensionsCheck": {
                "syncPeriod": "2s",
                "conditionThresholds": [{"type": "ExtensionsReady", "duration": "10s"}],
            },
        },
    });
    let name = "gardener-controller-manager";
    configured(name, name, configuration, 2718, folder)
}

/// gardener-scheduler.
pub(crate) fn scheduler(kubeconfig: &str, folder: &Path) -> Result<Recipe, GardenError> {
    let configuration = json!({
        "apiVersion": "scheduler.config.gardener.cloud/v1alpha1",
        "kind": "SchedulerConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig, "qps": 100, "burst": 130},
    });
    let name = "gardener-scheduler";
    configured(name, name, configuration, 2708, folder)
}

/// A program of Gardener that reads its configuration from a file: `configuration`, and what all programs have in common
/// unless it says otherwise. Its probes are at `port` of the loopback, and its metrics at the next one.
pub(crate) fn configured(
    name: &str,
    program: &str,
    mut configuration: Value,
    port: u16,
    folder: &Path,
) -> Result<Recipe, GardenError> {
    let listen = |port: u16| json!({"bindAddress": LOCAL, "port": port});
    let common = [
        ("leaderElection", json!({"leaderElect": false})),
        ("logLevel", json!("info")),
        ("logFormat", json!("text")),
        ("server", json!({"healthProbes": listen(port), "metrics": listen(port + 1)})),
    ];
    if let Some(fields) = configuration.as_object_mut() {
        for (name, value) in common {
            fields.entry(name).or_insert(value);
        }
    }
    let file = folder.join(format!("{name}.json"));
    let text = format!("{configuration:#}\n");
    fs::write(&file, text).map_err(GardenError::system(format!("write {}", file.display())))?;
    Ok(Recipe::new(name, program, vec![format!("--config={}", file.display())]))
}

/// What gardener-operator would create in the garden cluster.
pub(crate) fn of_operator() -> Vec<Value> {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    vec![
        namespace("garden"),
        namespace("gardener-system-public"),
        // Without it, gardenlet does not start (`cmd/gardenlet/app/app.go`).
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "gardener-info", "namespace": "gardener-system-public"},
            "data": {"gardenerAPIServer": format!("version: {GARDENER_VERSION}\n")},
        }),
        // Without it, the Seed's flow fails. gardenlet copies it for the Seed's Prometheus, which does not run.
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "global-observability-ingress",
                "namespace": "garden",
                "labels": {"gardener.cloud/role": "global-monitoring"},
            },
            "stringData": {"username": "admin", "password": "admin", "auth": "admin:unused"},
        }),
        // Gardener's SeedAuthorizer, which limits a gardenlet to its own Seed, is part of gardener-admission-controller.
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "gardenlets"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": SEEDS}],
        }),
    ]
}
