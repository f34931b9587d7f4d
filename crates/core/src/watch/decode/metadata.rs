//! Partial decoding of metadata: identity and age, version and generation, deletion, finalizers and the annotations that
//! are read. The rest may be larger than the whole object: decoding managedFields took a quarter of the CPU time of a
//! reconcile.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Keys of the annotations through which gardenlet talks to every extension.
const OF_CONTRACT: [&str; 4] =
    [OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION];

/// Which annotations are decoded besides those of the contract.
pub(crate) trait Annotations {
    /// Their keys.
    const OF_KIND: &'static [&'static str];
}

/// No annotations besides those of the contract.
pub(crate) struct Contract;

impl Annotations for Contract {
    const OF_KIND: &'static [&'static str] = &[];
}

/// Decodes the metadata that is used.
pub(crate) fn kept<'de, A: Annotations, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", bound = "")]
    struct Metadata<A: Annotations> {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        generation: Option<i64>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        finalizers: Option<Vec<String>>,
        annotations: Option<Selected<A>>,
    }
    let metadata = Metadata::<A>::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        finalizers: metadata.finalizers,
        annotations: metadata.annotations.map(|selected| selected.values),
        ..ObjectMeta::default()
    })
}

/// The annotations that are read.
struct Selected<A> {
    values: BTreeMap<String, String>,
    keys: PhantomData<A>,
}

impl<'de, A: Annotations> Deserialize<'de> for Selected<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Values(PhantomData::<A>))
    }
}

struct Values<A>(PhantomData<A>);

impl<'de, A: Annotations> Visitor<'de> for Values<A> {
    type Value = Selected<A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of annotations")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Selected<A>, M::Error> {
        let mut values = BTreeMap::new();
        while let Some(key) = map.next_key_seed(Known(PhantomData::<A>))? {
            match key {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(key) => {
                    if let Some(value) = map.next_value::<Option<String>>()? {
                        values.insert(key.to_owned(), value);
                    }
                }
            }
        }
        Ok(Selected { values, keys: PhantomData })
    }
}

/// Finds a key among those that are read, without a copy of any other.
struct Known<A>(PhantomData<A>);

impl<'de, A: Annotations> DeserializeSeed<'de> for Known<A> {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<A: Annotations> Visitor<'_> for Known<A> {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of an annotation")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(OF_CONTRACT.iter().chain(A::OF_KIND).copied().find(|known| *known == key))
    }
}
