//! How the controller lets go of an object: deletion, force deletion and migration.

use extension_conformance::object::{annotation, finalizers, last};
use extension_contract::kinds::Force;
use extension_contract::{FORCE_DELETION_ANNOTATION, OPERATION_ANNOTATION, readiness};
use serde_json::{Value, json};

use super::{FINALIZER, Turn};
use crate::mutation::Mutation as M;

/// An ordinary deletion of an object with this field never succeeds.
const UNDELETABLE: &str = "/spec/providerConfig/undeletable";

impl Turn<'_> {
    pub(super) fn is_force_deleted(&self, shoot: &Value) -> bool {
        let is_set = |object: &Value| annotation(object, FORCE_DELETION_ANNOTATION) == Some("true");
        match self.controller.kind.force {
            _ if self.makes(M::NoForce) => false,
            Force::Never => false,
            Force::OfShoot => is_set(shoot),
            Force::OfObject => is_set(&self.object),
        }
    }

    pub(super) async fn migrate(&mut self, is_migrated: bool) -> kube::Result<()> {
        if is_migrated && self.makes(M::TrustsMigrated) || !self.is_held() && self.makes(M::MigratesOnlyHeld) {
            return Ok(());
        }
        if self.makes(M::MigratesInSteps) {
            self.status(json!({ "lastOperation": self.last_operation("Migrate", "Processing", 1) })).await?;
        }
        if !is_migrated || readiness::check_migrated(&self.object).is_err() {
            let last = self.last_operation("Migrate", "Succeeded", 100);
            self.status(json!({ "lastOperation": last, "lastError": null })).await?;
        }
        let held: Vec<_> = finalizers(&self.object).into_iter().filter(|held| *held != FINALIZER).collect();
        let mut metadata = json!({ "annotations": { OPERATION_ANNOTATION: null }, "finalizers": held });
        if self.makes(M::MigratedKeepsFinalizer) {
            metadata = json!({ "annotations": { OPERATION_ANNOTATION: null } });
        }
        self.patch(json!({ "metadata": metadata })).await
    }

    pub(super) async fn delete(&mut self) -> kube::Result<()> {
        if !self.is_held() {
            if self.makes(M::WritesDeleted) && last(&self.object) != "Delete/Succeeded" {
                self.status(json!({ "lastOperation": self.last_operation("Delete", "Succeeded", 100) })).await?;
            }
            return Ok(());
        }
        // Without force, what the object stands for cannot be deleted.
        let is_in_vain = self.object.pointer(UNDELETABLE).is_some() || self.makes(M::NoForce);
        if is_in_vain || self.makes(M::KeepsFinalizer) {
            return Ok(());
        }
        self.release().await
    }

    /// Removes the finalizer.
    pub(super) async fn release(&mut self) -> kube::Result<()> {
        if !self.is_held() {
            return Ok(());
        }
        let all = self.makes(M::RemovesAllFinalizers);
        let others: Vec<_> = finalizers(&self.object).into_iter().filter(|held| *held != FINALIZER && !all).collect();
        self.patch(json!({ "metadata": { "finalizers": others } })).await
    }
}
