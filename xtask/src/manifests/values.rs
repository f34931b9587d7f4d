//! Values of the chart from a user's file. They are checked here: Helm would only do so when it installs the chart, which
//! is on a seed and long afterwards.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use gardener_testbed::manifests::read_one;
use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use mock_core::script::Script;
use serde_json::{Map, Value};

/// The schema of the values, which Helm checks too.
const SCHEMA: &str = "values.schema.json";

/// Values that each registration sets itself.
const NOT_FOR_ALL: [(&str, &str); 4] = [
    ("/kind", "each controller's own"),
    ("/types", "set by --type"),
    ("/image/repository", "set by --registry"),
    ("/image/tag", "set by --tag"),
];

/// Reads the file. An error names it, the value, and what is expected.
pub(super) fn read(path: &Path, chart: &Path) -> Result<Map<String, Value>> {
    let values = read_one(path).context("--values")?;
    let schema = read_one(&chart.join(SCHEMA))?;
    let defaults = read_one(&chart.join("values.yaml"))?;
    check(values, &schema, defaults).map_err(|problem| anyhow!("--values {}: {problem}", path.display()))
}

fn check(values: Value, schema: &Value, defaults: Value) -> Result<Map<String, Value>> {
    for (key, instead) in NOT_FOR_ALL {
        let name = key.trim_start_matches('/').replace('/', ".");
        ensure!(values.pointer(key).is_none(), "{name} is {instead}: leave it out");
    }
    let values = match values {
        Value::Object(values) => values,
        Value::Null => Map::new(),
        _ => bail!("it must be a map of the chart's values, such as `replicas: 2`"),
    };
    // Helm cannot check a script, and a controller does not start with an invalid one.
    match values.get("script") {
        Some(Value::String(text)) if !text.is_empty() => {
            Script::parse(text).map_err(|invalid| anyhow!("invalid script: {invalid}"))?;
        }
        None | Some(Value::String(_)) => {}
        Some(_) => bail!("script must be text: begin it with `script: |`"),
    }
    // As Helm does: null removes a default, and a map is merged with that of the chart.
    let mut merged = defaults;
    json_patch::merge(&mut merged, &Value::Object(values.clone()));
    if let Some(problem) = problem(&merged, schema)? {
        bail!("{problem}");
    }
    Ok(values)
}

/// The first thing that the schema says against the values.
fn problem(values: &Value, schema: &Value) -> Result<Option<String>> {
    let validator = jsonschema::validator_for(schema).map_err(|error| anyhow!("{SCHEMA} of the chart: {error}"))?;
    let found = validator.iter_errors(values).next().map(|error| describe(&error, schema));
    Ok(found)
}

fn describe(error: &ValidationError<'_>, schema: &Value) -> String {
    let place = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() else {
        return format!("{place}: {error}: deploy/chart/values.yaml describes the values");
    };
    let prefix = if place.is_empty() { place } else { format!("{place}.") };
    let unknown: Vec<_> = unexpected.iter().map(|name| format!("{prefix}{name}")).collect();
    let parent = error.schema_path().as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
    let known = schema.pointer(&format!("{parent}/properties")).and_then(Value::as_object);
    let known = known.map(|known| known.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
    let known = known.unwrap_or_else(|| "those in deploy/chart/values.yaml".to_owned());
    let verb = if unknown.len() == 1 { "is not a value" } else { "are not values" };
    format!("{} {verb} of the chart; use one of {known}", unknown.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem_of(values: Value) -> String {
        let chart = crate::chart::folder();
        let [schema, defaults] = [SCHEMA, "values.yaml"].map(|file| read_one(&chart.join(file)).unwrap());
        check(values, &schema, defaults).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn wrong_value_is_an_error_with_its_key_and_what_is_expected() {
        for (values, expected) in [
            (json!({ "replicas": "many" }), r#"replicas: "many" is not of type "integer""#),
            (json!({ "replicas": -1 }), "replicas: -1 is less than the minimum of 0"),
            (json!({ "replicas": 1.5 }), "replicas: 1.5 is not of type"),
            (json!({ "replicas": null }), r#""replicas" is a required property"#),
            (json!({ "resources": [] }), "resources: [] is not of type"),
            (json!({ "concurrency": 65536 }), "concurrency: 65536 is greater than the maximum of 65535"),
            (json!({ "image": { "pullPolicy": "Often" } }), r#"image.pullPolicy: "Often" is not one of"#),
            (json!({ "image": "a" }), "image: "),
            (json!({ "classes": ["shoots"] }), r#"classes.0: "shoots" is not one of"#),
            (json!({ "replicsa": 2 }), "replicsa is not a value of the chart; use one of adminPort, "),
            (json!({ "vpa": { "on": true } }), "vpa.on is not a value of the chart; use one of enabled, "),
            (json!({ "types": ["a"] }), "types is set by --type: leave it out"),
            (json!({ "script": { "rules": [] } }), "script must be text: begin it with `script: |`"),
            (json!({ "script": "rules: 1" }), "invalid script: "),
            (json!([]), "it must be a map of the chart's values, such as `replicas: 2`"),
        ] {
            let problem = problem_of(values.clone());
            assert!(problem.contains(expected) && !problem.contains('\n'), "{values}: {problem}");
        }
    }

    #[test]
    fn values_of_the_right_types_are_accepted_and_null_removes_a_default() {
        for values in [
            json!(null),
            json!({ "replicas": 2, "resources": { "limits": { "memory": "1Gi" } }, "concurrency": 4 }),
            json!({ "resources": null, "concurrency": null, "nodeSelector": { "a": "b" } }),
        ] {
            assert_eq!(problem_of(values.clone()), "accepted", "{values}");
        }
    }

    #[test]
    fn file_must_be_a_map_of_known_keys_with_a_valid_script() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            super::read(file.path(), &crate::chart::folder()).map(Value::Object).map_err(|error| error.to_string())
        };
        assert_eq!(read("script: ''\nreplicas: 2"), Ok(json!({ "script": "", "replicas": 2 })));
        assert_eq!(read("# nothing"), Ok(json!({})));
        assert!(read("resources: { requests: { cpu: 10m } }\nlivenessProbe: { periodSeconds: 1 }").is_ok());
        assert!(read("nodeSelector: { a/b: c }\ntolerations: [{ operator: Exists }]\naffinity: {}").is_ok());
        for (bad, says) in [
            ("script: 'rules: 7'", "invalid script: rules: "),
            ("script: { rules: [] }", "script must be text"),
            ("- replicas", "must be a map"),
            ("kind: worker", "kind is each controller's own"),
            ("replica: 2", "replica is not a value of the chart; use one of "),
            ("heartbeat: { enabld: true }", "heartbeat.enabld is not a value of the chart; use one of enabled, "),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
