//! The Secrets that gardenlet's rules are about. Only their metadata is read.

use std::collections::{BTreeMap, BTreeSet};

use extension_contract::json::text;
use extension_contract::kinds;
use extension_contract::readiness::check_user_data;

use crate::seed::Found;

/// Namespace and name of a Secret.
pub type Name = (String, String);

/// The Secrets that were looked for.
pub type Secrets = BTreeMap<Name, Secret>;

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// It exists, with this timestamp annotation.
    Exists(Option<String>),
    /// It does not exist.
    Missing,
}

/// The Secret for the extension of a kind that gardenlet watches. gardenlet compares its timestamp with the last
/// operation (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
#[must_use]
pub fn credentials(found: &Found) -> Option<Name> {
    let is_backup = [kinds::BACKUP_BUCKET.name, kinds::BACKUP_ENTRY.name].contains(&found.kind.name);
    let reference = |field| text(&found.object, &format!("spec.secretRef.{field}")).map(str::to_owned);
    (is_backup && !found.is_of_garden()).then(|| reference("namespace").zip(reference("name"))).flatten()
}

/// The Secrets that the extension must have made before the object counts as done.
#[must_use]
pub fn results(found: &Found) -> Vec<Name> {
    let named = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    let field = |path| text(&found.object, path);
    if found.kind == &kinds::OPERATING_SYSTEM_CONFIG && field("spec.purpose") == Some("provision") {
        return check_user_data(&found.object)
            .map(|(namespace, name)| vec![named(namespace, name)])
            .unwrap_or_default();
    }
    if found.kind == &kinds::BACKUP_BUCKET {
        let generated = field("status.generatedSecretRef.namespace").zip(field("status.generatedSecretRef.name"));
        return generated.map(|(namespace, name)| vec![named(namespace, name)]).unwrap_or_default();
    }
    if found.kind == &kinds::BACKUP_ENTRY
        && let Some(namespace) = found.shoot_namespace()
    {
        // `extensions/pkg/controller/backupentry/genericactuator/actuator.go`
        let is_source = found.name().starts_with("source");
        return vec![named(namespace, if is_source { "source-etcd-backup" } else { "etcd-backup" })];
    }
    Vec::new()
}

/// All Secrets that the rules for these objects ask for.
#[must_use]
pub fn wanted(objects: &[Found]) -> BTreeSet<Name> {
    objects.iter().flat_map(|found| credentials(found).into_iter().chain(results(found))).collect()
}
