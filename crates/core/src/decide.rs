//! What happens next to an object: one pure function of the object, its Cluster, the rules of its kind and the clock.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::behaviour::{Act, Parsed, Record, Scripting};
use crate::contract::{LastOperation, whole_seconds};
use crate::contract::{OPERATION_ANNOTATION, OperationAnnotation, OperationType, State, Status, TIMESTAMP_ANNOTATION};
use crate::extension::{Base, Invalid, Reader};

/// How long an operation that ended in Error or Failed rests before it is tried again: one of gardenlet's polls.
pub const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// An extension object, as far as the decision looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// Annotations, finalizers, generation, deletion.
    pub meta: &'a ObjectMeta,
    /// Type and class.
    pub base: &'a Base,
    /// What was reported so far.
    pub status: Option<&'a Status>,
}

/// What is known of the Cluster that an object belongs to.
#[derive(Clone, Copy, Debug)]
pub enum ClusterView<'a> {
    /// The object belongs to none.
    Unneeded,
    /// Not there (yet).
    Missing,
    /// There.
    Known(&'a ShootFacts),
}

/// What decisions need of the Cluster's Shoot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootFacts {
    /// Of the Cluster: new with each Shoot that comes to the seed.
    pub uid: String,
    /// `status.technicalID`, empty if the Shoot has none.
    pub technical_id: String,
    /// `status.lastOperation.state` is Failed: hands off until its owner acts.
    pub failed: bool,
    /// Annotated for force deletion.
    pub force_deleted: bool,
    /// The script in its annotation.
    pub script: Option<Parsed>,
}

/// The rules that a kind and the process' flags set.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Served values of `spec.type`.
    pub types: &'a [String],
    /// Ours.
    pub finalizer: &'a str,
    /// Decides the order of writes.
    pub reader: Reader,
}

/// What to do with an object now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until the object or its Cluster changes.
    Leave(Reason),
    /// Nothing before that time.
    RetryAt(Timestamp),
    /// These writes, in this order.
    Write {
        /// What they amount to.
        operation: OperationType,
        /// One request each.
        writes: Vec<Write>,
    },
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Another provider's type, or another class than shoot.
    Foreign,
    /// gardenlet is about to write the state.
    WaitsForState,
    /// There is no Cluster yet.
    WaitsForCluster,
    /// The Shoot is Failed.
    ShootFailed,
    /// Handed over to another seed.
    Migrated,
    /// Being deleted, and our finalizer is gone.
    Released,
    /// Everything that was asked for is done.
    Done,
    /// A script makes the operation hang for ever.
    Hangs,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Patch of the status. Succeeded carries the kind's outcome and our Secrets.
    Status(State),
    /// Patch of the status as a script has it.
    Scripted(Box<Act>),
    /// Patch of the status: a script's health conditions alone.
    Conditions(Box<Record>),
    /// Patch of the status: the script cannot be used.
    BadScript(Invalid),
    /// Patch of the metadata.
    Metadata(Change),
}

/// What changes in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Take the operation annotation off.
    pub drop_operation: bool,
    /// What happens to our finalizer.
    pub finalizer: Finalizer,
    /// Take the timestamp annotation off, which only a fault does.
    pub strip_timestamp: bool,
}

/// What happens to our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// It stays as it is.
    Keep,
    /// It is put in.
    Add,
    /// It is taken out.
    Remove,
}

/// Decides what to do with `object` now.
#[must_use]
pub fn decide(
    object: Object<'_>,
    cluster: ClusterView<'_>,
    rules: &Rules<'_>,
    scripting: &Scripting<'_>,
    now: Timestamp,
) -> Step {
    if !is_ours(object.base, rules.types) {
        return Step::Leave(Reason::Foreign);
    }
    let asked = object.asked();
    let deleting = object.meta.deletion_timestamp.is_some();
    let held = object.held_by(rules.finalizer);

    // First of all, since nobody reads anything any more and an owner waits [docs/extensions/force-deletion.md].
    if let ClusterView::Known(ShootFacts { force_deleted: true, .. }) = cluster
        && deleting
    {
        return if held { release() } else { Step::Leave(Reason::Released) };
    }
    if asked == Some(OperationAnnotation::WaitForState) {
        return Step::Leave(Reason::WaitsForState);
    }
    if let ClusterView::Known(ShootFacts { failed: true, .. }) = cluster {
        return Step::Leave(Reason::ShootFailed);
    }

    let last = object.status.and_then(|status| status.last_operation.as_ref());
    let migrated = last.is_some_and(|last| last.operation == OperationType::Migrate && last.state == State::Succeeded);
    let round = Round { object, asked, last, reader: rules.reader, scripting, now };

    // Migrate beats deletion: gardenlet deletes a ControlPlane without waiting for its migration
    // [pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go].
    if asked == Some(OperationAnnotation::Migrate) {
        let change = Change::new(true, if held { Finalizer::Remove } else { Finalizer::Keep });
        return if migrated && !object.timestamp_is_news() {
            round.let_go(change)
        } else {
            round.operate(OperationType::Migrate, change)
        };
    }
    // Only migrate and restore are requests to an object that has been handed over; what is left may be the second
    // write of a process that died between two.
    if migrated && asked != Some(OperationAnnotation::Restore) {
        return round.let_go(Change::new(false, if held { Finalizer::Remove } else { Finalizer::Keep }));
    }
    if deleting {
        return if held {
            round.operate(OperationType::Delete, Change::new(false, Finalizer::Remove))
        } else {
            Step::Leave(Reason::Released)
        };
    }
    if matches!(cluster, ClusterView::Missing) && !matches!(unfinished(last), Some(OperationType::Migrate)) {
        return Step::Leave(Reason::WaitsForCluster);
    }

    let operation = match (asked, last) {
        (Some(OperationAnnotation::Restore), _) => OperationType::Restore,
        (_, None) => OperationType::Create,
        _ => unfinished(last).unwrap_or(OperationType::Reconcile),
    };
    let finalizer = match operation {
        OperationType::Migrate if held => Finalizer::Remove,
        OperationType::Migrate => Finalizer::Keep,
        _ if held => Finalizer::Keep,
        _ => Finalizer::Add,
    };
    round.operate(operation, Change::new(asked.is_some(), finalizer))
}

/// `lastOperation.lastUpdateTime` of a write at `now`: gardenlet does not believe a success from before its request,
/// and its clock may be ahead of ours.
#[must_use]
pub fn update_time(meta: &ObjectMeta, now: Timestamp) -> Timestamp {
    let now = whole_seconds(now);
    requested_at(meta).map_or(now, |requested| now.max(whole_seconds(requested)))
}

/// When gardenlet asked last; none without a readable timestamp.
#[must_use]
pub fn requested_at(meta: &ObjectMeta) -> Option<Timestamp> {
    annotation(meta, TIMESTAMP_ANNOTATION)?.parse().ok()
}

/// The timestamp annotation's value, if it is one that nobody can read.
#[must_use]
pub fn unreadable_timestamp(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, TIMESTAMP_ANNOTATION).filter(|value| value.parse::<Timestamp>().is_err())
}

/// Whether type and class make an object ours: exactly, as the Go library compares
/// (`extensions/pkg/predicate/default.go`).
#[must_use]
pub fn is_ours(base: &Base, types: &[String]) -> bool {
    matches!(base.class.as_deref(), None | Some("" | "shoot")) && types.contains(&base.provider)
}

pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

impl Object<'_> {
    fn asked(&self) -> Option<OperationAnnotation> {
        OperationAnnotation::parse(annotation(self.meta, OPERATION_ANNOTATION)?)
    }

    fn held_by(&self, finalizer: &str) -> bool {
        self.meta.finalizers.iter().flatten().any(|held| held == finalizer)
    }

    /// Whether the timestamp asks for something that the status does not answer. Compared in whole seconds: raw,
    /// `…30.5` would be later than any `…30` that a status can hold.
    pub(crate) fn timestamp_is_news(&self) -> bool {
        let answered = self.status.and_then(|status| status.last_operation.as_ref());
        match (requested_at(self.meta), answered) {
            (Some(requested), Some(last)) => whole_seconds(requested) > last.last_update_time.0,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether the object wants to be served although no annotation says so: gardenlet leaves it out where its cache
    /// still showed one, and does not annotate every kind on every deploy
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    fn wants_service(&self) -> bool {
        let Some(Status { observed_generation, last_operation: Some(last), last_error, .. }) = self.status else {
            return true;
        };
        match last.state {
            // A lastError beside Succeeded keeps gardenlet from taking the object for ready.
            State::Succeeded if last_error.is_some() => true,
            State::Processing | State::Pending | State::Aborted | State::Other => true,
            _ => *observed_generation != self.meta.generation || self.timestamp_is_news(),
        }
    }

    /// Whether a newer timestamp is all that asks for service.
    fn wants_only_a_time(&self) -> bool {
        self.timestamp_is_news()
            && self.status.is_some_and(|status| {
                status.last_operation.as_ref().is_some_and(|last| last.state == State::Succeeded)
                    && status.last_error.is_none()
                    && status.observed_generation == self.meta.generation
            })
    }
}

/// The operation that was begun and has to be ended as what it was begun (`pkg/api/core/v1beta1/helper/common.go`).
fn unfinished(last: Option<&LastOperation>) -> Option<OperationType> {
    let last = last.filter(|last| last.state != State::Succeeded)?;
    matches!(last.operation, OperationType::Create | OperationType::Migrate | OperationType::Restore)
        .then_some(last.operation)
}

fn release() -> Step {
    write(OperationType::Delete, vec![Write::Metadata(Change::new(false, Finalizer::Remove))])
}

fn write(operation: OperationType, writes: Vec<Write>) -> Step {
    Step::Write { operation, writes }
}

impl Change {
    const fn new(drop_operation: bool, finalizer: Finalizer) -> Self {
        Self { drop_operation, finalizer, strip_timestamp: false }
    }

    fn write(self) -> Option<Write> {
        let changes = self.drop_operation || self.strip_timestamp || self.finalizer != Finalizer::Keep;
        changes.then_some(Write::Metadata(self))
    }
}

/// What is known of an object in one decision about it.
struct Round<'a> {
    object: Object<'a>,
    asked: Option<OperationAnnotation>,
    last: Option<&'a LastOperation>,
    reader: Reader,
    scripting: &'a Scripting<'a>,
    now: Timestamp,
}

mod round;
#[cfg(test)]
mod tests;
