//! The bucket of a Seed, and the entry of a Shoot in it (`pkg/gardenlet/controller/{backupbucket,backupentry}`).

use extension_contract::json::{annotate, get, text};
use extension_contract::kinds;
use serde_json::{Value, json};

use super::parts::Part;
use super::plan::{Asks, GARDEN, Planned, ShootPlan, credentials, uid_of};

/// The annotation that names the namespace for a Secret that the extension generates.
const GENERATED_SECRET_NAMESPACE: &str = "backupbucket.extensions.gardener.cloud/generated-secret-namespace";

/// The name of a Seed's bucket: the Seed's uid (`pkg/gardenlet/controller/seed/seed/components.go`).
pub(super) fn bucket_name(seed: &str) -> String {
    uid_of(&format!("seed {seed}"))
}

/// The BackupBucket, if the Seed has backups.
pub(super) fn bucket(seed: &Value, name: &str) -> Option<Planned> {
    let spec = json!({
        "type": text(seed, "spec.backup.provider")?,
        "providerConfig": get(seed, "spec.backup.providerConfig"),
        "region": region(seed),
    });
    let name = bucket_name(name);
    let secret = format!("bucket-{name}");
    let mut bucket = Planned::new(Part::BackupBucket, &kinds::BACKUP_BUCKET, name, None, spec)
        .asking(Asks::InRounds)
        .with_secret(&secret, GARDEN, &credentials());
    annotate(&mut bucket.object, GENERATED_SECRET_NAMESPACE, GARDEN);
    Some(bucket)
}

/// The BackupEntry, if the Seed has backups.
pub(super) fn entry(plan: &ShootPlan) -> Option<Planned> {
    let spec = json!({
        "type": text(&plan.seed, "spec.backup.provider")?,
        "providerConfig": get(&plan.seed, "spec.backup.providerConfig"),
        "region": region(&plan.seed),
        "bucketName": plan.bucket_name(),
        "backupBucketProviderStatus": plan.bucket.provider_status,
    });
    let uid = text(&plan.shoot, "status.uid").unwrap_or_default();
    let name = format!("{}--{uid}", plan.namespace);
    let data = plan.bucket.generated.clone().unwrap_or_else(credentials);
    let secret = format!("entry-{name}");
    let entry = Planned::new(Part::BackupEntry, &kinds::BACKUP_ENTRY, name, None, spec);
    Some(entry.asking(Asks::InRounds).with_secret(&secret, GARDEN, &data))
}

impl ShootPlan {
    /// The name of the Seed's BackupBucket.
    pub(crate) fn bucket_name(&self) -> String {
        bucket_name(text(&self.seed, "metadata.name").unwrap_or_default())
    }

    /// Returns whether a bucket is played together with this Shoot.
    pub(crate) fn has_bucket(&self) -> bool {
        get(&self.seed, "spec.backup").is_some() && self.has(&kinds::BACKUP_BUCKET, false)
    }
}

/// The region of the backups: the Seed's, unless they have one.
fn region(seed: &Value) -> Option<&str> {
    text(seed, "spec.backup.region").or_else(|| text(seed, "spec.provider.region"))
}
