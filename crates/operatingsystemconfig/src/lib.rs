//! OperatingSystemConfig: the user data of machines that will never boot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mock_core::contract::{GROUP, VERSION, kinds};
use mock_core::k8s::{ByteString, ObjectMeta, OwnerReference, Secret};
use mock_core::kind::{Input, Invalid, Kind, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome, Wanted};
use serde::Deserialize;
use serde_json::{Value, json};

/// Key of the user data in its Secret (`pkg/apis/extensions/v1alpha1/types_operatingsystemconfig.go`).
const CLOUD_CONFIG: &str = "cloud_config";
/// How the names of those Secrets begin, before the name of the object.
const RESULT: &str = "osc-result-";

/// What is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OperatingSystemConfig {
    /// `provision` for what a machine boots with, `reconcile` for what gardener-node-agent keeps up to date.
    pub purpose: String,
    /// Files that a machine would get.
    pub files: Option<Vec<File>>,
    /// systemd units that a machine would run.
    pub units: Option<Vec<Unit>>,
    /// Present for pools whose machines are updated in place.
    pub in_place_updates: Option<Value>,
}

/// A file on a machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct File {
    /// Absolute path.
    pub path: String,
}

/// A systemd unit on a machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unit {
    /// Name with suffix.
    pub name: String,
}

impl MockKind for OperatingSystemConfig {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::OPERATING_SYSTEM_CONFIG;
    const TYPES: &'static [&'static str] = &["mockos"];
    const SECRET_PREFIXES: &'static [&'static str] = &[RESULT];

    fn purpose(&self) -> Option<&str> {
        Some(&self.purpose)
    }

    fn forget(&mut self) {
        // Only the user data of a `provision` config names them, and a `reconcile` config has many.
        if self.purpose != "provision" {
            self.files = None;
            self.units = None;
        }
    }

    fn outcome(object: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        match object.spec.purpose.as_str() {
            "provision" => {
                let secret = user_data(object);
                let reference = json!({ "name": secret.metadata.name, "namespace": secret.metadata.namespace });
                outcome.report("cloudConfig", json!({ "secretRef": reference }));
                outcome.secrets.push(Wanted { secret, needs_namespace: false });
            }
            "reconcile" => {
                // Only in-place pools update the operating system; elsewhere new machines bring the new one.
                let update = object.spec.in_place_updates.as_ref();
                let update = update.map(|_| json!({ "osUpdate": { "command": "true" } }));
                outcome.report("inPlaceUpdates", json!(update));
            }
            other => {
                return Err(Invalid {
                    field: "spec.purpose".to_owned(),
                    problem: format!("is {other:?}, expected provision or reconcile"),
                });
            }
        }
        Ok(outcome)
    }
}

/// The Secret that gardenlet reads right after the object is ready. It is applied, not created: without a garbage
/// collector, the Secret of an earlier object of the same name may still exist.
fn user_data(object: &Object<OperatingSystemConfig>) -> Secret {
    let owner = OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: OperatingSystemConfig::KIND.name.to_owned(),
        name: object.name().to_owned(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let script = object.spec.script();
    Secret {
        metadata: ObjectMeta {
            name: Some(format!("{RESULT}{}", object.name())),
            namespace: object.metadata.namespace.clone(),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(CLOUD_CONFIG.to_owned(), ByteString(script.into_bytes()))])),
        ..Secret::default()
    }
}

impl OperatingSystemConfig {
    fn script(&self) -> String {
        let mut script = "#!/bin/sh\n# A mock: no machine ever runs this. A real one would get\n".to_owned();
        for file in self.files.iter().flatten() {
            // Writing to a String cannot fail.
            let _ = writeln!(script, "#   file {}", file.path.escape_default());
        }
        for unit in self.units.iter().flatten() {
            let _ = writeln!(script, "#   unit {}", unit.name.escape_default());
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_units_are_kept_only_where_the_user_data_names_them() {
        for (purpose, expected) in [("provision", true), ("reconcile", false)] {
            let spec = json!({ "type": "mockos", "purpose": purpose, "files": [{ "path": "/etc/a" }], "units": [] });
            let mut spec: OperatingSystemConfig = serde_json::from_value(spec).unwrap();
            spec.forget();
            assert_eq!(spec.script().contains("/etc/a"), expected, "{purpose}");
            assert_eq!(spec.units.is_some(), expected, "{purpose}");
        }
    }
}
