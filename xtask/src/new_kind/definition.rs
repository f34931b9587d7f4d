//! What a CustomResourceDefinition says of a kind.

use std::path::Path;

use anyhow::{Result, ensure};
use extension_contract::json::{get, list, text};
use extension_contract::{GROUP, VERSION};
use gardener_testbed::manifests::read_one;
use gardener_testbed::schema::minimal;
use serde_json::{Map, Value};

/// Fields of every spec. `MockKind` provides them.
const OF_EVERY_SPEC: [&str; 3] = ["class", "providerConfig", "type"];
/// Fields of every status. Core writes the first four, and a mock needs no state.
const OF_EVERY_STATUS: [&str; 7] =
    ["conditions", "lastError", "lastOperation", "observedGeneration", "providerStatus", "resources", "state"];

/// A kind as its CustomResourceDefinition describes it.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// The smallest valid spec, without its type.
    pub(super) spec: Value,
    /// Fields of the spec, besides those of every kind.
    pub(super) spec_fields: Vec<Field>,
    /// Fields of the status, besides those of every kind.
    pub(super) status_fields: Vec<Field>,
    group: String,
    has_version: bool,
    has_status: bool,
}

/// A field of a spec or of a status.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// The first sentence of its description, in one line.
    pub(super) description: String,
}

impl Definition {
    /// Reads a file with one CustomResourceDefinition.
    pub(super) fn read(file: &Path) -> Result<Self> {
        Ok(Self::of(&read_one(file)?))
    }

    fn of(definition: &Value) -> Self {
        let name = |path: &str| text(definition, path).unwrap_or_default().to_owned();
        let version = list(definition, "spec.versions").iter().find(|version| text(version, "name") == Some(VERSION));
        let properties = |part: &str| {
            let schema = version.and_then(|version| get(version, "schema.openAPIV3Schema.properties"));
            schema.and_then(|schema| get(schema, part))
        };
        let mut spec = properties("spec").map(minimal).unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|field, _| !OF_EVERY_SPEC.contains(&field.as_str()));
        }
        Self {
            kind: name("spec.names.kind"),
            plural: name("spec.names.plural"),
            namespaced: text(definition, "spec.scope") == Some("Namespaced"),
            spec: if spec.is_object() { spec } else { Value::Object(Map::new()) },
            spec_fields: fields(properties("spec"), &OF_EVERY_SPEC),
            status_fields: fields(properties("status"), &OF_EVERY_STATUS),
            group: name("spec.group"),
            has_version: version.is_some(),
            has_status: version.is_some_and(|version| version.pointer("/subresources/status").is_some()),
        }
    }

    /// Fails unless an extension's controller can serve the kind.
    pub(super) fn check(&self, kind: &str) -> Result<()> {
        let Self { kind: found, group, .. } = self;
        ensure!(found == kind, "it defines the kind {found:?}: name that kind, or give another file");
        ensure!(group == GROUP, "its group is {group:?}: extension kinds are in the group {GROUP}");
        ensure!(self.has_version, "it has no version {VERSION}, which all extension kinds have");
        ensure!(
            self.has_status,
            "its version {VERSION} has no subresource `status`: add `subresources: {{status: {{}}}}`"
        );
        Ok(())
    }
}

fn fields(schema: Option<&Value>, common: &[&str]) -> Vec<Field> {
    let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    let own = properties.into_iter().flatten().filter(|(name, _)| !common.contains(&name.as_str()));
    own.map(|(name, schema)| {
        let description = text(schema, "description").unwrap_or_default().replace('\n', " ");
        let first = description.split(". ").next().unwrap_or_default().trim_end_matches('.');
        Field { name: name.clone(), description: first.to_owned() }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn crd() -> Value {
        json!({ "spec": {
            "group": "extensions.gardener.cloud",
            "names": { "kind": "Thing", "plural": "things" },
            "scope": "Cluster",
            "versions": [{
                "name": "v1alpha1",
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "properties": {
                    "spec": {
                        "type": "object",
                        "required": ["type", "size"],
                        "properties": { "type": { "type": "string" }, "size": { "type": "integer" }, "note": {} },
                    },
                    "status": { "properties": {
                        "state": {}, "lastError": {}, "address": { "description": "The\naddress. And more." },
                    } },
                } } },
            }],
        } })
    }

    #[test]
    fn required_and_own_fields_are_read() {
        let thing = Definition::of(&crd());
        thing.check("Thing").unwrap();
        assert_eq!((thing.plural.as_str(), thing.namespaced), ("things", false));
        assert_eq!(thing.spec, json!({ "size": 0 }));
        let names = |fields: &[Field]| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&thing.spec_fields), names(&thing.status_fields)),
            (vec!["note".into(), "size".into()], vec!["address".into()])
        );
        assert_eq!(thing.status_fields[0].description, "The address");
    }

    #[test]
    fn definition_of_no_extension_kind_is_refused_with_the_reason() {
        for (path, value, says) in [
            ("/spec/names/kind", json!("Other"), "defines the kind \"Other\""),
            ("/spec/group", json!("example.org"), "its group is \"example.org\""),
            ("/spec/versions/0/name", json!("v1"), "no version v1alpha1"),
            ("/spec/versions/0/subresources", json!({}), "no subresource `status`"),
        ] {
            let mut crd = crd();
            *crd.pointer_mut(path).unwrap() = value;
            let error = Definition::of(&crd).check("Thing").unwrap_err().to_string();
            assert!(error.contains(says), "{path}: {error}");
        }
    }
}
