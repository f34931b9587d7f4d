//! The way into awake Shoots: kubeconfigs as Gardener hands them out, through the gateway of the seed.
//!
//! The gateway chooses the API server of a Shoot by the name that a client's TLS connection asks for. So one door leads to
//! all Shoots of a Seed, also to those that are created later.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use extension_contract::json::{get, list, text};
use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::sleep;

use crate::access::write_kubeconfig;
use crate::error::GardenError;
use crate::layout::Layout;
use crate::news::{News, Say};
use crate::objects::core;
use crate::settings::Door;
use crate::shoot::Shoot;

/// How often Shoots are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// A kubeconfig is replaced after this time. Gardener lets none be valid for more than a day.
const RENEWED_AFTER: Duration = Duration::from_secs(12 * 3600);

/// The gateway that gardenlet deploys for the API servers of Shoots (`pkg/apis/core/v1beta1/constants/types_constants.go`).
const GATEWAY: (&str, &str) = ("istio-ingress", "istio-ingressgateway");
const GATEWAY_PORT: u16 = 443;

/// The address of the gateway, for connections from inside.
pub(crate) async fn gateway(seed: &Client) -> Result<SocketAddr, GardenError> {
    let (namespace, name) = GATEWAY;
    let services: Api<Service> = Api::namespaced(seed.clone(), namespace);
    let service = services.get(name).await.map_err(GardenError::request(format!("read the Service {name}")))?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| GardenError::Unusable(format!("the Service {name} has no address")))?;
    Ok(SocketAddr::new(address, GATEWAY_PORT))
}

/// Makes a kubeconfig of Gardener lead to the gateway at an address. The certificate of the API server has to have the
/// same name as before. Returns `None` if the kubeconfig names no server.
pub(crate) fn through(gateway: SocketAddr, kubeconfig: &str) -> Option<Value> {
    let mut kubeconfig = Kubeconfig::from_yaml(kubeconfig).ok()?;
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        let server: http::Uri = cluster.server.as_ref()?.parse().ok()?;
        cluster.tls_server_name = Some(server.host()?.to_owned());
        cluster.server = Some(format!("https://{gateway}"));
    }
    serde_json::to_value(kubeconfig).ok()
}

/// Keeps a file with a kubeconfig for each awake Shoot, for this machine: it leads through the door of the Shoot's Seed.
/// Shows each that comes and goes. Runs until it is dropped.
pub(crate) async fn follow(garden: &Client, layout: &Layout, doors: &[Door], say: Say<'_>) -> Infallible {
    let shoots = core(garden, "v1beta1", "Shoot", None);
    let mut written: BTreeMap<(String, String), (SocketAddr, Instant)> = BTreeMap::new();
    loop {
        // Fails only while a server restarts.
        if let Ok(shoots) = shoots.list(&ListParams::default()).await {
            let shoots = shoots.items.into_iter().filter_map(|shoot| serde_json::to_value(shoot).ok());
            let awake =
                shoots.filter(is_awake).filter_map(|shoot| Some((names(&shoot), (door(&shoot, doors)?, shoot))));
            let awake: BTreeMap<_, _> = awake.collect();
            written.retain(|(namespace, name), _| {
                let stays = awake.contains_key(&(namespace.clone(), name.clone()));
                if !stays {
                    // The file may be gone already.
                    let _ = fs::remove_file(layout.kubeconfig_of_shoot(namespace, name));
                    let gone =
                        format!("\nthe Shoot {namespace}/{name} cannot be reached any more: it sleeps, or is gone\n");
                    say(News::Line(gone));
                }
                stays
            });
            for (key, (door, shoot)) in &awake {
                // A Shoot may have moved to another Seed.
                if written.get(key).is_some_and(|(last, since)| last == door && since.elapsed() < RENEWED_AFTER) {
                    continue;
                }
                // Gardener may not have copied the Shoot's authorities yet.
                if let Ok(Some(file)) = write(&Shoot::of(garden, shoot), key, layout, *door).await
                    && written.insert(key.clone(), (*door, Instant::now())).is_none()
                {
                    say(News::Line(format!("\nexport KUBECONFIG={file}   # the Shoot {}/{}\n", key.0, key.1)));
                }
            }
        }
        sleep(PERIOD).await;
    }
}

/// Writes the kubeconfig of a Shoot. Returns the file, or `None` if Gardener's kubeconfig cannot be used.
async fn write(
    shoot: &Shoot,
    (namespace, name): &(String, String),
    layout: &Layout,
    door: SocketAddr,
) -> Result<Option<String>, GardenError> {
    let Some(kubeconfig) = through(door, &shoot.admin_kubeconfig().await?) else { return Ok(None) };
    let file = layout.kubeconfig_of_shoot(namespace, name);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(GardenError::system(format!("create {}", folder.display())))?;
    }
    write_kubeconfig(&file, &kubeconfig)?;
    Ok(Some(file.display().to_string()))
}

/// The door that leads to a Shoot: that of the Seed that has it.
fn door(shoot: &Value, doors: &[Door]) -> Option<SocketAddr> {
    let seed = text(shoot, "status.seedName")?;
    let door = doors.iter().find(|door| door.seed.as_deref() == Some(seed))?;
    Some(SocketAddr::from(([127, 0, 0, 1], door.shoots?)))
}

fn names(shoot: &Value) -> (String, String) {
    let field = |path: &str| text(shoot, path).unwrap_or_default().to_owned();
    (field("metadata.namespace"), field("metadata.name"))
}

/// Whether the API server of a Shoot runs, and is meant to.
fn is_awake(shoot: &Value) -> bool {
    let holds = |path: &str| get(shoot, path).and_then(Value::as_bool).unwrap_or_default();
    let created = text(shoot, "status.lastOperation.type") != Some("Create")
        || text(shoot, "status.lastOperation.state") == Some("Succeeded");
    created
        && get(shoot, "metadata.deletionTimestamp").is_none()
        && !holds("spec.hibernation.enabled")
        && !holds("status.hibernated")
        && !list(shoot, "status.advertisedAddresses").is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kubeconfig_leads_to_the_gateway_and_expects_the_name_of_the_api_server() {
        let cluster = "clusters: [{name: a, cluster: {server: 'https://api.a.dev.example', \
                       certificate-authority-data: eA==}}]\nusers: [{name: u, user: {client-key-data: eQ==}}]\n";
        let kubeconfig = through("127.0.0.1:4443".parse().unwrap(), cluster).unwrap();
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://127.0.0.1:4443");
        assert_eq!(cluster["tls-server-name"], "api.a.dev.example");
        assert_eq!(cluster["certificate-authority-data"], "eA==");
        assert_eq!(kubeconfig["users"][0]["user"]["client-key-data"], "eQ==");
    }

    #[test]
    fn door_is_that_of_the_seed_that_has_the_shoot() {
        let door = |seed: Option<&str>, shoots: Option<u16>| Door {
            cluster: "any".to_owned(),
            seed: seed.map(str::to_owned),
            port: 1,
            shoots,
        };
        let doors = [door(None, None), door(Some("a"), Some(2)), door(Some("b"), Some(3))];
        let of = |seed: &str| super::door(&json!({"status": {"seedName": seed}}), &doors).map(|door| door.port());
        assert_eq!((of("a"), of("b"), of("c")), (Some(2), Some(3), None));
        assert_eq!(super::door(&json!({}), &doors), None);
    }

    #[test]
    fn shoot_is_awake_from_its_creation_until_it_is_to_sleep_or_go() {
        let with = |path: &str, value: Value| {
            let mut shoot = json!({
                "metadata": {},
                "spec": {},
                "status": {
                    "lastOperation": {"type": "Create", "state": "Succeeded"},
                    "advertisedAddresses": [{"name": "internal", "url": "https://api.a"}],
                },
            });
            let (parent, field) = path.rsplit_once('/').unwrap();
            shoot.pointer_mut(parent).unwrap()[field] = value;
            shoot
        };
        assert!(is_awake(&with("/spec/hibernation", json!({"enabled": false}))));
        assert!(is_awake(&with("/status/lastOperation", json!({"type": "Reconcile", "state": "Processing"}))));
        for (path, value) in [
            ("/status/lastOperation", json!({"type": "Create", "state": "Processing"})),
            ("/spec/hibernation", json!({"enabled": true})),
            ("/status/hibernated", json!(true)),
            ("/status/advertisedAddresses", json!([])),
            ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
        ] {
            assert!(!is_awake(&with(path, value)), "{path}");
        }
    }
}
