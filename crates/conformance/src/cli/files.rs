//! The files that describe the controller's objects.

use std::path::Path;

use extension_contract::Kind;
use gardener_testbed::manifests;
use libtest_mimic::Failed;
use serde_json::{Value, json};

/// A spec of the kind, and the objects after it. The first document may be a whole object.
pub(super) fn spec(file: &Path, kind: &Kind) -> Result<(Value, Vec<Value>), Failed> {
    let mut documents = manifests::read(file)?.into_iter();
    let first = documents.next().ok_or_else(|| format!("{} is empty: write a valid spec to it", file.display()))?;
    let spec = match (first.get("kind").and_then(Value::as_str), first.get("spec")) {
        (Some(name), Some(spec)) if name == kind.name => spec.clone(),
        (Some(name), Some(_)) => {
            let expected = kind.name;
            return Err(format!("{}: the kind of the first object is {name}, not {expected}", file.display()).into());
        }
        _ => first,
    };
    Ok((of_fields(spec, file)?, documents.collect()))
}

/// A file with one object of any fields.
pub(super) fn object(file: &Path) -> Result<Value, Failed> {
    of_fields(manifests::read_one(file)?, file)
}

/// The `shoot`, `cloudProfile` and `seed` of a Cluster, which may be a whole object or its spec.
pub(super) fn cluster(file: &Path) -> Result<Value, Failed> {
    const PARTS: [&str; 3] = ["shoot", "cloudProfile", "seed"];
    let cluster = object(file)?;
    let spec = cluster.get("spec").cloned().unwrap_or(cluster);
    let unknown = spec.as_object().and_then(|fields| fields.keys().find(|name| !PARTS.contains(&name.as_str())));
    if let Some(unknown) = unknown {
        let parts = PARTS.join(", ");
        return Err(format!("{}: a Cluster has the fields {parts}, but this one has {unknown}", file.display()).into());
    }
    Ok(spec)
}

/// Objects that the kit creates in its namespaces. A namespace of their own makes no sense.
pub(super) fn namespaced(file: &Path) -> Result<Vec<Value>, Failed> {
    let objects = manifests::read(file)?;
    for object in &objects {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if let Some(namespace) = object.pointer("/metadata/namespace").filter(|namespace| **namespace != json!("")) {
            let why = format!("{name} has the namespace {namespace}: remove it, the kit sets its own namespaces");
            return Err(format!("{}: {why}", file.display()).into());
        }
    }
    Ok(objects)
}

fn of_fields(value: Value, file: &Path) -> Result<Value, Failed> {
    if value.is_object() {
        Ok(value)
    } else {
        Err(format!("{}: expected fields and their values", file.display()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use extension_contract::kinds;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn message<T: std::fmt::Debug>(result: Result<T, Failed>) -> String {
        result.unwrap_err().message().unwrap_or_default().to_owned()
    }

    #[test]
    fn spec_may_be_bare_or_in_an_object_and_others_follow() {
        let read = |text: &str| spec(file(text).path(), &kinds::WORKER);
        assert_eq!(read("{type: a, region: b}").unwrap(), (json!({ "type": "a", "region": "b" }), Vec::new()));
        let whole = read("{kind: Worker, metadata: {name: w}, spec: {type: a}}\n---\n{kind: Secret}").unwrap();
        assert_eq!(whole, (json!({ "type": "a" }), vec![json!({ "kind": "Secret" })]));
        assert!(message(read("")).contains("is empty"));
        assert!(message(read("{kind: Network, spec: {}}")).ends_with("the first object is Network, not Worker"));
        assert!(message(read("- a")).ends_with("expected fields and their values"));
    }

    #[test]
    fn cluster_may_be_whole_and_has_no_other_part() {
        let whole = "{kind: Cluster, spec: {shoot: {spec: {}}, seed: {}}}";
        assert_eq!(cluster(file(whole).path()).unwrap(), json!({ "shoot": { "spec": {} }, "seed": {} }));
        assert!(message(cluster(file("{shot: {}}").path())).ends_with("but this one has shot"));
    }

    #[test]
    fn object_for_each_namespace_names_none() {
        assert_eq!(namespaced(file("{kind: Secret, metadata: {name: a}}").path()).unwrap().len(), 1);
        let error = message(namespaced(file("{kind: Secret, metadata: {name: a, namespace: b}}").path()));
        assert!(error.contains("a has the namespace \"b\": remove it"), "{error}");
    }
}
