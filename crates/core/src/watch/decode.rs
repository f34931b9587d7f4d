//! Cheap, partial decoding of watched objects. One malformed object does not block the others.

pub(crate) mod metadata;

use std::borrow::Cow;
use std::marker::PhantomData;

use extension_contract::Status;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use self::metadata::{Annotations, Contract};
use crate::invalid::Invalid;
use crate::kind::{Base, MockKind, Object};

/// An object of a watch, or why it cannot be decoded.
///
/// kube's `DeserializeGuard` does the same but first builds a tree of all values, which costs about twenty times as
/// much.
#[derive(Clone, Debug)]
pub struct Guarded<K: MockKind>(pub Result<Object<K>, Undecodable>);

/// An object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Metadata of the object.
    pub metadata: ObjectMeta,
    /// The field that cannot be decoded.
    pub invalid: Invalid,
}

/// The answer to a write: its metadata.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Kept {
    #[serde(deserialize_with = "metadata::kept::<Contract, _>")]
    pub(crate) metadata: ObjectMeta,
}

impl<'de, K: MockKind> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status, kind: PhantomData::<K> } = Parts::deserialize(deserializer)?;
        Ok(Self(match Content::decode(spec.as_deref(), status.as_deref()) {
            Ok(content) => Ok(content.with(metadata)),
            Err(invalid) => Err(Undecodable { metadata, invalid }),
        }))
    }
}

impl<'de, K: MockKind> Deserialize<'de> for Object<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { metadata, spec, status, kind: PhantomData::<K> } = Parts::deserialize(deserializer)?;
        let content = Content::decode(spec.as_deref(), status.as_deref()).map_err(serde::de::Error::custom)?;
        Ok(content.with(metadata))
    }
}

/// An object whose spec and status are not decoded yet.
#[derive(Deserialize)]
#[serde(bound = "")]
struct Parts<K: MockKind> {
    #[serde(deserialize_with = "metadata::kept::<K, _>")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<Box<RawValue>>,
    #[serde(default)]
    status: Option<Box<RawValue>>,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K: MockKind> Annotations for K {
    const OF_KIND: &'static [&'static str] = K::ANNOTATIONS;
}

struct Content<K: MockKind> {
    base: Base,
    spec: K,
    status: Option<Status>,
    reported: K::Reported,
}

impl<K: MockKind> Content<K> {
    /// The shared fields and those of the kind are read in two passes over the text: serde's `flatten` would build a
    /// tree of all values.
    fn decode(spec: Option<&RawValue>, status: Option<&RawValue>) -> Result<Self, Invalid> {
        let spec = spec.map_or("{}", RawValue::get);
        let (base, spec) = (part("spec", spec)?, part("spec", spec)?);
        let (status, reported) = match status {
            None => (None, K::Reported::default()),
            Some(status) => (Some(part("status", status.get())?), part("status", status.get())?),
        };
        Ok(Self { base, spec, status, reported })
    }

    fn with(self, metadata: ObjectMeta) -> Object<K> {
        let Self { base, spec, status, reported } = self;
        Object { metadata, base, spec, status, reported }
    }
}

fn part<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Invalid> {
    decode(text).map_err(|invalid| invalid.within(name))
}

/// Decodes a JSON text. A null counts as absent, as for Go's decoder. The error names the field; it is empty for the whole
/// text.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    serde_json::from_str(text).or_else(|_| {
        // Both tracking the path and removing nulls are too expensive for every object.
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text)).or_else(|error| {
            let invalid = Invalid::of(error.path(), error.inner());
            let mut value: Value = serde_json::from_str(text).map_err(|_| invalid)?;
            remove_nulls(&mut value);
            serde_path_to_error::deserialize(value).map_err(|error| Invalid::of(error.path(), error.inner()))
        })
    })
}

/// Removes all fields that are null. In a list, null is what the type makes of an empty object.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| {
            if item.is_null() {
                *item = Value::Object(serde_json::Map::new());
            }
            remove_nulls(item);
        }),
        _ => {}
    }
}

impl<K: MockKind> Resource for Guarded<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Object::<K>::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Object::<K>::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Object::<K>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Object::<K>::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|undecodable| &undecodable.metadata, Object::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|undecodable| &mut undecodable.metadata, Object::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use extension_contract::kinds;
    use kube::core::WatchEvent;
    use kube::core::object::ObjectList;

    use super::*;
    use crate::kind::{Input, Kind, NoOptions, NoShoot, Outcome};

    #[derive(Clone, Debug, Deserialize)]
    struct Test {
        text: String,
    }

    #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Reported {
        numbers: Vec<i32>,
    }

    impl MockKind for Test {
        type Reported = Reported;
        type Shoot = NoShoot;
        type Options = NoOptions;
        const KIND: &'static Kind = &kinds::NETWORK;
        const TYPES: &'static [&'static str] = &["mock"];

        fn outcome(_: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
            Ok(Outcome::default())
        }
    }

    /// A value that is nested deeper than a parser of values accepts.
    fn deep() -> String {
        format!(r#"{{ "apiVersion": "other/v1", "a": {}{} }}"#, "[".repeat(1000), "]".repeat(1000))
    }

    const METADATA: &str = r#"{ "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "generation": 2,
        "creationTimestamp": "2026-08-20T10:15:30Z", "deletionTimestamp": "2026-08-20T10:15:31Z",
        "annotations": { "gardener.cloud/operation": "migrate", "gardener.cloud/timestamp": "t", "other": "a",
            "confirmation.gardener.cloud/deletion": "true" },
        "finalizers": ["one", "other"], "managedFields": [{ "fieldsV1": { "f:spec": {} } }], "labels": { "a": "b" } }"#;

    fn object(rest: &str) -> String {
        format!(
            r#"{{ "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Network", "metadata": {METADATA}{rest} }}"#
        )
    }

    #[test]
    fn only_used_metadata_is_kept() {
        let mut expected: ObjectMeta = serde_json::from_str(METADATA).unwrap();
        expected.managed_fields = None;
        expected.labels = None;
        expected.annotations.as_mut().unwrap().remove("other");
        let Kept { metadata } = serde_json::from_str(&object("")).unwrap();
        assert_eq!(metadata, expected);
        let watched: Guarded<Test> = serde_json::from_str(&object(r#", "spec": { "text": "x" }"#)).unwrap();
        assert_eq!(watched.0.unwrap().metadata, expected);
        let Kept { metadata } = serde_json::from_str(r#"{ "metadata": { "annotations": null } }"#).unwrap();
        assert_eq!(metadata, ObjectMeta::default());
    }

    #[test]
    fn unused_values_may_be_nested_at_any_depth() {
        let deep = deep();
        let text = object(&format!(
            r#", "spec": {{ "type": "mock", "text": "x", "providerConfig": {deep}, "other": {deep} }},
                "status": {{ "numbers": [1], "other": {deep} }}"#
        ));
        let decoded: Guarded<Test> = serde_json::from_str(&text).unwrap();
        let decoded = decoded.0.unwrap();
        assert_eq!((decoded.spec.text.as_str(), decoded.base.script), ("x", None));
        let script = deep.replace("other/v1", "mock.extensions.gardener.cloud/v1alpha1");
        let text = object(&format!(r#", "spec": {{ "text": "x", "providerConfig": {script} }}"#));
        let decoded: Guarded<Test> = serde_json::from_str(&text).unwrap();
        let invalid = decoded.0.unwrap().base.script.unwrap().unwrap_err();
        assert!(invalid.problem.contains("recursion limit"), "{invalid}");
    }

    #[test]
    fn null_counts_as_absent_as_for_go() {
        let decoded: Guarded<Test> = serde_json::from_str(&object(
            r#", "spec": { "type": null, "class": null, "providerConfig": null, "text": "x" },
                "status": { "numbers": null, "observedGeneration": null, "lastOperation": null, "conditions": null }"#,
        ))
        .unwrap();
        let decoded = decoded.0.unwrap();
        assert_eq!((decoded.base.provider.as_str(), decoded.reported.numbers), ("", vec![]));
        let invalid = super::decode::<Reported>(r#"{ "numbers": ["1", null], "other": null }"#).unwrap_err();
        assert_eq!(invalid.field, "numbers[0]", "the error names a real mistake");
    }

    #[test]
    fn events_and_lists_contain_decodable_and_undecodable_objects() {
        let good = object(
            r#", "spec": { "type": "mock", "text": "x", "other": [{}] }, "status": { "numbers": [1, 2], "observedGeneration": 3 }"#,
        );
        let event: WatchEvent<Guarded<Test>> =
            serde_json::from_str(&format!(r#"{{ "type": "ADDED", "object": {good} }}"#)).unwrap();
        let WatchEvent::Added(Guarded(Ok(decoded))) = event else { panic!("{event:?}") };
        assert_eq!((decoded.spec.text.as_str(), decoded.reported.numbers), ("x", vec![1, 2]));
        assert_eq!((decoded.base.provider.as_str(), decoded.status.unwrap().observed_generation), ("mock", Some(3)));

        let bad = object(r#", "spec": { "text": "x" }, "status": { "numbers": [1, "2"] }"#);
        let worse = object("");
        let list = format!(
            r#"{{ "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "NetworkList", "items": [{bad}, {worse}, {good}] }}"#
        );
        let list: ObjectList<Guarded<Test>> = serde_json::from_str(&list).unwrap();
        let [bad, worse, good] = &list.items[..] else { panic!("{list:?}") };
        assert!(good.0.is_ok());
        assert_eq!(bad.meta().uid.as_deref(), Some("u"));
        let invalid = &bad.0.as_ref().unwrap_err().invalid;
        assert_eq!(invalid.field, "status.numbers[1]");
        assert!(invalid.problem.starts_with("invalid type: string \"2\", expected i32"), "{invalid}");
        assert_eq!(worse.0.as_ref().unwrap_err().invalid.field, "spec");
    }
}
