//! OperatingSystemConfig: the user data of machines that will never boot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{CustomResource, Resource, ResourceExt};
use mock_core::contract::Status;
use mock_core::extension::{Base, Extension, Input, Invalid, NoOptions, NoShoot, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Key of the user data in its Secret (`pkg/apis/extensions/v1alpha1/types_operatingsystemconfig.go`).
const CLOUD_CONFIG: &str = "cloud_config";

/// What is read of an OperatingSystemConfig.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(group = "extensions.gardener.cloud", version = "v1alpha1", kind = "OperatingSystemConfig", schema = "disabled")]
#[kube(namespaced, status = "Status")]
#[serde(rename_all = "camelCase")]
pub struct OperatingSystemConfigSpec {
    /// Type (the machine image's name) and class.
    #[serde(flatten)]
    pub base: Base,
    /// `provision` for what a machine boots with, `reconcile` for what gardener-node-agent keeps in order.
    #[serde(default)]
    pub purpose: String,
    /// Files that a machine would get.
    #[serde(default)]
    pub files: Option<Vec<File>>,
    /// systemd units that a machine would run.
    #[serde(default)]
    pub units: Option<Vec<Unit>>,
    /// Set for pools whose machines are updated in place.
    pub in_place_updates: Option<Value>,
}

/// A file on a machine.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct File {
    /// Absolute.
    #[serde(default)]
    pub path: String,
}

/// A systemd unit on a machine.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Unit {
    /// With its suffix.
    #[serde(default)]
    pub name: String,
}

impl Extension for OperatingSystemConfig {
    type Options = NoOptions;
    type Shoot = NoShoot;
    // The one finalizer of Gardener's that is plural [extensions/pkg/controller/operatingsystemconfig/reconciler.go].
    const FINALIZER: &'static str = "extensions.gardener.cloud/operatingsystemconfigs";
    const TYPES: &'static [&'static str] = &["mockos"];
    const WRITES_SECRETS: bool = true;

    fn base(&self) -> &Base {
        &self.spec.base
    }

    fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    fn purpose(&self) -> Option<&str> {
        Some(&self.spec.purpose)
    }

    fn forget(&mut self) {
        // What a machine boots with names a few files, what is kept in order afterwards many.
        if self.spec.purpose != "provision" {
            self.spec.files = None;
            self.spec.units = None;
        }
    }

    fn outcome(&self, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        match self.spec.purpose.as_str() {
            "provision" => {
                let secret = self.user_data();
                let reference = json!({ "name": secret.metadata.name, "namespace": secret.metadata.namespace });
                outcome.status.insert("cloudConfig".to_owned(), json!({ "secretRef": reference }));
                outcome.secrets.push(secret);
            }
            "reconcile" => {
                // Only in-place pools have an operating system to update; elsewhere new machines bring theirs.
                let update = self.spec.in_place_updates.as_ref().map(|_| json!({ "osUpdate": { "command": "true" } }));
                outcome.status.insert("inPlaceUpdates".to_owned(), json!(update));
            }
            other => {
                return Err(Invalid {
                    field: "spec.purpose".to_owned(),
                    problem: format!("is {other:?}, must be provision or reconcile"),
                });
            }
        }
        Ok(outcome)
    }
}

impl OperatingSystemConfig {
    /// The Secret that gardenlet reads right after the object is ready. Applied, not created: where no garbage
    /// collector runs, one of an earlier object of the same name may still be there.
    fn user_data(&self) -> Secret {
        let owner = OwnerReference {
            api_version: Self::api_version(&()).into_owned(),
            kind: Self::kind(&()).into_owned(),
            name: self.name_any(),
            uid: self.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        Secret {
            metadata: ObjectMeta {
                name: Some(format!("osc-result-{}", self.name_any())),
                namespace: self.namespace(),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(CLOUD_CONFIG.to_owned(), ByteString(self.script().into_bytes()))])),
            ..Secret::default()
        }
    }

    fn script(&self) -> String {
        let mut script = "#!/bin/sh\n# A mock: no machine ever runs this. A real one would get\n".to_owned();
        for file in self.spec.files.iter().flatten() {
            // Writing to a String cannot fail.
            let _ = writeln!(script, "#   file {}", file.path.escape_default());
        }
        for unit in self.spec.units.iter().flatten() {
            let _ = writeln!(script, "#   unit {}", unit.name.escape_default());
        }
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_units_are_remembered_where_the_user_data_names_them() {
        for (purpose, expected) in [("provision", true), ("reconcile", false)] {
            let spec = json!({ "type": "mockos", "purpose": purpose, "files": [{ "path": "/etc/a" }], "units": [] });
            let mut object: OperatingSystemConfig =
                serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
            object.forget();
            assert_eq!(object.script().contains("/etc/a"), expected, "{purpose}");
            assert_eq!(object.spec.units.is_some(), expected, "{purpose}");
        }
    }
}
