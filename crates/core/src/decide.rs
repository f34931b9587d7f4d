//! Decides what happens next to an object: a pure function of the object, its Cluster, the script, what this process
//! serves, and the clock.

pub mod attempt;
mod operation;
pub mod plan;
pub mod view;

use extension_contract::{LastOperation, OperationAnnotation, OperationType, State};
use k8s_openapi::jiff::Timestamp;

pub use self::attempt::OPERATION_RETRY;
use self::attempt::Scripting;
use self::operation::Situation;
pub use self::plan::{Change, Fields, Finalizer, Plan, Reason, Report, Step, Write};
pub use self::view::{ClusterView, ObjectView, Served, ShootFacts};

/// Decides what to do with `object` now.
#[must_use]
pub fn decide(
    object: ObjectView<'_>,
    cluster: ClusterView<'_>,
    served: &Served<'_>,
    scripting: &Scripting<'_>,
    now: Timestamp,
) -> Step {
    if !served.includes(object.base) {
        return Step::Leave(Reason::Foreign);
    }
    let kind = served.kind;
    let asked = object.asked(kind);
    let deleting = object.meta.deletion_timestamp.is_some();
    let held = object.held_by(served.finalizer);

    // Force deletion comes first: no reader is left, and an owner waits (`docs/extensions/force-deletion.md`).
    if deleting && object.is_forced(kind, cluster) {
        return if held { Step::release() } else { Step::Leave(Reason::Released) };
    }
    if asked == Some(OperationAnnotation::WaitForState) {
        return Step::Leave(Reason::WaitsForState);
    }
    if kind.skips_failed_shoots && cluster.is_of_failed_shoot() {
        return Step::Leave(Reason::ShootFailed);
    }

    let last = object.status.and_then(|status| status.last_operation.as_ref());
    let migrated = kind.migrates
        && last.is_some_and(|last| last.operation == OperationType::Migrate && last.state == State::Succeeded);
    let situation = Situation { object, asked, last, reader: kind.reader, scripting, now };

    // Migrate beats deletion: gardenlet deletes a ControlPlane without waiting for its migration
    // (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`).
    if asked == Some(OperationAnnotation::Migrate) {
        let change = Change::new(true, if held { Finalizer::Remove } else { Finalizer::Keep });
        return if migrated && !object.timestamp_is_news() {
            situation.let_go(change)
        } else {
            situation.operate(OperationType::Migrate, change)
        };
    }
    // After a handover, only migrate and restore are requests. A process may have died between its two writes: then the
    // second write is still to be made.
    if migrated && asked != Some(OperationAnnotation::Restore) {
        return situation.let_go(Change::new(false, if held { Finalizer::Remove } else { Finalizer::Keep }));
    }
    if deleting {
        return if !held {
            Step::Leave(Reason::Released)
        } else if object.was_never_created(kind) {
            // `extensions/pkg/controller/dnsrecord/reconciler.go`
            Step::release()
        } else {
            situation.operate(OperationType::Delete, Change::new(false, Finalizer::Remove))
        };
    }
    let unfinished = unfinished(last).filter(|operation| kind.migrates || *operation == OperationType::Create);
    if matches!(cluster, ClusterView::Missing) && unfinished != Some(OperationType::Migrate) {
        return Step::Leave(Reason::WaitsForCluster);
    }

    let operation = match (asked, last) {
        (Some(OperationAnnotation::Restore), _) => OperationType::Restore,
        (_, None) => OperationType::Create,
        _ => unfinished.unwrap_or(OperationType::Reconcile),
    };
    let finalizer = match operation {
        OperationType::Migrate if held => Finalizer::Remove,
        OperationType::Migrate => Finalizer::Keep,
        _ if held => Finalizer::Keep,
        _ => Finalizer::Add,
    };
    situation.operate(operation, Change::new(asked.is_some(), finalizer))
}

/// The type of an unfinished operation that keeps its type until it succeeds (`pkg/api/core/v1beta1/helper/common.go`).
fn unfinished(last: Option<&LastOperation>) -> Option<OperationType> {
    let last = last.filter(|last| last.state != State::Succeeded)?;
    matches!(last.operation, OperationType::Create | OperationType::Migrate | OperationType::Restore)
        .then_some(last.operation)
}

#[cfg(test)]
mod tests;
