//! Objects as watches decode them: cheaply, and so that one that cannot be decoded stops nobody.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::extension::Invalid;

/// An object of a watch, or why it cannot be decoded.
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

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match decode(&text) {
            Ok(object) => Ok(Self(Ok(object))),
            Err(invalid) => {
                let PartialObjectMeta::<K> { metadata, .. } =
                    serde_json::from_str(text.get()).map_err(D::Error::custom)?;
                Ok(Self(Err(Undecodable { metadata, invalid })))
            }
        }
    }
}

/// The value that a text stands for.
pub(crate) fn decode<T: DeserializeOwned>(text: &RawValue) -> Result<T, Invalid> {
    serde_json::from_str(text.get()).or_else(|_| {
        // To know where one is costs too much to be done every time.
        let mut again = serde_json::Deserializer::from_str(text.get());
        serde_path_to_error::deserialize(&mut again)
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
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::WatchEvent;
    use kube::core::object::ObjectList;

    use super::*;

    fn object(data: &str) -> String {
        format!(r#"{{ "metadata": {{ "name": "a", "uid": "u" }}, "data": {data} }}"#)
    }

    #[test]
    fn events_and_lists_hold_what_can_be_decoded_and_what_not() {
        let good = object(r#"{ "key": "value" }"#);
        let bad = object(r#"{ "good": "value", "key": 1 }"#);
        let event: WatchEvent<Watched<ConfigMap>> =
            serde_json::from_str(&format!(r#"{{ "type": "ADDED", "object": {good} }}"#)).unwrap();
        let WatchEvent::Added(Watched(Ok(decoded))) = event else { panic!("{event:?}") };
        assert_eq!(decoded.data.unwrap()["key"], "value");

        let list = format!(r#"{{ "apiVersion": "v1", "kind": "ConfigMapList", "items": [{bad}, {good}] }}"#);
        let list: ObjectList<Watched<ConfigMap>> = serde_json::from_str(&list).unwrap();
        let [undecodable, decoded] = &list.items[..] else { panic!("{list:?}") };
        assert!(decoded.0.is_ok());
        assert_eq!(undecodable.meta().uid.as_deref(), Some("u"));
        let invalid = &undecodable.0.as_ref().unwrap_err().invalid;
        assert_eq!(invalid.field, "data.key");
        assert!(invalid.problem.starts_with("invalid type: integer `1`, expected a string"), "{invalid}");
    }
}
