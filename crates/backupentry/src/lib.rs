//! BackupEntry: writes the Secret with which etcd would reach its backups.

use std::collections::BTreeMap;

use mock_core::contract::kinds;
use mock_core::k8s::{ByteString, ObjectMeta, Secret};
use mock_core::kind::{
    Input, Invalid, Kind, Leftover, MockKind, NoOptions, NoReport, NoShoot, Object, Outcome, SecretKey, Wanted,
};
use serde::Deserialize;

/// Annotation of the Secret with the name of its entry
/// (`extensions/pkg/controller/backupentry/genericactuator/actuator.go`).
const CREATED_BY: &str = "backup.gardener.cloud/created-by";

/// Label of a Secret for whose workload identity Gardener requests tokens
/// (`pkg/apis/security/v1alpha1/constants/types_constants.go`).
const PURPOSE: &str = "security.gardener.cloud/purpose";
const TOKEN_REQUESTOR: &str = "workload-identity-token-requestor";
const IDENTITY_PROVIDER: &str = "workloadidentity.security.gardener.cloud/provider";
const IDENTITY_NAME: &str = "workloadidentity.security.gardener.cloud/name";
const IDENTITY_NAMESPACE: &str = "workloadidentity.security.gardener.cloud/namespace";
const IDENTITY_CONTEXT: &str = "workloadidentity.security.gardener.cloud/context-object";

/// What is read of the spec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackupEntry {
    /// Name of the bucket.
    pub bucket_name: String,
    /// The Secret with the credentials, which gardenlet has copied to the seed.
    pub secret_ref: SecretRef,
}

/// A reference to a Secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SecretRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl MockKind for BackupEntry {
    type Reported = NoReport;
    type Shoot = NoShoot;
    type Options = NoOptions;
    const KIND: &'static Kind = &kinds::BACKUP_ENTRY;
    const TYPES: &'static [&'static str] = &["mock"];
    const READS_SECRETS: bool = true;
    const SECRET_PREFIXES: &'static [&'static str] = &[ETCD_BACKUP, SOURCE_ETCD_BACKUP];
    const DELETES_SECRETS: bool = true;

    fn technical_id(object: &Object<Self>) -> &str {
        namespace_of(object.name())
    }

    fn secret(object: &Object<Self>) -> Option<SecretKey> {
        let SecretRef { namespace, name } = object.spec.secret_ref.clone();
        Some(SecretKey { namespace, name })
    }

    fn outcome(object: &Object<Self>, input: &Input<'_, Self>) -> Result<Outcome, Invalid> {
        let SecretKey { namespace, name } = result(object.name());
        let mut secret = input.secret.map(passed_on).transpose()?.unwrap_or_default();
        (secret.metadata.name, secret.metadata.namespace) = (Some(name), Some(namespace));
        let annotations = secret.metadata.annotations.get_or_insert_default();
        annotations.insert(CREATED_BY.to_owned(), object.name().to_owned());
        let bucket = ByteString(object.spec.bucket_name.clone().into_bytes());
        secret.data.get_or_insert_default().insert("bucketName".to_owned(), bucket);
        Ok(Outcome { secrets: vec![Wanted { secret, needs_namespace: true }], ..Outcome::default() })
    }

    fn leftovers(meta: &ObjectMeta) -> Vec<Leftover> {
        let name = meta.name.as_deref().unwrap_or_default();
        vec![Leftover { key: result(name), unless_other: Some((CREATED_BY, name.to_owned())) }]
    }
}

/// What etcd's Secret takes over from the Secret with the credentials: all data. Of a workload identity it is only the
/// configuration and what names the identity. Another controller adds the token
/// (`extensions/pkg/controller/backupentry/genericactuator/actuator.go`).
fn passed_on(credentials: &Secret) -> Result<Secret, Invalid> {
    let (labels, annotations) = (&credentials.metadata.labels, &credentials.metadata.annotations);
    let value = |of: &Option<BTreeMap<String, String>>, key: &str| of.as_ref().and_then(|of| of.get(key)).cloned();
    if value(labels, PURPOSE).as_deref() != Some(TOKEN_REQUESTOR) {
        return Ok(Secret { data: credentials.data.clone(), ..Secret::default() });
    }
    let required = |of: &Option<BTreeMap<String, String>>, key: &str, what: &str| {
        let missing = || Invalid {
            field: "spec.secretRef".to_owned(),
            problem: format!("names a Secret of a workload identity without {what} {key}: add it"),
        };
        value(of, key).map(|value| (key.to_owned(), value)).ok_or_else(missing)
    };
    let mut named = BTreeMap::from([
        required(annotations, IDENTITY_NAME, "annotation")?,
        required(annotations, IDENTITY_NAMESPACE, "annotation")?,
    ]);
    named.extend(value(annotations, IDENTITY_CONTEXT).map(|context| (IDENTITY_CONTEXT.to_owned(), context)));
    let provider = required(labels, IDENTITY_PROVIDER, "label")?;
    let config = credentials.data.iter().flatten().filter(|(key, _)| *key == "config");
    Ok(Secret {
        metadata: ObjectMeta {
            labels: Some(BTreeMap::from([(PURPOSE.to_owned(), TOKEN_REQUESTOR.to_owned()), provider])),
            annotations: Some(named),
            ..ObjectMeta::default()
        },
        data: Some(config.map(|(key, value)| (key.clone(), value.clone())).collect()),
        ..Secret::default()
    })
}

/// The names of etcd's Secrets (`pkg/apis/core/v1beta1/constants/types_constants.go`).
const ETCD_BACKUP: &str = "etcd-backup";
const SOURCE_ETCD_BACKUP: &str = "source-etcd-backup";
/// What precedes the name of the entry whose backups are copied to another bucket.
const SOURCE: &str = "source-";

/// The Secret of the entry with this name.
fn result(entry: &str) -> SecretKey {
    let name = if entry.starts_with(SOURCE) { SOURCE_ETCD_BACKUP } else { ETCD_BACKUP };
    SecretKey { namespace: namespace_of(entry).to_owned(), name: name.to_owned() }
}

/// The namespace of the etcd: an entry is called `<namespace>--<uid>` (`pkg/utils/gardener/backupentry.go`).
fn namespace_of(entry: &str) -> &str {
    let entry = entry.strip_prefix(SOURCE).unwrap_or(entry);
    entry.rsplit_once("--").map_or(entry, |(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(value: Value) -> Secret {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn static_credentials_are_passed_on_without_labels_and_annotations() {
        let data = json!({ "a": "YQ==", "b": "Yg==" });
        let metadata = json!({ "name": "n", "labels": { "l": "1" }, "annotations": { "a": "1" } });
        let passed = passed_on(&secret(json!({ "metadata": metadata, "data": data }))).unwrap();
        assert_eq!(passed, secret(json!({ "data": data })));
    }

    #[test]
    fn of_a_workload_identity_only_its_config_and_its_names_are_passed_on() {
        let identity = |suffix: &str| format!("workloadidentity.security.gardener.cloud/{suffix}");
        let named =
            json!({ (identity("name")): "n", (identity("namespace")): "ns", (identity("context-object")): "{}" });
        let labels = json!({ (PURPOSE): TOKEN_REQUESTOR, (identity("provider")): "mock" });
        let with = |annotations: &Value, labels: &Value, data: Value| {
            secret(json!({ "metadata": { "labels": labels, "annotations": annotations }, "data": data }))
        };
        let (mut more, mut further) = (named.clone(), labels.clone());
        more["other"] = "1".into();
        further["other"] = "1".into();
        let passed = passed_on(&with(&more, &further, json!({ "config": "YQ==", "token": "Yg==" }))).unwrap();
        assert_eq!(passed, with(&named, &labels, json!({ "config": "YQ==" })));
        more.as_object_mut().unwrap().remove(&identity("name"));
        let refused = passed_on(&with(&more, &labels, json!({}))).unwrap_err();
        assert!(refused.problem.contains("annotation workloadidentity.security.gardener.cloud/name"), "{refused}");
    }

    #[test]
    fn name_of_the_entry_says_which_secret_in_which_namespace() {
        for (entry, namespace, name) in [
            ("shoot--dev--a--11fe6d6e", "shoot--dev--a", "etcd-backup"),
            ("source-shoot--dev--a--11fe6d6e", "shoot--dev--a", "source-etcd-backup"),
            ("garden--11fe6d6e", "garden", "etcd-backup"),
            ("kube-system--11fe6d6e", "kube-system", "etcd-backup"),
        ] {
            let expected = SecretKey { namespace: namespace.to_owned(), name: name.to_owned() };
            assert_eq!(result(entry), expected, "{entry}");
        }
    }
}
