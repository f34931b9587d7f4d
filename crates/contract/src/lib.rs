//! Gardener's extension contract as data: annotations, kinds, the status that all kinds share, and gardenlet's
//! rules for readiness.
//!
//! Gardener defines everything here. Nothing depends on which extension serves the objects.

pub mod annotations;
pub mod json;
pub mod kinds;
pub mod readiness;
pub mod status;
pub mod watched;

pub use annotations::{
    DELETION_CONFIRMATION_ANNOTATION, FORCE_DELETION_ANNOTATION, OPERATION_ANNOTATION, OperationAnnotation,
    TIMESTAMP_ANNOTATION, annotation, requested_at, unreadable_timestamp, update_time,
};
pub use kinds::{Class, Force, HasCluster, Kind, Reader, SHOOT_NAMESPACE};
pub use status::{ErrorCode, LastOperation, OperationType, State, Status, whole_seconds};

/// API group of the extension objects and of Cluster.
pub const GROUP: &str = "extensions.gardener.cloud";
/// The only version of [`GROUP`].
pub const VERSION: &str = "v1alpha1";
/// The Gardener release whose rules this crate contains.
pub const GARDENER_VERSION: &str = "v1.149.0";
