//! What a decision looks at: the object, its Cluster, and what this process serves.

use extension_contract::{
    Class, OPERATION_ANNOTATION, OperationAnnotation, Reader, State, Status, annotation, requested_at, whole_seconds,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::SignedDuration;

use crate::kind::Base;
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
    /// The Cluster does not exist (yet), or is unreadable.
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
    /// How gardenlet learns of the result; decides the order of writes.
    pub reader: Reader,
}

impl Served<'_> {
    /// Whether an object is ours. Types are compared exactly, as in the Go library
    /// (`extensions/pkg/predicate/default.go`).
    #[must_use]
    pub fn includes(&self, base: &Base) -> bool {
        self.classes.iter().any(|class| class.is(base.class.as_deref())) && self.types.contains(&base.provider)
    }
}

impl ObjectView<'_> {
    /// The operation that the annotation requests.
    #[must_use]
    pub fn asked(&self) -> Option<OperationAnnotation> {
        OperationAnnotation::parse(annotation(self.meta, OPERATION_ANNOTATION)?)
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
