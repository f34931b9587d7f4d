//! The annotations through which gardenlet talks to an extension.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::status::whole_seconds;

/// gardenlet's request. Only the extension removes it.
pub const OPERATION_ANNOTATION: &str = "gardener.cloud/operation";
/// Time of gardenlet's request, RFC 3339 with nanoseconds. An extension must not change it: gardenlet compares it byte
/// for byte.
pub const TIMESTAMP_ANNOTATION: &str = "gardener.cloud/timestamp";
/// On a Shoot: its owner has given up the infrastructure. An extension only has to release its objects.
pub const FORCE_DELETION_ANNOTATION: &str = "confirmation.gardener.cloud/force-deletion";
/// Confirms a deletion. Without it, an admission webhook refuses to delete an extension object. gardenlet sets it
/// before each DELETE.
pub const DELETION_CONFIRMATION_ANNOTATION: &str = "confirmation.gardener.cloud/deletion";

/// A value of [`OPERATION_ANNOTATION`] on an extension object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationAnnotation {
    /// Bring the object to its spec.
    Reconcile,
    /// Release the object without destroying anything. Another seed takes over.
    Migrate,
    /// Take over from another seed, with the state in `status.state`.
    Restore,
    /// Do nothing until gardenlet has put the state into the status.
    WaitForState,
}

impl OperationAnnotation {
    /// Parses the annotation's value. Returns `None` for values that Gardener does not use on extension objects.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "reconcile" => Some(Self::Reconcile),
            "migrate" => Some(Self::Migrate),
            "restore" => Some(Self::Restore),
            "wait-for-state" => Some(Self::WaitForState),
            _ => None,
        }
    }

    /// The annotation's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::Migrate => "migrate",
            Self::Restore => "restore",
            Self::WaitForState => "wait-for-state",
        }
    }
}

/// The value of an annotation.
#[must_use]
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Time of gardenlet's latest request. Returns `None` without a readable timestamp.
#[must_use]
pub fn requested_at(meta: &ObjectMeta) -> Option<Timestamp> {
    annotation(meta, TIMESTAMP_ANNOTATION)?.parse().ok()
}

/// The value of the timestamp annotation if it is unreadable.
#[must_use]
pub fn unreadable_timestamp(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, TIMESTAMP_ANNOTATION).filter(|value| value.parse::<Timestamp>().is_err())
}

/// `lastOperation.lastUpdateTime` of a status that is written at `now`, in whole seconds. It is never before the
/// request: gardenlet ignores a success from before its request, and gardenlet's clock may be ahead of ours.
#[must_use]
pub fn update_time(meta: &ObjectMeta, now: Timestamp) -> Timestamp {
    let now = whole_seconds(now);
    requested_at(meta).map_or(now, |requested| now.max(whole_seconds(requested)))
}
