//! BackupBucket: generates the Secret with which a real provider would hand out access to the bucket.

use std::collections::BTreeMap;

use mock_core::contract::{annotation, kinds};
use mock_core::k8s::{ByteString, ObjectMeta, Secret};
use mock_core::kind::{
    Input, Invalid, Kind, Leftover, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome, SecretKey, Wanted,
};
use serde::Deserialize;
use serde_json::json;

/// Annotation with the namespace of the generated Secret. gardener-operator does not set it
/// (`extensions/pkg/controller/backupbucket/util.go`).
const SECRET_NAMESPACE: &str = "backupbucket.extensions.gardener.cloud/generated-secret-namespace";
/// How the name of the generated Secret begins.
const GENERATED: &str = "generated-bucket-";
/// The namespace of the generated Secret without the annotation.
const GARDEN: &str = "garden";

/// Nothing is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct BackupBucket {}

impl MockKind for BackupBucket {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::BACKUP_BUCKET;
    const TYPES: &'static [&'static str] = &["mock"];
    const ANNOTATIONS: &'static [&'static str] = &[SECRET_NAMESPACE];
    const SECRET_PREFIXES: &'static [&'static str] = &[GENERATED];
    const DELETES_SECRETS: bool = true;

    fn outcome(object: &Object<Self>, _: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let mut outcome = Outcome::default();
        let SecretKey { namespace, name } = generated(&object.metadata);
        outcome.report("generatedSecretRef", json!({ "name": name, "namespace": namespace }));
        let note = format!("generated for mock bucket {}", object.name());
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([("note".to_owned(), ByteString(note.into_bytes()))])),
            ..Secret::default()
        };
        outcome.secrets.push(Wanted { secret, needs_namespace: false });
        Ok(outcome)
    }

    fn leftovers(meta: &ObjectMeta) -> Vec<Leftover> {
        vec![Leftover { key: generated(meta), unless_other: None }]
    }
}

/// The generated Secret of the bucket with this metadata. gardenlet copies it to the garden in the round that sees the
/// success (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
fn generated(meta: &ObjectMeta) -> SecretKey {
    let namespace = annotation(meta, SECRET_NAMESPACE).filter(|namespace| !namespace.is_empty()).unwrap_or(GARDEN);
    SecretKey {
        namespace: namespace.to_owned(),
        name: format!("{GENERATED}{}", meta.name.as_deref().unwrap_or_default()),
    }
}
