//! Defaults and validation of a Shoot, as in gardener-apiserver.

use extension_contract::GARDENER_VERSION;
use extension_contract::json::{get, list, set, set_default, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::manifest::{LandscapeError, Manifest};

/// The network of Pods, if neither the Shoot nor the Seed has one.
const PODS: &str = "100.96.0.0/11";
/// The network of Services, if neither the Shoot nor the Seed has one.
const SERVICES: &str = "100.64.0.0/13";

const PROJECT_NAMESPACE_PREFIX: &str = "garden-";

/// Returns the Shoot with all defaults (`plugin/pkg/shoot/mutator/admission.go`).
///
/// # Errors
/// A field is missing or invalid, or refers to something that does not exist
/// (`plugin/pkg/shoot/validator/admission.go`).
pub(super) fn apply(shoot: &Manifest, cloudprofile: &Manifest, seed: &Manifest) -> Result<Value, LandscapeError> {
    let mut object = shoot.object.clone();
    shoot.required(&object, "metadata.namespace", "", "set it to the namespace of the project, such as garden-dev")?;
    check_references(shoot, cloudprofile, seed)?;
    set_default(&mut object, "spec.cloudProfile.kind", "CloudProfile");
    set_default(&mut object, "spec.seedName", text(&seed.object, "metadata.name").unwrap_or_default());
    set_default(&mut object, "spec.purpose", "evaluation");

    let versions = list(&cloudprofile.object, "spec.kubernetes.versions");
    let wanted = text(&object, "spec.kubernetes.version");
    let version = choose_version(wanted, versions).ok_or_else(|| {
        shoot.error(
            "spec.kubernetes.version",
            wanted
                .map_or_else(|| "is missing and has no default".to_owned(), |wanted| format!("{wanted:?} is unknown")),
            format!("use one of spec.kubernetes.versions in {}", cloudprofile.file.display()),
        )
    })?;
    set(&mut object, "spec.kubernetes.version", version);

    let workers = list(&object, "spec.provider.workers").to_vec();
    if !workers.is_empty() {
        shoot.required(
            &object,
            "spec.networking.type",
            "",
            "set it to the type of the network extension, such as mock",
        )?;
        let networks = |path, fallback: &str| text(&seed.object, path).unwrap_or(fallback).to_owned();
        set_default(&mut object, "spec.networking.pods", networks("spec.networks.shootDefaults.pods", PODS));
        set_default(
            &mut object,
            "spec.networking.services",
            networks("spec.networks.shootDefaults.services", SERVICES),
        );
        set_default(&mut object, "spec.networking.ipFamilies", json!(["IPv4"]));
        let workers = workers.into_iter().enumerate();
        let workers = workers.map(|(index, worker)| default_worker(index, worker, shoot, cloudprofile));
        set(&mut object, "spec.provider.workers", workers.collect::<Result<Vec<_>, _>>()?);
    }
    set_default(&mut object, "metadata.generation", 1);
    set_default(&mut object, "status.observedGeneration", 1);
    let gardener = json!({"id": "gardener-testbed", "name": "gardenlet", "version": GARDENER_VERSION});
    set_default(&mut object, "status.gardener", gardener);
    identify(&mut object);
    Ok(object)
}

/// Sets the identifiers that depend on the Shoot's name. The technical ID is the name of the control plane's namespace
/// in the seed (`pkg/utils/gardener/shoot.go`). The uid is a hash of it, so that every run has the same uid.
pub(super) fn identify(shoot: &mut Value) {
    let namespace = text(shoot, "metadata.namespace").unwrap_or_default();
    let project = namespace.strip_prefix(PROJECT_NAMESPACE_PREFIX).unwrap_or(namespace);
    let technical_id = format!("shoot--{project}--{}", text(shoot, "metadata.name").unwrap_or_default());
    let hash = sha256_hex(&technical_id);
    let digits = |from: usize, to: usize| hash.get(from..to).unwrap_or_default();
    // The digits 4 and 8 mark version 4 and variant 1 of a UUID.
    let uid = format!("{}-{}-4{}-8{}-{}", digits(0, 8), digits(8, 12), digits(12, 15), digits(15, 18), digits(18, 30));
    set(shoot, "metadata.uid", uid.clone());
    set(shoot, "status.uid", uid);
    set(shoot, "status.technicalID", technical_id);
}

pub(super) fn sha256_hex(data: &str) -> String {
    Sha256::digest(data).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn check_references(shoot: &Manifest, cloudprofile: &Manifest, seed: &Manifest) -> Result<(), LandscapeError> {
    let object = &shoot.object;
    let must_match = |field: &str, value: &str, other: &Manifest, path: &str| {
        let actual = text(&other.object, path).unwrap_or_default();
        (value == actual).then_some(()).ok_or_else(|| {
            let kind = text(&other.object, "kind").unwrap_or_default();
            shoot.error(
                field,
                format!("is {value:?}, but {path} of the {kind} is {actual:?}"),
                format!("make them equal, or give another file instead of {}", other.file.display()),
            )
        })
    };
    if let Some(kind) = text(object, "spec.cloudProfile.kind").filter(|kind| *kind != "CloudProfile") {
        let remedy = "use CloudProfile";
        return Err(shoot.error("spec.cloudProfile.kind", format!("{kind:?} is not supported here"), remedy));
    }
    let name =
        shoot.required(object, "spec.cloudProfile.name", "", "set it to the name of the CloudProfile, such as mock")?;
    must_match("spec.cloudProfile.name", name, cloudprofile, "metadata.name")?;
    let provider =
        shoot.required(object, "spec.provider.type", "", "set it to the type of the provider, such as mock")?;
    must_match("spec.provider.type", provider, cloudprofile, "spec.type")?;
    if let Some(name) = text(object, "spec.seedName") {
        must_match("spec.seedName", name, seed, "metadata.name")?;
    }
    let region = shoot.required(object, "spec.region", "", "set it to a region of the CloudProfile")?;
    if find(&cloudprofile.object, "spec.regions", "name", region).is_none() {
        return Err(unknown(shoot, "spec.region".to_owned(), region, cloudprofile, "spec.regions"));
    }
    Ok(())
}

fn default_worker(
    index: usize,
    mut worker: Value,
    shoot: &Manifest,
    cloudprofile: &Manifest,
) -> Result<Value, LandscapeError> {
    let prefix = format!("spec.provider.workers[{index}].");
    let profile = &cloudprofile.object;
    let name = shoot.required(&worker, "name", &prefix, "give the worker pool a name")?;
    if name.len() > 15 {
        return Err(shoot.error(format!("{prefix}name"), format!("{name:?} is too long"), "use at most 15 characters"));
    }
    for size in ["minimum", "maximum"] {
        if get(&worker, size).and_then(Value::as_u64).is_none() {
            return Err(shoot.error(format!("{prefix}{size}"), "is missing", "set the number of machines"));
        }
    }
    if get(&worker, "minimum").and_then(Value::as_u64) > get(&worker, "maximum").and_then(Value::as_u64) {
        return Err(shoot.error(format!("{prefix}maximum"), "is smaller than minimum", "make it at least as large"));
    }

    let machine = shoot.required(&worker, "machine.type", &prefix, "set it to a machine type of the CloudProfile")?;
    let machine_type = find(profile, "spec.machineTypes", "name", machine)
        .ok_or_else(|| unknown(shoot, format!("{prefix}machine.type"), machine, cloudprofile, "spec.machineTypes"))?;
    let architecture = text(machine_type, "architecture").unwrap_or("amd64").to_owned();
    set_default(&mut worker, "machine.architecture", architecture);

    let first_image = list(profile, "spec.machineImages").first().and_then(|image| text(image, "name"));
    if let Some(image) = first_image {
        set_default(&mut worker, "machine.image.name", image);
    }
    let image =
        shoot.required(&worker, "machine.image.name", &prefix, "set it to a machine image of the CloudProfile")?;
    let wanted = text(&worker, "machine.image.version");
    let image_of_profile = find(profile, "spec.machineImages", "name", image);
    let versions = image_of_profile.map_or(&[][..], |image| list(image, "versions"));
    let version = choose_version(wanted, versions).ok_or_else(|| {
        let problem = match (image_of_profile, wanted) {
            (None, _) => format!("is unknown: the CloudProfile has no machine image {image:?}"),
            (Some(_), Some(wanted)) => format!("{wanted:?} is unknown"),
            (Some(_), None) => "is missing and has no default".to_owned(),
        };
        let remedy = format!("use an image and version of spec.machineImages in {}", cloudprofile.file.display());
        shoot.error(format!("{prefix}machine.image.version"), problem, remedy)
    })?;
    set(&mut worker, "machine.image.version", version);

    set_default(&mut worker, "cri.name", "containerd");
    set_default(&mut worker, "systemComponents.allow", true);
    // Machines that are updated in place become unavailable one by one. They are not replaced.
    let (surge, unavailable) = if is_in_place(&worker) { (0, 1) } else { (1, 0) };
    set_default(&mut worker, "maxSurge", surge);
    set_default(&mut worker, "maxUnavailable", unavailable);
    default_zones(&prefix, &mut worker, shoot, cloudprofile)?;
    Ok(worker)
}

fn default_zones(
    prefix: &str,
    worker: &mut Value,
    shoot: &Manifest,
    cloudprofile: &Manifest,
) -> Result<(), LandscapeError> {
    let region = text(&shoot.object, "spec.region").unwrap_or_default();
    let region = find(&cloudprofile.object, "spec.regions", "name", region);
    let zones: Vec<&str> = region.map_or(&[][..], |region| list(region, "zones")).iter().filter_map(name_of).collect();
    for (index, zone) in list(worker, "zones").iter().enumerate() {
        let zone = zone.as_str().unwrap_or_default();
        if !zones.contains(&zone) {
            return Err(unknown(shoot, format!("{prefix}zones[{index}]"), zone, cloudprofile, "spec.regions"));
        }
    }
    // Without zones in the region, the pool has no zones either.
    if get(worker, "zones").is_none() && !zones.is_empty() {
        set(worker, "zones", zones);
    }
    Ok(())
}

pub(super) fn is_in_place(worker: &Value) -> bool {
    matches!(text(worker, "updateStrategy"), Some("AutoInPlaceUpdate" | "ManualInPlaceUpdate"))
}

fn name_of(value: &Value) -> Option<&str> {
    text(value, "name")
}

pub(super) fn find<'a>(object: &'a Value, path: &str, key: &str, value: &str) -> Option<&'a Value> {
    list(object, path).iter().find(|item| text(item, key) == Some(value))
}

fn unknown(shoot: &Manifest, field: String, value: &str, profile: &Manifest, path: &str) -> LandscapeError {
    let known = list(&profile.object, path).iter().filter_map(name_of).collect::<Vec<_>>().join(", ");
    let remedy = format!("use one of {path} in {} ({known})", profile.file.display());
    shoot.error(field, format!("{value:?} is unknown"), remedy)
}

/// Returns the `wanted` version, or the newest version with that prefix (`1.35`), or without `wanted` the newest
/// version. A preview must be wanted by its full version. Returns `None` if there is no such version.
fn choose_version(wanted: Option<&str>, candidates: &[Value]) -> Option<String> {
    let matches = |candidate: &&Value| {
        let version = text(candidate, "version").unwrap_or_default();
        let is_preview = text(candidate, "classification") == Some("preview");
        match wanted {
            Some(wanted) if version == wanted => true,
            Some(wanted) => !is_preview && version.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.')),
            None => !is_preview,
        }
    };
    let versions = candidates.iter().filter(matches).filter_map(|candidate| text(candidate, "version"));
    versions.max_by_key(|version| numbers(version)).map(str::to_owned)
}

/// The sort key of a version: its leading numbers. Versions that can be a default consist of numbers only.
fn numbers(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).map_while(|number| number.parse().ok()).collect()
}
