//! Reports about the progress of extension objects.

use std::time::Duration;

use serde_json::Value;

use crate::phase::Phase;

/// The progress of one extension object of a Shoot.
#[derive(Clone, Debug)]
pub struct Report {
    /// The operation on the Shoot.
    pub phase: Phase,
    /// The object's namespace.
    pub namespace: String,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// The object's `spec.type`.
    pub spec_type: String,
    /// The entries of `status.conditions` that the extension has written since gardenlet's request.
    pub conditions: Vec<Value>,
    /// The change.
    pub what: Progress,
}

/// A change of an object or of gardenlet's wait for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// gardenlet wrote its request and starts to wait.
    Requested,
    /// The extension changed `status.lastOperation`: its type, state and percentage.
    State(String),
    /// The object is ready and gardenlet proceeds. The time from the API server's answer to the request until the event
    /// that made the object ready.
    Ready(Duration),
    /// The object is gone. The time from the API server's answer to the deletion until the event that showed its end.
    Gone(Duration),
    /// gardenlet does not proceed. The rule that the object does not meet, or the error of a request.
    Stuck(String),
}
