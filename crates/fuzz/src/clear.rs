//! Whether an error helps its reader.

use mock_core::kind::Invalid;
use serde_json::Value;

/// Why an error of decoding does not help: its field has to be a place in the object.
pub(crate) fn misleads(invalid: &Invalid, object: &Value) -> Option<String> {
    if invalid.problem.is_empty() {
        return Some(format!("the error about {} does not say what is wrong", invalid.field));
    }
    (!leads_to_a_value(object, &invalid.field)).then(|| format!("no field is called {:?}: {invalid}", invalid.field))
}

/// Names of fields may contain separators, so every field whose name begins the path is tried.
fn leads_to_a_value(value: &Value, path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    match value {
        Value::Array(items) => {
            let step = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let step = step.and_then(|(index, rest)| Some((items.get(index.parse::<usize>().ok()?)?, rest)));
            step.is_some_and(|(item, rest)| leads_on(item, rest))
        }
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            let rest = path.strip_prefix(name.as_str());
            rest.is_some_and(|rest| leads_on(field, rest))
        }),
        _ => false,
    }
}

/// `rest`: the path after the value's own step.
fn leads_on(value: &Value, rest: &str) -> bool {
    match rest.strip_prefix('.') {
        Some(further) => !further.is_empty() && leads_to_a_value(value, further),
        None => (rest.is_empty() || rest.starts_with('[')) && leads_to_a_value(value, rest),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_path_of_a_value_leads_to_it() {
        let object = json!({ "spec": { "a": [1, { "b.c": { "d": 1 } }] } });
        for path in ["spec", "spec.a", "spec.a[0]", "spec.a[1].b.c", "spec.a[1].b.c.d"] {
            assert!(leads_to_a_value(&object, path), "{path}");
        }
        for path in ["spec.", "spec..a", "a", "spec.a[2]", "spec.a.b", "spec.a[1].b", "spec.a[0].?"] {
            assert!(!leads_to_a_value(&object, path), "{path}");
        }
    }
}
