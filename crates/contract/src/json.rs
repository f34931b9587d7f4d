//! Reads and changes JSON values by dotted paths, such as `spec.provider.workers[0].name`.

use serde_json::map::Entry;
use serde_json::{Map, Value};

/// Returns the value at a path. `null` counts as absent, as in Kubernetes.
#[must_use]
pub fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut pointer = String::with_capacity(path.len() + 1);
    for step in path.split(['.', '[']) {
        pointer.push('/');
        pointer.push_str(step.trim_end_matches(']'));
    }
    value.pointer(&pointer).filter(|found| !found.is_null())
}

/// Returns the string at a path. An empty string counts as absent.
#[must_use]
pub fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Returns the array at a path, or an empty slice if there is none.
#[must_use]
pub fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the value of an annotation. Names of annotations contain dots, so no path can address them.
#[must_use]
pub fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    get(object, "metadata.annotations")?.get(name)?.as_str()
}

/// Sets the value at a path of fields, without `[index]`. Creates missing objects, and replaces values on the path that
/// are not objects.
pub fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    set_at(value, path.split('.'), new.into());
}

/// Sets an annotation.
pub fn annotate(object: &mut Value, name: &str, new: impl Into<Value>) {
    set_at(object, ["metadata", "annotations", name].into_iter(), new.into());
}

/// Like [`set`], but keeps an existing value.
pub fn set_default(value: &mut Value, path: &str, new: impl Into<Value>) {
    if get(value, path).is_none() {
        set(value, path, new);
    }
}

/// Removes the field at a path of fields, if it exists.
pub fn remove(value: &mut Value, path: &str) {
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer = if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
    if let Some(fields) = value.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        fields.remove(field);
    }
}

fn set_at<'a>(value: &mut Value, mut path: impl Iterator<Item = &'a str>, new: Value) {
    let Some(step) = path.next() else {
        *value = new;
        return;
    };
    set_at(entry(value, step), path, new);
}

fn entry<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => match fields.entry(key) {
            Entry::Occupied(existing) => existing.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Value::Null),
        },
        other => other,
    }
}

/// Removes all fields that are `null`, at any depth.
#[must_use]
pub fn without_nulls(mut value: Value) -> Value {
    drop_nulls(&mut value);
    value
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Returns the JSON merge patch (RFC 7386) that turns `old` into `new`, or `None` if they are equal.
#[must_use]
pub fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old_fields), Value::Object(new_fields)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for (key, value) in new_fields {
        let change = old_fields.get(key).map_or_else(|| Some(value.clone()), |old| merge_patch(old, value));
        patch.extend(change.map(|change| (key.clone(), change)));
    }
    let removed = old_fields.keys().filter(|key| !new_fields.contains_key(*key));
    patch.extend(removed.map(|key| (key.clone(), Value::Null)));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patch_contains_only_changed_fields() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": 4}, "gone": true});
        let new = json!({"a": 1, "b": {"c": [1], "d": 4}, "new": {"x": 1}});
        assert_eq!(merge_patch(&old, &new), Some(json!({"b": {"c": [1]}, "new": {"x": 1}, "gone": null})));
        assert_eq!(merge_patch(&old, &old), None);
    }

    #[test]
    fn paths_index_arrays_and_create_missing_objects() {
        let mut value = json!({"a": [{"b": "x"}, {"b": null}]});
        assert_eq!(text(&value, "a[0].b"), Some("x"));
        assert_eq!(get(&value, "a[1].b"), None);
        set(&mut value, "c.d", 1);
        annotate(&mut value, "x.y/z", "v");
        assert_eq!(annotation(&value, "x.y/z"), Some("v"));
        assert_eq!(get(&value, "c.d"), Some(&json!(1)));
    }
}
