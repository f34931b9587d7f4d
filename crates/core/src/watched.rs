//! Objects as they are decoded: cheaply, only what is used of them, and so that one that cannot be decoded stops nobody.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::contract::{DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use crate::extension::Invalid;

/// An object of a watch, or why it cannot be decoded. Of its metadata it holds identity and age, version and generation,
/// deletion, finalizers and gardenlet's annotations.
///
/// It does what kube's `DeserializeGuard` does. That one makes a tree of all values before it looks at any, which costs
/// about twenty times as much; this one copies the text.
#[derive(Clone, Debug)]
pub struct Watched<K>(pub Result<K, Undecodable>);

/// An object that cannot be decoded.
#[derive(Clone, Debug)]
pub struct Undecodable {
    /// Whose it is.
    pub metadata: ObjectMeta,
    /// What is wrong with it.
    pub invalid: Invalid,
}

/// An object's metadata, as far as anything here looks at it. What is left out may be more than all the rest of the
/// object: to decode managedFields was a quarter of the work of serving one.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Kept {
    #[serde(deserialize_with = "kept")]
    pub(crate) metadata: ObjectMeta,
}

pub(crate) fn kept<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        finalizers: Option<Vec<String>>,
        annotations: Option<Annotations>,
    }
    #[derive(Deserialize)]
    struct Annotations {
        #[serde(rename = "gardener.cloud/operation")]
        operation: Option<String>,
        #[serde(rename = "gardener.cloud/timestamp")]
        timestamp: Option<String>,
        #[serde(rename = "confirmation.gardener.cloud/deletion")]
        confirmation: Option<String>,
    }
    let metadata = Metadata::deserialize(deserializer)?;
    let annotations = metadata.annotations.map(|Annotations { operation, timestamp, confirmation }| {
        let all = [
            (OPERATION_ANNOTATION, operation),
            (TIMESTAMP_ANNOTATION, timestamp),
            (DELETION_CONFIRMATION_ANNOTATION, confirmation),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<BTreeMap<_, _>>()
    });
    Ok(ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        finalizers: metadata.finalizers,
        annotations,
        ..ObjectMeta::default()
    })
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(deserialize_with = "kept")]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Box<RawValue>,
            #[serde(default)]
            status: Box<RawValue>,
        }
        let Parts { metadata, spec, status } = Parts::deserialize(deserializer)?;
        let text = format!(r#"{{"metadata":{{}},"spec":{spec},"status":{status}}}"#);
        Ok(Self(match decode::<K>(&text) {
            Ok(mut object) => {
                *object.meta_mut() = metadata;
                Ok(object)
            }
            Err(invalid) => Err(Undecodable { metadata, invalid }),
        }))
    }
}

/// The value that a text stands for.
pub(crate) fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Invalid> {
    serde_json::from_str(text).or_else(|_| {
        // To know where one is costs too much to be done every time.
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
            .map_err(|error| Invalid { field: error.path().to_string(), problem: error.inner().to_string() })
    })
}

impl<K: Resource> Resource for Watched<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|undecodable| &undecodable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|undecodable| &mut undecodable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResource;
    use kube::core::WatchEvent;
    use kube::core::object::ObjectList;
    use serde::Serialize;

    use super::*;

    #[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
    #[kube(
        group = "t.example.org",
        version = "v1",
        kind = "Test",
        schema = "disabled",
        namespaced,
        status = "Vec<i32>"
    )]
    struct TestSpec {
        text: String,
    }

    const METADATA: &str = r#"{ "name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7", "generation": 2,
        "creationTimestamp": "2026-08-20T10:15:30Z", "deletionTimestamp": "2026-08-20T10:15:31Z",
        "annotations": { "gardener.cloud/operation": "migrate", "gardener.cloud/timestamp": "t", "other": "a",
            "confirmation.gardener.cloud/deletion": "true" },
        "finalizers": ["one", "other"], "managedFields": [{ "fieldsV1": { "f:spec": {} } }], "labels": { "a": "b" } }"#;

    fn object(rest: &str) -> String {
        format!(r#"{{ "apiVersion": "t.example.org/v1", "kind": "Test", "metadata": {METADATA}{rest} }}"#)
    }

    #[test]
    fn of_metadata_what_is_used_is_kept() {
        let mut expected: ObjectMeta = serde_json::from_str(METADATA).unwrap();
        expected.managed_fields = None;
        expected.labels = None;
        expected.annotations.as_mut().unwrap().remove("other");
        let Kept { metadata } = serde_json::from_str(&object("")).unwrap();
        assert_eq!(metadata, expected);
        let watched: Watched<Test> = serde_json::from_str(&object(r#", "spec": { "text": "x" }"#)).unwrap();
        assert_eq!(watched.0.unwrap().metadata, expected);
        let Kept { metadata } = serde_json::from_str(r#"{ "metadata": { "annotations": null } }"#).unwrap();
        assert_eq!(metadata, ObjectMeta::default());
    }

    #[test]
    fn events_and_lists_hold_what_can_be_decoded_and_what_not() {
        let good = object(r#", "spec": { "text": "x", "other": [{}] }, "status": [1, 2]"#);
        let event: WatchEvent<Watched<Test>> =
            serde_json::from_str(&format!(r#"{{ "type": "ADDED", "object": {good} }}"#)).unwrap();
        let WatchEvent::Added(Watched(Ok(decoded))) = event else { panic!("{event:?}") };
        assert_eq!((decoded.spec.text.as_str(), decoded.status), ("x", Some(vec![1, 2])));

        let bad = object(r#", "spec": { "text": "x" }, "status": [1, "2"]"#);
        let worse = object("");
        let list =
            format!(r#"{{ "apiVersion": "t.example.org/v1", "kind": "TestList", "items": [{bad}, {worse}, {good}] }}"#);
        let list: ObjectList<Watched<Test>> = serde_json::from_str(&list).unwrap();
        let [bad, worse, good] = &list.items[..] else { panic!("{list:?}") };
        assert!(good.0.is_ok());
        assert_eq!(bad.meta().uid.as_deref(), Some("u"));
        let invalid = &bad.0.as_ref().unwrap_err().invalid;
        assert_eq!(invalid.field, "status[1]");
        assert!(invalid.problem.starts_with("invalid type: string \"2\", expected i32"), "{invalid}");
        assert_eq!(worse.0.as_ref().unwrap_err().invalid.field, "spec");
    }
}
