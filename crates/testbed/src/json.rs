//! Reads and changes JSON by the paths that people write: `spec.provider.workers[0].name`.

use serde_json::{Map, Value, map::Entry};

/// The value at a path; `null` counts as absent, as in Kubernetes.
pub(crate) fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut pointer = String::with_capacity(path.len() + 1);
    for step in path.split(['.', '[']) {
        pointer.push('/');
        pointer.push_str(step.trim_end_matches(']'));
    }
    value.pointer(&pointer).filter(|found| !found.is_null())
}

/// The text at a path; empty text counts as absent.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    get(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The list at a path; none is an empty one.
pub(crate) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    get(value, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An annotation; their names hold dots, which the other functions take for steps.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    get(object, "metadata.annotations")?.get(name)?.as_str()
}

/// Sets the value at a path of objects and makes those that are missing.
pub(crate) fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    set_at(value, path.split('.'), new.into());
}

/// Sets an annotation.
pub(crate) fn annotate(object: &mut Value, name: &str, new: impl Into<Value>) {
    set_at(object, ["metadata", "annotations", name].into_iter(), new.into());
}

/// As [`set`], but only where nothing stands.
pub(crate) fn set_default(value: &mut Value, path: &str, new: impl Into<Value>) {
    if get(value, path).is_none() {
        set(value, path, new);
    }
}

/// Takes the field at a path of objects away.
pub(crate) fn remove(value: &mut Value, path: &str) {
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
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => free.insert(Value::Null),
        },
        other => other,
    }
}

/// Drops fields that are `null`, at any depth.
pub(crate) fn without_nulls(mut value: Value) -> Value {
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

/// The JSON merge patch (RFC 7386) that makes `new` of `old`; none if they are equal.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Option<Value> {
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
    fn merge_patch_holds_only_what_changes() {
        let old = json!({"a": 1, "b": {"c": [1, 2], "d": 4}, "gone": true});
        let new = json!({"a": 1, "b": {"c": [1], "d": 4}, "new": {"x": 1}});
        assert_eq!(merge_patch(&old, &new), Some(json!({"b": {"c": [1]}, "new": {"x": 1}, "gone": null})));
        assert_eq!(merge_patch(&old, &old), None);
    }

    #[test]
    fn paths_step_through_lists_and_make_objects() {
        let mut value = json!({"a": [{"b": "x"}, {"b": null}]});
        assert_eq!(text(&value, "a[0].b"), Some("x"));
        assert_eq!(get(&value, "a[1].b"), None);
        set(&mut value, "c.d", 1);
        annotate(&mut value, "x.y/z", "v");
        assert_eq!(annotation(&value, "x.y/z"), Some("v"));
        assert_eq!(get(&value, "c.d"), Some(&json!(1)));
    }
}
