//! What an API server would not accept or would drop from an object, because of the schema of its CRD.

use extension_contract::json::{list, text};
use serde_json::Value;

/// Where and why a schema refuses a value, one line each. A field that the API server would drop counts as refused.
///
/// Patterns, limits of lengths and rules in CEL are not checked.
#[must_use]
pub fn violations(path: &str, value: &Value, schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(path, value, schema, &mut found);
    found
}

fn check(path: &str, value: &Value, schema: &Value, found: &mut Vec<String>) {
    let expected = text(schema, "type").unwrap_or("any");
    if !has_type(value, expected, schema) {
        found.push(format!("{path} is {value}, expected {expected}"));
        return;
    }
    let choices = list(schema, "enum");
    if !choices.is_empty() && !choices.contains(value) {
        found.push(format!("{path} is {value}, expected one of {}", Value::from(choices)));
    }
    for (bound, holds) in [("minimum", f64::ge as fn(&f64, &f64) -> bool), ("maximum", f64::le)] {
        let bound_of = schema.get(bound).and_then(Value::as_f64);
        if let (Some(limit), Some(number)) = (bound_of, value.as_f64())
            && !holds(&number, &limit)
        {
            found.push(format!("{path} is {value}, the {bound} is {limit}"));
        }
    }
    if text(schema, "format") == Some("int32") && value.as_i64().is_some_and(|number| i32::try_from(number).is_err()) {
        found.push(format!("{path} is {value}, expected a number of 32 bits"));
    }
    match value {
        Value::String(given) if text(schema, "format") == Some("date-time") && !is_time(given) => {
            found.push(format!("{path} is {value}, expected a time"));
        }
        Value::Array(items) => {
            // Without a schema of its items, an array may hold anything.
            if let Some(schema) = schema.get("items") {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| check(&format!("{path}[{index}]"), item, schema, found));
            }
        }
        Value::Object(_) => check_fields(path, value, schema, found),
        _ => {}
    }
}

fn check_fields(path: &str, value: &Value, schema: &Value, found: &mut Vec<String>) {
    let missing = list(schema, "required").iter().filter_map(Value::as_str).filter(|name| value.get(name).is_none());
    found.extend(missing.map(|name| format!("{path}.{name} is missing")));
    let is_open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = schema.get("properties").and_then(|known| known.get(name));
        match known.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object())) {
            Some(schema) => check(&format!("{path}.{name}"), field, schema, found),
            None if is_open => {}
            None => found.push(format!("{path}.{name} is not in the schema: the API server drops it")),
        }
    }
}

fn has_type(value: &Value, expected: &str, schema: &Value) -> bool {
    let is_whole = || value.is_i64() || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return value.is_string() || is_whole();
    }
    match expected {
        "any" => true,
        _ if value.is_null() => schema.get("nullable") == Some(&Value::Bool(true)),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(),
        "number" => value.is_number(),
        _ => false,
    }
}

/// Whether a text has the form of a time (`k8s.io/kube-openapi/pkg/validation/strfmt/time.go`), apart from whether the
/// date exists.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let rest = rest
        .strip_prefix(|any: char| any != 'Z' && any != '+' && any != '-')
        .map_or(rest, |fraction| fraction.trim_start_matches('0'));
    matches!(rest, "Z" | "z" | "+00:00" | "-00:00")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_keyword_of_a_schema_is_checked() {
        let object = |properties: Value| json!({ "type": "object", "properties": { "f": properties } });
        for (schema, good, bad, why) in [
            (json!({ "type": "string" }), json!("a"), json!(1), "f is 1, expected string"),
            (json!({ "type": "string" }), json!("a"), json!(null), "f is null, expected string"),
            (json!({ "type": "integer" }), json!(1.0), json!(1.5), "f is 1.5, expected integer"),
            (json!({ "type": "integer", "minimum": 2 }), json!(2), json!(1), "f is 1, the minimum is 2"),
            (json!({ "type": "integer", "maximum": 2 }), json!(2), json!(3), "f is 3, the maximum is 2"),
            (
                json!({ "type": "integer", "format": "int32" }),
                json!(1),
                json!(1_i64 << 31),
                "expected a number of 32 bits",
            ),
            (json!({ "type": "string", "enum": ["a"] }), json!("a"), json!("b"), "expected one of [\"a\"]"),
            (
                json!({ "x-kubernetes-preserve-unknown-fields": true, "enum": [[{ "a": 1 }]] }),
                json!([{ "a": 1 }]),
                json!(1),
                "one of",
            ),
            (json!({ "x-kubernetes-int-or-string": true }), json!("1"), json!(true), "f is true"),
            (
                json!({ "type": "string", "format": "date-time" }),
                json!("2026-01-01T00:00:00.5+01:00"),
                json!("2026-01-01"),
                "expected a time",
            ),
            (
                json!({ "type": "array", "items": { "type": "boolean" } }),
                json!([true]),
                json!([true, 0]),
                "f[1] is 0, expected boolean",
            ),
            (object(json!({ "type": "string" })), json!({ "f": "a" }), json!({ "g": 1 }), "f.g is not in the schema"),
            (
                json!({ "type": "object", "required": ["f"], "x-kubernetes-preserve-unknown-fields": true }),
                json!({ "f": [null] }),
                json!({ "g": 1 }),
                "f.f is missing",
            ),
            (
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
                json!({ "any": "a" }),
                json!({ "any": [] }),
                "f.any is [], expected string",
            ),
        ] {
            assert_eq!(violations("f", &good, &schema), Vec::<String>::new());
            let found = violations("f", &bad, &schema);
            assert!(found.len() == 1 && found[0].contains(why), "{found:?} instead of {why}");
        }
    }
}
