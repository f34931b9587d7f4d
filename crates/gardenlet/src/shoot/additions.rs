//! What a Shoot may have besides what every Shoot with workers has: Extensions, container runtimes, a Bastion and an
//! exposure.

use extension_contract::json::{get, list, text};
use extension_contract::kinds;
use serde_json::{Value, json};

use super::objects::planned;
use super::parts::{Lifecycle, Part};
use super::plan::{Asks, CLOUDPROVIDER, GARDEN, Planned, ShootPlan};
use super::registrations::Registrations;

/// The base64 of a script that a Bastion's machine would run.
const USER_DATA: &str = "IyEvYmluL2Jhc2ggLWV1Cg==";

/// The Extensions that gardenlet deploys in this part of its flow (`pkg/component/extensions/extension/extension.go`).
pub(super) fn extensions(plan: &ShootPlan, lifecycle: Lifecycle) -> Vec<Planned> {
    let required = plan.registrations.required("shoot", plan.is_workerless(), list(&plan.shoot, "spec.extensions"));
    let of_lifecycle = required.into_iter().filter_map(|(spec_type, config)| {
        let handling = plan.registrations.handling(spec_type);
        // Without a class: older extensions do not know it (`pkg/component/shared/extension.go`).
        let spec = json!({"type": spec_type, "providerConfig": config});
        (handling.reconcile == lifecycle).then(|| Planned {
            deleted_with: Part::Extensions(handling.delete),
            leaves_with: Part::Extensions(handling.migrate),
            timeout: handling.reconcile_timeout,
            ..planned(plan, Part::Extensions(lifecycle), spec_type.to_owned(), spec)
        })
    });
    of_lifecycle.collect()
}

/// The Extensions of a Seed (`pkg/gardenlet/controller/seed/seed/components.go`).
pub(super) fn seed_extensions(seed: &Value, registrations: &Registrations) -> Vec<Planned> {
    let required = registrations.required("seed", false, list(seed, "spec.extensions"));
    let planned = required.into_iter().map(|(spec_type, config)| {
        let spec = json!({"type": spec_type, "class": "seed", "providerConfig": config});
        let name = spec_type.to_owned();
        Planned {
            timeout: registrations.handling(spec_type).reconcile_timeout,
            ..Planned::new(Part::SeedExtensions, &kinds::EXTENSION, name, Some(GARDEN), spec)
        }
    });
    planned.collect()
}

/// One object for each runtime of each pool (`pkg/component/extensions/containerruntime/containerruntime.go`).
pub(super) fn container_runtimes(plan: &ShootPlan) -> Vec<Planned> {
    let mut objects = Vec::new();
    for worker in list(&plan.shoot, "spec.provider.workers") {
        let pool = text(worker, "name").unwrap_or_default();
        let labels = json!({"worker.gardener.cloud/pool": pool, "worker.garden.sapcloud.io/group": pool});
        for runtime in list(worker, "cri.containerRuntimes") {
            let spec_type = text(runtime, "type").unwrap_or_default();
            let spec = json!({
                "type": spec_type,
                "providerConfig": get(runtime, "providerConfig"),
                "binaryPath": "/var/bin/containerruntimes",
                "workerPool": {"name": pool, "selector": {"matchLabels": labels}},
            });
            objects.push(planned(plan, Part::ContainerRuntimes, format!("{spec_type}-{pool}"), spec));
        }
    }
    objects
}

/// The Bastion that gardenlet writes when a user asks for SSH access (`pkg/gardenlet/controller/bastion/reconciler.go`).
pub(super) fn bastion(plan: &ShootPlan) -> Option<Planned> {
    let spec = json!({
        "type": get(&plan.shoot, "spec.provider.type"),
        "userData": USER_DATA,
        "ingress": [{"ipBlock": {"cidr": "198.51.100.0/24"}}],
    });
    let bastion = || planned(plan, Part::Bastion, format!("{}-ssh", plan.name()), spec).asking(Asks::InRounds);
    plan.has(&kinds::BASTION, true).then(bastion)
}

/// The exposure that gardenlet writes for a self-hosted Shoot (`pkg/utils/gardener/selfhostedshootexposure.go`).
pub(super) fn exposure(plan: &ShootPlan) -> Option<Planned> {
    let address = json!({"type": "InternalIP", "address": "10.10.0.10"});
    let spec = json!({
        "type": get(&plan.shoot, "spec.provider.type"),
        "port": 443,
        "endpoints": [{"nodeName": "control-plane-0", "addresses": [address]}],
        "credentialsRef": {"apiVersion": "v1", "kind": "Secret", "name": CLOUDPROVIDER, "namespace": plan.namespace},
    });
    let exposure = || planned(plan, Part::Exposure, plan.name().to_owned(), spec);
    plan.has(&kinds::SELF_HOSTED_SHOOT_EXPOSURE, true).then(exposure)
}
