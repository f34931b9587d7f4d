//! The kinds that gardenlet watches. A controller of its own writes each object, in rounds that events start
//! (`pkg/gardenlet/controller/{backupbucket,backupentry,bastion}/reconciler.go`).

use std::time::{Duration, Instant};

use extension_contract::json::{annotate, annotation, get, text};
use extension_contract::watched::{Round, round};
use extension_contract::{FORCE_DELETION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, kinds};
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::steps::Steps;
use crate::gardenlet::if_exists;
use crate::phase::Phase;
use crate::rules;
use crate::shoot::Planned;
use crate::stuck::Stuck;
use crate::target::{Target, to_value};
use crate::watched::Watched;

/// gardenlet deletes an object again after this time.
const AGAIN: Duration = Duration::from_secs(5);

/// The key of the bucket's name in the Secret for etcd.
const BUCKET_NAME: &str = "bucketName";

impl Steps<'_> {
    /// Plays rounds until gardenlet takes the object for ready. An object that is ready already is left alone.
    pub(crate) async fn deploy_in_rounds(&self, planned: &Planned, saved: Option<&Value>) -> Result<Value, Stuck> {
        let mut watched = self.watch(&planned.object).await;
        let (timestamp, mut is_new) = match &planned.secret {
            Some(secret) => {
                let (timestamp, is_new) = self.keep_secret(secret, &watched).await?;
                (Some(timestamp), is_new)
            }
            None => (None, false),
        };
        let (start, mut is_reported) = (Instant::now(), false);
        loop {
            let now = watched.object();
            let is_other = now.is_some_and(|now| get(now, "spec") != get(&planned.object, "spec"));
            let next = if is_other || is_new { Round::Asks } else { round(now, timestamp.as_deref()) };
            is_new = false;
            match next {
                Round::Asks => {
                    let written = if self.phase == Phase::Restore && planned.kind == kinds::BACKUP_ENTRY.name {
                        self.gardenlet.restore_saved(&planned.object, saved).await
                    } else {
                        let operation = OperationAnnotation::Reconcile.as_str();
                        self.gardenlet.deploy(&planned.object, Some(operation)).await
                    };
                    watched.request("write", written)?;
                    watched.report_requested();
                    is_reported = true;
                }
                Round::Succeeds => {
                    let object = now.cloned().unwrap_or_default();
                    self.check_secret_out(&watched, &object).await?;
                    if is_reported {
                        watched.report_ready();
                    }
                    return Ok(object);
                }
                Round::Fails | Round::Waits => {}
            }
            watched.wait_woken(start, rules::succeeded).await?;
        }
    }

    /// Migrates an object. gardenlet needs a last operation for that.
    pub(crate) async fn migrate_in_rounds(&self, planned: &Planned) -> Result<(), Stuck> {
        let mut watched = self.watch(&planned.object).await;
        let Some(object) = watched.object() else { return Ok(()) };
        if get(object, "status.lastOperation").is_none() {
            return Err(watched.violation("status.lastOperation must be present before a migration"));
        }
        let start = Instant::now();
        watched.request("migrate", self.gardenlet.migrate(&planned.object).await)?;
        watched.report_requested();
        while rules::migrated(watched.object()).is_err() {
            watched.wait_woken(start, rules::migrated).await?;
        }
        watched.report_ready();
        Ok(())
    }

    /// Deletes an object every few seconds until it is gone, and then its Secret.
    pub(crate) async fn delete_in_rounds(&self, planned: &Planned, mut watched: Watched<'_>) -> Result<(), Stuck> {
        let start = Instant::now();
        watched.report_requested();
        loop {
            if let Some(secret) = &planned.secret {
                self.write(&stamped(secret)).await?;
            }
            let deleted = if planned.kind == kinds::BASTION.name {
                // gardenlet does not confirm the deletion of a Bastion.
                self.delete_bastion(&watched.target).await
            } else {
                self.gardenlet.delete(&planned.object).await
            };
            watched.request("delete", deleted)?;
            if watched.is_gone_within(AGAIN, start).await? {
                break;
            }
        }
        if let Some(secret) = &planned.secret {
            let target = Target::of(&self.gardenlet.context.client, secret);
            let deleted = target.api.delete(&target.name, &DeleteParams::default()).await;
            watched.request("delete the Secret of", if_exists(deleted))?;
        }
        watched.report_gone();
        Ok(())
    }

    async fn delete_bastion(&self, target: &Target) -> kube::Result<()> {
        if self.phase == Phase::ForceDelete {
            let mut patch = json!({});
            annotate(&mut patch, FORCE_DELETION_ANNOTATION, "true");
            if_exists(target.patch(&patch).await)?;
        }
        if_exists(target.api.delete(&target.name, &DeleteParams::default()).await).map(drop)
    }

    /// Writes the Secret for the extension, if it is missing or has other data. Returns its timestamp, and whether its
    /// data changed.
    async fn keep_secret(&self, secret: &Value, watched: &Watched<'_>) -> Result<(String, bool), Stuck> {
        let target = Target::of(&self.gardenlet.context.client, secret);
        let current = watched.request("read the Secret of", target.api.get_opt(&target.name).await)?;
        let current = current.map(|current| watched.request("read the Secret of", to_value(&current))).transpose()?;
        let is_same = current.as_ref().is_none_or(|current| get(current, "data") == get(secret, "data"));
        match current.as_ref().and_then(|current| annotation(current, TIMESTAMP_ANNOTATION)) {
            Some(timestamp) if is_same => Ok((timestamp.to_owned(), false)),
            _ => {
                let secret = stamped(secret);
                self.write(&secret).await?;
                Ok((annotation(&secret, TIMESTAMP_ANNOTATION).unwrap_or_default().to_owned(), !is_same))
            }
        }
    }

    /// Checks the Secret that the extension must have made before it reports success: the generated one of a
    /// BackupBucket, if there is one, and the one for etcd of a BackupEntry.
    async fn check_secret_out(&self, watched: &Watched<'_>, object: &Value) -> Result<(), Stuck> {
        let name = text(object, "metadata.name").unwrap_or_default();
        let generated = |field| text(object, &format!("status.generatedSecretRef.{field}"));
        if let (Some(name), Some(namespace)) = (generated("name"), generated("namespace"))
            && self.secret(watched, namespace, name).await?.is_none()
        {
            let rule = format!("the Secret {namespace}/{name} of status.generatedSecretRef must exist");
            return Err(watched.violation(rule));
        }
        if text(object, "kind") == Some(kinds::BACKUP_ENTRY.name) {
            let namespace = name.rsplit_once("--").map(|(namespace, _)| namespace).unwrap_or_default();
            let secret = self.secret(watched, namespace, "etcd-backup").await?;
            if !secret.and_then(|secret| secret.data).is_some_and(|data| data.contains_key(BUCKET_NAME)) {
                let rule = format!("the Secret {namespace}/etcd-backup must exist and have the key {BUCKET_NAME}");
                return Err(watched.violation(rule));
            }
        }
        Ok(())
    }
}

/// A Secret with a new timestamp. A result that is older does not satisfy gardenlet.
fn stamped(secret: &Value) -> Value {
    let mut secret = secret.clone();
    annotate(&mut secret, TIMESTAMP_ANNOTATION, Timestamp::now().to_string());
    secret
}
