//! The schema of a `CustomResourceDefinition`.

mod violations;

use extension_contract::json::{list, text};
use serde_json::{Map, Value, json};

pub use self::violations::violations;

/// The smallest value that a schema of a CRD accepts.
#[must_use]
pub fn minimal(schema: &Value) -> Value {
    if let Some(first) = list(schema, "enum").first() {
        return first.clone();
    }
    match text(schema, "type").unwrap_or_default() {
        "object" => {
            let required = list(schema, "required").iter().filter_map(Value::as_str);
            let field = |name: &str| {
                let schema = schema.get("properties")?.get(name)?;
                Some((name.to_owned(), minimal(schema)))
            };
            Value::Object(required.filter_map(field).collect::<Map<_, _>>())
        }
        "array" => {
            let fewest = schema.get("minItems").and_then(Value::as_u64).unwrap_or_default();
            (0..fewest).map(|_| schema.get("items").map_or(Value::Null, minimal)).collect()
        }
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(0)),
        "boolean" => json!(false),
        _ if schema.get("x-kubernetes-int-or-string").is_some() => json!(0),
        // This is also valid base64, for fields of bytes.
        _ => json!("AAAA"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimal_value_has_what_the_schema_requires() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b", "c", "d", "e"],
            "properties": {
                "a": { "type": "string" },
                "b": { "type": "string", "enum": ["x", "y"] },
                "c": { "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } },
                "d": { "type": "array", "items": { "type": "boolean" }, "minItems": 2 },
                "e": { "x-kubernetes-int-or-string": true },
                "f": { "type": "string" },
            },
        });
        let expected = json!({ "a": "AAAA", "b": "x", "c": { "n": 0 }, "d": [false, false], "e": 0 });
        assert_eq!(minimal(&schema), expected);
    }
}
