//! The error that ends a flow or a wait.

use std::time::Duration;

use extension_contract::readiness::NotReady;

/// Why gardenlet does not proceed with a Shoot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stuck {
    /// The object does not meet a rule, and gardenlet would wait until its timeout.
    #[error("{object}: {rule} (gave up after {} s; {status})", .after.as_secs_f32())]
    Waiting {
        /// Kind, namespace and name.
        object: String,
        /// The rule that the object does not meet.
        rule: String,
        /// The object's lastOperation and lastError, and the error of the watch, if there is one.
        status: String,
        /// How long the stand-in waited.
        after: Duration,
    },
    /// The object does not meet a rule, and gardenlet would fail at once.
    #[error("{object}: {rule} ({status})")]
    Rule {
        /// Kind, namespace and name.
        object: String,
        /// The rule that the object does not meet.
        rule: String,
        /// The object's lastOperation and lastError.
        status: String,
    },
    /// The object reports an error for longer than gardenlet tolerates.
    #[error("{object}: gardenlet gives up after {} s and the Shoot goes to {shoot}: {error}", .after.as_secs_f32())]
    GaveUp {
        /// Kind, namespace and name.
        object: String,
        /// The object's error.
        error: NotReady,
        /// The Shoot's `status.lastOperation.state` from now on.
        shoot: &'static str,
        /// How long the stand-in waited.
        after: Duration,
    },
    /// An object of the Seed reports an error for longer than the stand-in tolerates. gardenlet goes on to wait.
    #[error("{object}: no Shoot is created on the Seed until it succeeds (gave up after {} s): {error}", .after.as_secs_f32())]
    Seed {
        /// Kind, namespace and name.
        object: String,
        /// The object's error.
        error: NotReady,
        /// How long the stand-in waited.
        after: Duration,
    },
    /// A request failed.
    #[error("cannot {doing} {object}: {source}")]
    Request {
        /// What was attempted.
        doing: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// Why the request failed.
        source: Box<kube::Error>,
    },
}

impl Stuck {
    /// The rule that the object does not meet, or the error of the request, without the object.
    #[must_use]
    pub fn rule(&self) -> String {
        match self {
            Self::Waiting { rule, .. } | Self::Rule { rule, .. } => rule.clone(),
            Self::GaveUp { error, shoot, .. } => format!("the Shoot goes to {shoot}: {error}"),
            Self::Seed { error, .. } => format!("no Shoot is created on the Seed until it succeeds: {error}"),
            Self::Request { doing, source, .. } => format!("cannot {doing}: {source}"),
        }
    }
}
