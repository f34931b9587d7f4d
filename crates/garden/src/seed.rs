//! The seed clusters: what the gardenlet chart and the machines below would bring, and when the Seed is ready.

use std::path::{Path, PathBuf};
use std::time::Duration;

use extension_contract::json::{get, list, text};
use gardener_testbed::assets::KUBERNETES_VERSION;
use gardener_testbed::manifests;
use kube::Client;
use serde_json::{Value, json};

use crate::backups;
use crate::cluster::{Cluster, numbered};
use crate::error::GardenError;
use crate::layout::Layout;
use crate::network;
use crate::objects::{self, core};
use crate::processes::Recipe;
use crate::settings::Wanted;
use crate::wait;

/// A busy machine takes minutes.
const READY_WITHIN: Duration = Duration::from_secs(600);

/// The conditions that tell whether extensions are installed and healthy.
const CONDITIONS: [&str; 3] = ["GardenletReady", "SeedSystemComponentsHealthy", "ExtensionsReady"];
/// The condition that tells whether backups have a place. A Seed without backups does not have it.
const BACKUPS: &str = "BackupBucketsReady";

/// The Seed without backups, in the folder of the examples. Each of gardenlet's operations is shorter without them.
const FILE: &str = "40-seed.yaml";
/// The Seed with backups. Without them, a Shoot cannot move to another Seed.
const FILE_WITH_BACKUPS: &str = "45-seed-with-backup.yaml";

/// The Seeds of a garden, and the objects beside them.
#[derive(Debug)]
pub(crate) struct Seeds {
    /// The Seeds, in the order of their numbers.
    pub(crate) list: Vec<Seed>,
    /// The other objects, such as credentials, which all Seeds share.
    pub(crate) others: Vec<Value>,
}

impl Seeds {
    /// Reads the Seed of the examples, and makes as many of it as wanted: the one with backups for several Seeds, and for a
    /// Shoot that names it.
    pub(crate) fn read(wanted: &Wanted) -> Result<Self, GardenError> {
        let examples = wanted.sources.join("example");
        let (mut manifest, others) = read(&examples.join(FILE_WITH_BACKUPS))?;
        if wanted.seeds > 1 || is_named(&manifest, &wanted.shoots)? {
            let of_backups = backups::of_seed(&manifest);
            json_patch::merge(&mut manifest, &of_backups);
            let list = (1..=wanted.seeds).map(|number| Seed::new(number, &manifest)).collect();
            return Self { list, others }.for_shoots(&wanted.shoots);
        }
        let (manifest, others) = read(&examples.join(FILE))?;
        Self { list: vec![Seed::new(1, &manifest)], others }.for_shoots(&wanted.shoots)
    }

    /// The same Seeds. Fails if a Shoot of these files names another one: no gardenlet would look after it.
    fn for_shoots(self, files: &[PathBuf]) -> Result<Self, GardenError> {
        for file in files {
            for object in manifests::read(file)?.iter().filter(|object| text(object, "kind") == Some("Shoot")) {
                let Some(named) = text(object, "spec.seedName") else { continue };
                if self.list.iter().all(|seed| seed.name() != named) {
                    let seeds: Vec<_> = self.list.iter().map(Seed::name).collect();
                    let shoot = text(object, "metadata.name").unwrap_or_default();
                    let problem = format!(
                        "spec.seedName of the Shoot {shoot} is {named}, but the Seeds with a gardenlet are {}: leave it \
                         out, or name one of these",
                        seeds.join(", ")
                    );
                    return Err(GardenError::File { file: file.clone(), problem });
                }
            }
        }
        Ok(self)
    }
}

/// The Seed of a file, and the objects beside it.
fn read(file: &Path) -> Result<(Value, Vec<Value>), GardenError> {
    let (mut seeds, others): (Vec<_>, Vec<_>) =
        manifests::read(file)?.into_iter().partition(|object| text(object, "kind") == Some("Seed"));
    let problem = || GardenError::File { file: file.to_owned(), problem: "it must have one Seed".to_owned() };
    Ok((seeds.pop().ok_or_else(problem)?, others))
}

/// Whether a Shoot of these files names this Seed.
fn is_named(seed: &Value, shoots: &[PathBuf]) -> Result<bool, GardenError> {
    let name = text(seed, "metadata.name");
    for file in shoots {
        if manifests::read(file)?.iter().any(|shoot| text(shoot, "spec.seedName") == name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A Seed, with its cluster.
#[derive(Debug)]
pub(crate) struct Seed {
    number: u8,
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The `Seed`. gardenlet creates it.
    pub(crate) manifest: Value,
}

impl Seed {
    /// The Seed with this number, from 1. The first one is as in the examples. Each further one has a name and networks of
    /// its own, which overlap neither with each other nor with those of the examples.
    fn new(number: u8, first: &Value) -> Self {
        let mut manifest = first.clone();
        if number > 1 {
            let old = text(first, "metadata.name").unwrap_or_default();
            let name = numbered(old, number);
            let domain = text(first, "spec.ingress.domain").unwrap_or_default().replace(old, &name);
            let network = |third: u8| format!("10.{}.0.0/16", 110 + 10 * u16::from(number) + u16::from(third));
            let own = json!({
                "metadata": {"name": name},
                "spec": {
                    "ingress": {"domain": domain},
                    "networks": {"nodes": network(0), "pods": network(1), "services": network(2)},
                },
            });
            json_patch::merge(&mut manifest, &own);
        }
        let services = text(&manifest, "spec.networks.services").unwrap_or_default();
        Self { number, cluster: Cluster::seed(number, services), manifest }
    }

    /// The name of a process of which each seed has one.
    pub(crate) fn process(&self, name: &str) -> String {
        numbered(name, self.number)
    }

    /// The file that takes the place of `/etc/resolv.conf` for programs of this Seed.
    pub(crate) fn resolver(&self, layout: &Layout) -> PathBuf {
        layout.run().join(format!("{}.resolv.conf", self.cluster.name))
    }

    /// The Seed's name.
    pub(crate) fn name(&self) -> &str {
        text(&self.manifest, "metadata.name").unwrap_or_default()
    }

    /// A network of the Seed: `nodes`, `pods` or `services`.
    pub(crate) fn network(&self, name: &str) -> &str {
        text(&self.manifest, &format!("spec.networks.{name}")).unwrap_or_default()
    }

    /// The address of the cluster's DNS, as kube-up has always chosen it: the tenth one of the Services.
    pub(crate) fn name_server(&self) -> Result<String, GardenError> {
        network::address(self.network("services"), 10)
    }

    /// The command line of the players, who stand in for everything below the seed's API server.
    pub(crate) fn players(&self, kubeconfig: &str, layout: &Layout) -> Result<Recipe, GardenError> {
        let mut arguments = vec![
            "seed".to_owned(),
            format!("--kubeconfig={kubeconfig}"),
            format!("--root={}", layout.run().join(self.process("players")).display()),
            format!("--bin={}", layout.pods().display()),
            // All seeds reach the same object store.
            format!("--backups={}", layout.run().join("backups").display()),
            format!("--pod-net={}", self.network("pods")),
            format!("--node-net={}", self.network("nodes")),
            format!("--service-net={}", self.network("services")),
            format!("--api-host={}", network::address(self.network("services"), 1)?),
            format!("--dns={}", self.name_server()?),
            format!("--version={KUBERNETES_VERSION}"),
            format!("--region={}", text(&self.manifest, "spec.provider.region").unwrap_or_default()),
        ];
        let zones = list(&self.manifest, "spec.provider.zones").iter().filter_map(Value::as_str);
        arguments.extend(zones.map(|zone| format!("--zone={zone}")));
        Ok(Recipe::new(self.process("players"), "mock-players", arguments).resolving_with(self.resolver(layout)))
    }
}

/// What the gardenlet chart creates in the seed cluster beside gardenlet (`charts/gardener/gardenlet/templates`), and the
/// `PriorityClass` of extensions (`pkg/component/seed/system/system.go`).
///
/// gardenlet has the latter created at the same time as the first extensions. Until it exists, their Pods are refused, and
/// the `ReplicaSet` controller tries again less and less often, which may take a minute.
pub(crate) fn of_chart() -> [Value; 3] {
    let class = |name: &str, value: u32| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value});
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "garden"}}),
        class("gardener-system-critical", 999_998_950),
        class("gardener-system-900", 999_998_900),
    ]
}

/// Returns when gardenlet has set up the Seed, and all of its conditions hold.
pub(crate) async fn ready(garden: &Client, name: &str) -> Result<(), GardenError> {
    let seeds = core(garden, "v1beta1", "Seed", None);
    let check = async || {
        let seed = objects::get(&seeds, name).await?.ok_or("gardenlet has not registered it")?;
        unready(&seed).map_or(Ok(()), Err)
    };
    wait::until(READY_WITHIN, &format!("the Seed {name} is not ready"), check).await
}

/// Why a Seed is not ready. Returns `None` if it is.
fn unready(seed: &Value) -> Option<String> {
    let operation = |field: &str| text(seed, &format!("status.lastOperation.{field}")).unwrap_or("none");
    if operation("state") != "Succeeded" {
        return Some(format!("its last operation is {}: {}", operation("state"), operation("description")));
    }
    let backups: &[&str] = if get(seed, "spec.backup").is_some() { &[BACKUPS] } else { &[] };
    objects::unmet(seed, &CONDITIONS).or_else(|| objects::unmet(seed, backups))
}

#[cfg(test)]
mod tests {
    use gardener_testbed::workspace;

    use super::*;
    use crate::settings::Work;

    fn wanted(seeds: u8, shoots: &[&str]) -> Wanted {
        let sources = workspace::root().to_owned();
        let shoots = shoots.iter().map(|file| sources.join("example").join(file)).collect();
        Wanted { sources, seeds, shoots, feature_gates: Vec::new(), work: Work::Up }
    }

    #[test]
    fn shoot_of_a_seed_without_a_gardenlet_is_refused_with_the_seeds_that_have_one() {
        let why = Seeds::read(&wanted(1, &["67-shoot-no-bucket.yaml"])).unwrap_err().to_string();
        assert!(why.contains("67-shoot-no-bucket.yaml") && why.contains("with a gardenlet are mock:"), "{why}");
    }

    #[test]
    fn seed_has_backups_if_there_are_several_or_a_shoot_names_the_one_that_has() {
        let names = |wanted: &Wanted| -> Vec<_> {
            let seeds = Seeds::read(wanted).unwrap().list;
            assert!(seeds.iter().all(|seed| get(&seed.manifest, "spec.backup").is_some() == (seed.name() != "mock")));
            seeds.iter().map(|seed| seed.name().to_owned()).collect()
        };
        assert_eq!(names(&wanted(1, &["55-shoot.yaml"])), ["mock"]);
        assert_eq!(names(&wanted(1, &["55-shoot.yaml", "58-shoot-extensions.yaml"])), ["mock-backup"]);
        assert_eq!(names(&wanted(2, &[])), ["mock-backup", "mock-backup-2"]);
    }

    #[test]
    fn cloud_profile_of_the_examples_offers_the_version_that_runs_first() {
        let profile = manifests::read_one(&workspace::root().join("example/20-cloudprofile.yaml")).unwrap();
        let offered = text(&profile, "spec.kubernetes.versions[0].version");
        assert_eq!(offered.map(|version| format!("v{version}")).as_deref(), Some(KUBERNETES_VERSION));
    }

    #[test]
    fn further_seeds_have_names_networks_and_ports_of_their_own() {
        let seeds = Seeds::read(&wanted(9, &[])).unwrap().list;
        let distinct = |of: &dyn Fn(&Seed) -> Vec<String>| {
            let all: Vec<_> = seeds.iter().flat_map(of).collect();
            assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len(), "{all:?}");
        };
        distinct(&|seed| vec![seed.name().to_owned()]);
        distinct(&|seed| ["nodes", "pods", "services"].map(|network| seed.network(network).to_owned()).into());
        distinct(&|seed| vec![text(&seed.manifest, "spec.ingress.domain").unwrap().to_owned()]);
        distinct(&|seed| vec![seed.cluster.port.to_string(), seed.cluster.gardenlet.to_string()]);
        assert_eq!(seeds[1].process("gardenlet"), "gardenlet-2");
        let domains: Vec<_> = seeds.iter().map(|seed| text(&seed.manifest, "spec.dns.internal.domain")).collect();
        assert!(domains.iter().all(|domain| *domain == domains[0]), "a Shoot can only move if this domain stays");
    }

    #[test]
    fn seed_is_ready_when_its_flow_has_succeeded_and_all_conditions_hold() {
        let mut seed = json!({"status": {"lastOperation": {"state": "Processing", "description": "x"}}});
        assert_eq!(unready(&seed).as_deref(), Some("its last operation is Processing: x"));
        let conditions =
            |status: &str| Value::from_iter(CONDITIONS.map(|name| json!({"type": name, "status": status})));
        seed["status"] = json!({"lastOperation": {"state": "Succeeded"}});
        assert_eq!(unready(&seed).as_deref(), Some("it has no condition GardenletReady"));
        seed["status"]["conditions"] = conditions("Progressing");
        assert!(unready(&seed).unwrap().contains("GardenletReady does not hold"));
        seed["status"]["conditions"] = conditions("True");
        assert_eq!(unready(&seed), None);
        seed["spec"] = json!({"backup": {"provider": "local"}});
        assert_eq!(unready(&seed).as_deref(), Some("it has no condition BackupBucketsReady"));
    }
}
