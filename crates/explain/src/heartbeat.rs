//! Heartbeats of extensions (`extensions/pkg/controller/heartbeat`).

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// The name of the Lease (`pkg/extensions/constants.go`).
pub const LEASE: &str = "gardener-extension-heartbeat";

/// gardenlet's default of `staleExtensionHealthChecks.threshold`
/// (`pkg/apis/config/gardenlet/v1alpha1/defaults.go`).
pub const STALE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The heartbeats, by namespace of the extension.
pub type Heartbeats = BTreeMap<String, Heartbeat>;

/// The heartbeat of one extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The name that the extension gives itself.
    pub holder: String,
    /// When it was renewed.
    pub renewed: Option<Timestamp>,
}

impl Heartbeat {
    /// Reads a Lease.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        let spec = lease.spec.as_ref();
        Self {
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            renewed: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
        }
    }

    /// Whether gardenlet takes health conditions of the extension for outdated. A heartbeat that was never renewed is
    /// stale, too (`pkg/gardenlet/controller/shoot/care/health.go`).
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.renewed.is_none_or(|renewed| now.duration_since(renewed) > STALE_AFTER)
    }
}
