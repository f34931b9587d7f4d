//! The status that all kinds share: operations, states and error codes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// `lastOperation.type` (`pkg/apis/core/v1beta1/types_common.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationType {
    /// The first reconciliation of an object.
    Create,
    /// Any later reconciliation.
    Reconcile,
    /// Deletion.
    Delete,
    /// Handover to another seed.
    Migrate,
    /// Takeover from another seed.
    Restore,
    /// A type that extensions do not write.
    #[serde(other)]
    Other,
}

impl OperationType {
    /// The type as it is written in a status, also for messages and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Reconcile => "Reconcile",
            Self::Delete => "Delete",
            Self::Migrate => "Migrate",
            Self::Restore => "Restore",
            Self::Other => "Other",
        }
    }
}

/// `lastOperation.state` (`pkg/apis/core/v1beta1/types_common.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// In progress.
    Processing,
    /// Done. No other state counts as ready.
    Succeeded,
    /// The operation failed. The extension retries it.
    Error,
    /// The operation failed, and the Shoot's owner has to act.
    Failed,
    /// Not started.
    Pending,
    /// Stopped before it ended.
    Aborted,
    /// A state that extensions do not write.
    #[serde(other)]
    Other,
}

/// A value of `lastError.codes`. gardenlet copies the codes to the Shoot (`pkg/apis/core/v1beta1/types_common.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ErrorCode {
    /// The credentials are wrong.
    #[serde(rename = "ERR_INFRA_UNAUTHENTICATED")]
    InfraUnauthenticated,
    /// The credentials lack a permission.
    #[serde(rename = "ERR_INFRA_UNAUTHORIZED")]
    InfraUnauthorized,
    /// The account's quota is used up.
    #[serde(rename = "ERR_INFRA_QUOTA_EXCEEDED")]
    InfraQuotaExceeded,
    /// The cloud rejects requests because there were too many.
    #[serde(rename = "ERR_INFRA_RATE_LIMITS_EXCEEDED")]
    InfraRateLimitsExceeded,
    /// Other resources in the account block the operation, and the account's owner has to act.
    #[serde(rename = "ERR_INFRA_DEPENDENCIES")]
    InfraDependencies,
    /// Other resources in the account block the operation temporarily.
    #[serde(rename = "ERR_RETRYABLE_INFRA_DEPENDENCIES")]
    RetryableInfraDependencies,
    /// The cloud has no capacity left for what was requested.
    #[serde(rename = "ERR_INFRA_RESOURCES_DEPLETED")]
    InfraResourcesDepleted,
    /// Resources in the shoot cluster could not be deleted.
    #[serde(rename = "ERR_CLEANUP_CLUSTER_RESOURCES")]
    CleanupClusterResources,
    /// The object or its Cluster contains an invalid value.
    #[serde(rename = "ERR_CONFIGURATION_PROBLEM")]
    ConfigurationProblem,
    /// A configuration problem that may resolve without a change of the object.
    #[serde(rename = "ERR_RETRYABLE_CONFIGURATION_PROBLEM")]
    RetryableConfigurationProblem,
    /// A webhook of the Shoot's owner blocks requests.
    #[serde(rename = "ERR_PROBLEMATIC_WEBHOOK")]
    ProblematicWebhook,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 11] = [
        Self::InfraUnauthenticated,
        Self::InfraUnauthorized,
        Self::InfraQuotaExceeded,
        Self::InfraRateLimitsExceeded,
        Self::InfraDependencies,
        Self::RetryableInfraDependencies,
        Self::InfraResourcesDepleted,
        Self::CleanupClusterResources,
        Self::ConfigurationProblem,
        Self::RetryableConfigurationProblem,
        Self::ProblematicWebhook,
    ];

    /// Returns whether gardenlet retries. Any other code moves the Shoot to Failed at once, until its owner acts
    /// (`pkg/api/core/v1beta1/helper/errors.go`, `HasNonRetryableErrorCode`).
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RetryableInfraDependencies
                | Self::InfraResourcesDepleted
                | Self::CleanupClusterResources
                | Self::RetryableConfigurationProblem
        )
    }
}

/// `status.lastOperation`. The CRDs require every field. Decoding also accepts a status that lacks some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// Text for people.
    #[serde(default)]
    pub description: String,
    /// Time of the last change, written in whole seconds.
    #[serde(default = "epoch", deserialize_with = "lenient_time")]
    pub last_update_time: Time,
    /// Progress in percent.
    #[serde(default)]
    pub progress: i32,
    /// State of the operation.
    pub state: State,
    /// Type of the operation.
    #[serde(rename = "type")]
    pub operation: OperationType,
}

/// The status fields that all kinds share and that controllers read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Generation of the spec that `last_operation` belongs to.
    pub observed_generation: Option<i64>,
    /// Absent until an extension reports for the first time.
    pub last_operation: Option<LastOperation>,
    /// An object with an error is not ready. The content is not decoded.
    pub last_error: Option<serde_json::Value>,
    /// Conditions of all writers, not decoded.
    pub conditions: Option<Vec<serde_json::Value>>,
}

fn epoch() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

/// Decodes a time of a status. Returns `None` for a time that cannot be read: an API server accepts offsets such as
/// `+99:99` and the last day of the year 9999 (`k8s.io/kube-openapi/pkg/validation/strfmt/time.go`).
pub fn readable_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).map(Time))
}

/// An unreadable time decodes as 1970, so that the extension reconciles the object again instead of never.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    Ok(readable_time(deserializer)?.unwrap_or_else(epoch))
}

/// Truncates to whole seconds, the resolution of times in a status. gardenlet compares them at this resolution, too.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    let rest = SignedDuration::from_nanos(i64::from(time.subsec_nanosecond()));
    let cut = time.checked_sub(rest).unwrap_or(time);
    debug_assert_eq!(cut.round(Unit::Second).ok(), Some(cut));
    // Before 1970 the rest is negative, which rounds the time up. No request has such a time.
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_only_an_api_server_accepts_does_not_keep_a_status_from_being_read() {
        for time in ["9999-12-31T23:59:59Z", "2026-01-01T00:00:00+99:99"] {
            let text =
                format!(r#"{{ "lastOperation": {{ "lastUpdateTime": "{time}", "state": "Error", "type": "X" }} }}"#);
            let status: Status = serde_json::from_str(&text).unwrap();
            let last = status.last_operation.unwrap();
            assert_eq!((last.last_update_time, last.operation), (epoch(), OperationType::Other));
        }
    }
}
