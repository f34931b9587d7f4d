//! gardenlet, and the Seed that it registers.

use kube::{Client, Config};
use serde_json::{Map, Value, json};

use crate::error::GardenError;
use crate::gardener::configured;
use crate::layout::Layout;
use crate::processes::Recipe;
use crate::seed::Seed;

/// The gardenlet of a Seed. `garden` and `seed_cluster` are kubeconfigs.
pub(crate) fn gardenlet(
    garden: &str,
    seed_cluster: &str,
    seed: &Seed,
    feature_gates: &[(String, bool)],
    log_level: &str,
    layout: &Layout,
) -> Result<Recipe, GardenError> {
    let soon = |condition: &str| json!({"type": condition, "duration": "10s"});
    let conditions = [
        "APIServerAvailable",
        "ControlPlaneHealthy",
        "ObservabilityComponentsHealthy",
        "SystemComponentsHealthy",
        "EveryNodeReady",
    ];
    let gates: Map<_, _> = feature_gates.iter().map(|(name, on)| (name.clone(), json!(on))).collect();
    let configuration = json!({
        "apiVersion": "gardenlet.config.gardener.cloud/v1alpha1",
        "kind": "GardenletConfiguration",
        "gardenClientConnection": {"kubeconfig": garden, "qps": 100, "burst": 130},
        "seedClientConnection": {"kubeconfig": seed_cluster, "qps": 200, "burst": 260},
        "shootClientConnection": {"qps": 50, "burst": 100},
        "controllers": {
            "shoot": {
                "concurrentSyncs": 20,
                "syncPeriod": "1h",
                "retryDuration": "12h",
                "progressReportPeriod": "1s",
            },
            "shootCare": {"syncPeriod": "30s", "conditionThresholds": conditions.map(soon)},
            "seedCare": {"syncPeriod": "10s", "conditionThresholds": [soon("SeedSystemComponentsHealthy")]},
            "controllerInstallationCare": {"syncPeriod": "10s"},
            // gardenlet v1.149.0 panics without it (`pkg/gardenlet/controller/shoot/add.go`).
            "shootStatus": {"concurrentSyncs": 5},
        },
        "logLevel": log_level,
        "logging": {"enabled": false},
        "monitoring": {"shoot": {"enabled": false}},
        "featureGates": gates,
        "seedConfig": {"metadata": seed.manifest.get("metadata"), "spec": settled(&seed.manifest)},
    });
    let name = seed.process("gardenlet");
    let recipe = configured(&name, "gardenlet", configuration, seed.cluster.gardenlet, &layout.run())?;
    Ok(recipe.resolving_with(seed.resolver(layout)))
}

/// A client of the metrics of a Seed's gardenlet. They are at the port after that of its probes.
pub(crate) fn metrics(seed: &Seed) -> Result<Client, GardenError> {
    let doing = "reach gardenlet's metrics";
    let address = format!("http://127.0.0.1:{}", seed.cluster.gardenlet + 1).parse();
    let address = address.map_err(|_| GardenError::Unusable(doing.to_owned()))?;
    Client::try_from(Config::new(address)).map_err(GardenError::request(doing))
}

/// The Seed's spec, without what needs more than one machine: spare nodes, and a watchdog of API servers that scales
/// controllers down.
fn settled(seed: &Value) -> Value {
    let mut spec = seed.get("spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        let settings = spec.entry("settings").or_insert_with(|| json!({}));
        if let Some(settings) = settings.as_object_mut() {
            settings.insert("excessCapacityReservation".to_owned(), json!({"enabled": false}));
            let off = json!({"weeder": {"enabled": false}, "prober": {"enabled": false}});
            settings.insert("dependencyWatchdog".to_owned(), off);
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_settings_of_the_seed_are_kept() {
        let seed = json!({"spec": {"settings": {"scheduling": {"visible": true}}, "dns": 1}});
        let settled = settled(&seed);
        assert_eq!(settled.pointer("/settings/scheduling/visible"), Some(&json!(true)));
        assert_eq!(settled.pointer("/settings/excessCapacityReservation/enabled"), Some(&json!(false)));
        assert_eq!(settled.get("dns"), Some(&json!(1)));
    }
}
