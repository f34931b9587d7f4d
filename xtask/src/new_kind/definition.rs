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

/// The fields without which gardenlet and a controller do not understand each other.
const NEEDED: [(&str, &[&str]); 2] =
    [("spec", &["type"]), ("status", &["conditions", "lastError", "lastOperation", "observedGeneration"])];

const DEFINITION: &str = "CustomResourceDefinition";
const NAMESPACED: &str = "Namespaced";
const CLUSTER: &str = "Cluster";

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
    /// What keeps an extension's controller from serving the kind.
    problems: Vec<String>,
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
            namespaced: text(definition, "spec.scope") == Some(NAMESPACED),
            spec: if spec.is_object() { spec } else { Value::Object(Map::new()) },
            spec_fields: fields(properties("spec"), &OF_EVERY_SPEC),
            status_fields: fields(properties("status"), &OF_EVERY_STATUS),
            problems: problems(definition, version),
        }
    }

    /// Fails unless an extension's controller can serve the kind. Names each field that is wrong.
    pub(super) fn check(&self, kind: &str) -> Result<()> {
        ensure!(self.problems.is_empty(), "{}", self.problems.join("; "));
        let found = &self.kind;
        ensure!(found == kind, "spec.names.kind is {found:?}: name that kind, or give another file");
        Ok(())
    }
}

/// Says of each wrong field of a definition what it has to be.
fn problems(definition: &Value, version: Option<&Value>) -> Vec<String> {
    let found = text(definition, "kind").unwrap_or_default();
    if found != DEFINITION {
        return vec![format!("kind is {found:?}: give a file with one {DEFINITION}")];
    }
    let field = |path: &str| text(definition, path).unwrap_or_default();
    let mut problems = Vec::new();
    let mut demand = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    let (name, group, plural) = (field("metadata.name"), field("spec.group"), field("spec.names.plural"));
    demand(group == GROUP, format!("spec.group is {group:?}: extension kinds are in the group {GROUP}"));
    demand(!field("spec.names.kind").is_empty(), "spec.names.kind is missing".to_owned());
    demand(!plural.is_empty(), "spec.names.plural is missing".to_owned());
    let full = format!("{plural}.{group}");
    demand(name == full, format!("metadata.name is {name:?}: the API server wants plural and group, {full:?}"));
    let scope = field("spec.scope");
    demand([NAMESPACED, CLUSTER].contains(&scope), format!("spec.scope is {scope:?}: write {NAMESPACED} or {CLUSTER}"));
    let Some(version) = version else {
        demand(false, format!("spec.versions has no {VERSION}, which all extension kinds have: add it"));
        return problems;
    };
    let is_served = get(version, "served") == Some(&Value::Bool(true));
    demand(is_served, format!("spec.versions: {VERSION} is not served: write `served: true`"));
    let has_status = version.pointer("/subresources/status").is_some();
    demand(
        has_status,
        format!("spec.versions: {VERSION} has no subresource `status`: add `subresources: {{status: {{}}}}`"),
    );
    for (part, needed) in NEEDED {
        let schema = get(version, &format!("schema.openAPIV3Schema.properties.{part}"));
        let keeps_any = schema.and_then(|schema| schema.get("x-kubernetes-preserve-unknown-fields"));
        let properties = schema.and_then(|schema| schema.get("properties"));
        let has = |field: &str| properties.and_then(|properties| properties.get(field)).is_some();
        let missing: Vec<_> = needed.iter().filter(|field| !has(field)).copied().collect();
        demand(
            missing.is_empty() || keeps_any == Some(&Value::Bool(true)),
            format!(
                "spec.versions: the schema of {VERSION} has no {} in {part}: add the fields that extension kinds share",
                missing.join(", ")
            ),
        );
    }
    problems
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
        json!({ "kind": "CustomResourceDefinition", "metadata": { "name": "things.extensions.gardener.cloud" }, "spec": {
            "group": "extensions.gardener.cloud",
            "names": { "kind": "Thing", "plural": "things" },
            "scope": "Cluster",
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "properties": {
                    "spec": {
                        "type": "object",
                        "required": ["type", "size"],
                        "properties": { "type": { "type": "string" }, "size": { "type": "integer" }, "note": {} },
                    },
                    "status": { "properties": {
                        "state": {}, "lastError": {}, "lastOperation": {}, "conditions": {}, "observedGeneration": {},
                        "address": { "description": "The\naddress. And more." },
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
    fn status_of_any_fields_is_accepted() {
        let mut crd = crd();
        let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
        *crd.pointer_mut(status).unwrap() = json!({ "x-kubernetes-preserve-unknown-fields": true });
        Definition::of(&crd).check("Thing").unwrap();
    }

    #[test]
    fn definition_of_no_extension_kind_is_refused_with_the_reason() {
        for (path, value, says) in [
            ("/kind", json!("ConfigMap"), "kind is \"ConfigMap\": give a file with one CustomResourceDefinition"),
            ("/metadata/name", json!("things"), "wants plural and group, \"things.extensions.gardener.cloud\""),
            ("/spec/names/kind", json!("Other"), "spec.names.kind is \"Other\": name that kind"),
            ("/spec/names/plural", json!(null), "spec.names.plural is missing"),
            ("/spec/scope", json!("namespaced"), "spec.scope is \"namespaced\": write Namespaced or Cluster"),
            ("/spec/group", json!("example.org"), "spec.group is \"example.org\""),
            ("/spec/versions/0/name", json!("v1"), "spec.versions has no v1alpha1"),
            ("/spec/versions/0/served", json!(false), "v1alpha1 is not served"),
            ("/spec/versions/0/subresources", json!({}), "no subresource `status`"),
            ("/spec/versions/0/schema", json!({}), "has no type in spec"),
            (
                "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/lastOperation",
                json!(null),
                "has no lastOperation in status",
            ),
        ] {
            let mut crd = crd();
            let (parent, field) = path.rsplit_once('/').unwrap();
            let parent = crd.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            if value.is_null() {
                parent.remove(field);
            } else {
                parent.insert(field.to_owned(), value);
            }
            let error = Definition::of(&crd).check("Thing").unwrap_err().to_string();
            assert!(error.contains(says), "{path}: {error}");
        }
    }
}
