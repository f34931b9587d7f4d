//! Values that the schema of a CRD accepts.

use extension_contract::json::{list, text};
use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// Times that an API server accepts. Some of them are none.
const TIMES: &[&str] = &[
    "2026-08-20T10:15:30Z",
    "2026-08-20T10:15:29.999999999+02:00",
    "2030-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-30T21:59:59Z",
    "2026-08-20T10:15:30+99:99",
    "2026-08-20T10:15:30x5z",
];

/// Quantities that the pattern in the CRDs accepts.
const QUANTITIES: &[&str] = &["80m", "1Gi", "20k", "+1.5e3", "-.5", "99999999999999999999Ei", "1n"];

/// A value that the schema accepts.
pub(crate) fn value(dice: &mut Dice<'_>, schema: &Value, depth: usize) -> Value {
    if let Some(choice) = dice.pick(list(schema, "enum")) {
        return choice.clone();
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return if dice.one_in(2) { json!(dice.integer()) } else { json!(dice.pick_text(QUANTITIES)) };
    }
    match text(schema, "type").unwrap_or_default() {
        "object" => Value::Object(fields(dice, schema, depth)),
        "array" => {
            let count = dice.below(4);
            let items = schema.get("items").unwrap_or(&Value::Null);
            (0..count).map(|_| value(dice, items, depth.saturating_sub(1))).collect()
        }
        "integer" => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
            let (least, most) = match text(schema, "format") {
                Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
                _ => (i64::MIN, i64::MAX),
            };
            let (least, most) = (bound("minimum").unwrap_or(least), bound("maximum").unwrap_or(most));
            json!(dice.integer().clamp(least, most))
        }
        "number" => json!(dice.integer()),
        "boolean" => json!(dice.one_in(2)),
        "string" => match text(schema, "format") {
            Some("date-time") => json!(dice.pick_text(TIMES)),
            Some("byte") => json!("AAAA"),
            _ => json!(dice.text()),
        },
        _ => dice.json(3),
    }
}

fn fields(dice: &mut Dice<'_>, schema: &Value, depth: usize) -> Map<String, Value> {
    let mut fields = Map::new();
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
        fields = dice.fields(4);
    }
    if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
        let count = dice.below(3);
        fields.extend((0..count).map(|_| (dice.field(), value(dice, schema, depth.saturating_sub(1)))));
    }
    let required = list(schema, "required");
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let is_required = required.iter().any(|required| required == name);
        if is_required || (depth > 0 && !dice.one_in(3)) {
            fields.insert(name.clone(), value(dice, schema, depth.saturating_sub(1)));
        }
    }
    fields
}
