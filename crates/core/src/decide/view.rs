//! What a decision looks at: the object, its Cluster, and what this process serves.

use extension_contract::{
    Class, FORCE_DELETION_ANNOTATION, Force, Kind, OPERATION_ANNOTATION, OperationAnnotation, State, Status,
    annotation, requested_at, whole_seconds,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::kind::Base;
use crate::script::record::is_of;
use crate::script::source::Parsed;

/// The parts of an extension object that a decision uses.
#[derive(Clone, Copy, Debug)]
pub struct ObjectView<'a> {
    /// Annotations, finalizers, generation, deletion.
    pub meta: &'a ObjectMeta,
    /// Type and class.
    pub base: &'a Base,
    /// The status so far.
    pub status: Option<&'a Status>,
    /// How far the time of the last operation was ahead of our clock when this process first met it.
    pub lead: SignedDuration,
}

/// What is known of the Cluster that an object belongs to.
#[derive(Clone, Copy, Debug)]
pub enum ClusterView<'a> {
    /// The object belongs to no Cluster.
    Unneeded,
    /// The Cluster does not exist (yet), or is unreadable; or the namespace that says whether there is one is unknown.
    Missing,
    /// The Cluster exists.
    Known(&'a ShootFacts),
}

/// What decisions need of the Cluster's Shoot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootFacts {
    /// Uid of the Cluster: a new one each time the Shoot comes to the seed.
    pub uid: String,
    /// `status.technicalID`, empty if the Shoot has none.
    pub technical_id: String,
    /// `status.lastOperation.state` is Failed: extensions leave the Shoot's objects alone until its owner acts.
    pub failed: bool,
    /// The Shoot is annotated for force deletion.
    pub force_deleted: bool,
    /// The script in the Shoot's annotation.
    pub script: Option<Parsed>,
}

/// What this process serves, set by its kind and its flags.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    /// Values of `spec.type`.
    pub types: &'a [String],
    /// Classes of objects.
    pub classes: &'a [Class],
    /// Our finalizer.
    pub finalizer: &'a str,
    /// The kind of the objects.
    pub kind: &'a Kind,
}

impl Served<'_> {
    /// Whether an object is ours. Types are compared exactly, as in the Go library
    /// (`extensions/pkg/predicate/default.go`).
    #[must_use]
    pub fn includes(&self, base: &Base) -> bool {
        self.classes.iter().any(|class| class.is(base.class.as_deref())) && self.types.contains(&base.provider)
    }
}

impl ClusterView<'_> {
    /// Whether extensions leave the objects of the Shoot alone, because it is Failed.
    pub(super) fn is_of_failed_shoot(self) -> bool {
        matches!(self, Self::Known(ShootFacts { failed: true, .. }))
    }
}

impl ObjectView<'_> {
    /// The operation that the annotation requests. `kind`: migrate and restore are no requests for every kind.
    #[must_use]
    pub fn asked(&self, kind: &Kind) -> Option<OperationAnnotation> {
        let asked = OperationAnnotation::parse(annotation(self.meta, OPERATION_ANNOTATION)?)?;
        let moves = matches!(asked, OperationAnnotation::Migrate | OperationAnnotation::Restore);
        (kind.migrates || !moves).then_some(asked)
    }

    /// Whether the object is to be released at once when it is deleted.
    #[must_use]
    pub fn is_forced(&self, kind: &Kind, cluster: ClusterView<'_>) -> bool {
        match kind.force {
            Force::Never => false,
            Force::OfShoot => matches!(cluster, ClusterView::Known(ShootFacts { force_deleted: true, .. })),
            // Only this spelling counts (`extensions/pkg/controller/bastion/reconciler.go`).
            Force::OfObject => annotation(self.meta, FORCE_DELETION_ANNOTATION) == Some("true"),
        }
    }

    /// Whether the object stands for nothing: its condition says that the creation has failed.
    #[must_use]
    pub fn was_never_created(&self, kind: &Kind) -> bool {
        let conditions = self.status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let is_false = |condition: &Value| condition.get("status").and_then(Value::as_str) == Some("False");
        kind.created.is_some_and(|created| conditions.iter().any(|one| is_of(one, created) && is_false(one)))
    }

    /// Whether the object has this finalizer.
    #[must_use]
    pub fn held_by(&self, finalizer: &str) -> bool {
        self.meta.finalizers.iter().flatten().any(|held| held == finalizer)
    }

    /// Whether the timestamp is newer than the last operation. Both are compared in whole seconds: a status cannot hold
    /// a fraction, so `…30.5` would be later than every `…30`.
    #[must_use]
    pub fn timestamp_is_news(&self) -> bool {
        let answered = self.status.and_then(|status| status.last_operation.as_ref());
        match (requested_at(self.meta), answered) {
            (Some(requested), Some(last)) => whole_seconds(requested) > last.last_update_time.0,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether the object needs a reconcile although it has no operation annotation. gardenlet omits the annotation if
    /// its cache still showed one, and does not annotate every kind on every deploy
    /// (`pkg/component/extensions/infrastructure/infrastructure.go`).
    #[must_use]
    pub fn needs_reconcile(&self) -> bool {
        let Some(Status { observed_generation, last_operation: Some(last), last_error, .. }) = self.status else {
            return true;
        };
        match last.state {
            // gardenlet does not treat an object with a lastError as ready.
            State::Succeeded if last_error.is_some() => true,
            State::Processing | State::Pending | State::Aborted | State::Other => true,
            _ => *observed_generation != self.meta.generation || self.timestamp_is_news(),
        }
    }

    /// Whether a newer timestamp is the only reason for a reconcile.
    #[must_use]
    pub fn wants_only_a_time(&self) -> bool {
        self.timestamp_is_news()
            && self.status.is_some_and(|status| {
                status.last_operation.as_ref().is_some_and(|last| last.state == State::Succeeded)
                    && status.last_error.is_none()
                    && status.observed_generation == self.meta.generation
            })
    }
}
