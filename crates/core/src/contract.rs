//! Gardener's extension contract in words: annotations, states, operation types, error codes and the status that all
//! kinds share. Nothing here decides anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// API group of the extension objects and of Cluster.
pub const GROUP: &str = "extensions.gardener.cloud";
/// The only version of [`GROUP`].
pub const VERSION: &str = "v1alpha1";
/// Group and version of everything that we put into opaque fields (providerStatus, state).
pub const MOCK_API_VERSION: &str = "mock.extensions.gardener.cloud/v1alpha1";

/// gardenlet's request; only the extension takes it off again.
pub const OPERATION_ANNOTATION: &str = "gardener.cloud/operation";
/// When gardenlet asked, RFC 3339 with nanoseconds. Never ours to change: gardenlet compares it byte for byte.
pub const TIMESTAMP_ANNOTATION: &str = "gardener.cloud/timestamp";
/// On a Shoot: its owner has given the infrastructure up and wants only the objects gone.
pub const FORCE_DELETION_ANNOTATION: &str = "confirmation.gardener.cloud/force-deletion";
/// On a Shoot: a script for all its extension objects, as YAML or JSON. It reaches the seed inside the Cluster.
pub const SCRIPT_ANNOTATION: &str = "mock.extensions.gardener.cloud/script";
/// Guards extension objects against deletion by accident; gardenlet sets it before each DELETE.
pub const DELETION_CONFIRMATION_ANNOTATION: &str = "confirmation.gardener.cloud/deletion";

/// What `gardener.cloud/operation` may ask of an extension object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationAnnotation {
    /// Bring the object to its spec.
    Reconcile,
    /// Let go of the object without destroying anything: another seed takes over.
    Migrate,
    /// Take over from another seed with the state that stands in the status.
    Restore,
    /// Hands off until gardenlet has put the state into the status.
    WaitForState,
}

impl OperationAnnotation {
    /// The request that the annotation's value stands for; other values are not for extension objects.
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

/// `lastOperation.type` (`pkg/apis/core/v1beta1/types_common.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationType {
    /// The first reconciliation.
    Create,
    /// Every further one.
    Reconcile,
    /// On the way out.
    Delete,
    /// Handed over to another seed.
    Migrate,
    /// Taken over from another seed.
    Restore,
    /// A type that only other actors write.
    #[serde(other)]
    Other,
}

impl OperationType {
    /// The type as it stands in the status; for messages and metric labels.
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
    /// Under way.
    Processing,
    /// Done; the only state that gardenlet takes for ready.
    Succeeded,
    /// It did not work and will be tried again.
    Error,
    /// It did not work and somebody has to act.
    Failed,
    /// Not begun.
    Pending,
    /// Given up half-way.
    Aborted,
    /// A state that only other actors write.
    #[serde(other)]
    Other,
}

/// `lastError.codes`; gardenlet copies them to the Shoot (`pkg/apis/core/v1beta1/types_common.go`).
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
    /// Too many requests to the cloud.
    #[serde(rename = "ERR_INFRA_RATE_LIMITS_EXCEEDED")]
    InfraRateLimitsExceeded,
    /// Something in the account stands in the way, and its owner has to act.
    #[serde(rename = "ERR_INFRA_DEPENDENCIES")]
    InfraDependencies,
    /// Something in the account stands in the way for now.
    #[serde(rename = "ERR_RETRYABLE_INFRA_DEPENDENCIES")]
    RetryableInfraDependencies,
    /// The cloud has no more of what was asked for.
    #[serde(rename = "ERR_INFRA_RESOURCES_DEPLETED")]
    InfraResourcesDepleted,
    /// Resources in the shoot could not be removed.
    #[serde(rename = "ERR_CLEANUP_CLUSTER_RESOURCES")]
    CleanupClusterResources,
    /// The object or its Cluster holds a value that cannot be used.
    #[serde(rename = "ERR_CONFIGURATION_PROBLEM")]
    ConfigurationProblem,
    /// As before, but it may become right by itself.
    #[serde(rename = "ERR_RETRYABLE_CONFIGURATION_PROBLEM")]
    RetryableConfigurationProblem,
    /// A webhook of the shoot's owner stands in the way.
    #[serde(rename = "ERR_PROBLEMATIC_WEBHOOK")]
    ProblematicWebhook,
}

impl ErrorCode {
    /// All of them.
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

    /// Whether gardenlet tries again by itself. With any other code the Shoot goes to Failed at once and stays there
    /// until its owner acts (`pkg/api/core/v1beta1/helper/errors.go`, `HasNonRetryableErrorCode`).
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

/// `status.lastOperation`. Every field is required by the CRDs, and absent ones of other writers do no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Whole seconds on the wire.
    #[serde(default = "epoch", deserialize_with = "lenient_time")]
    pub last_update_time: Time,
    /// Percent.
    #[serde(default)]
    pub progress: i32,
    /// How far it got.
    pub state: State,
    /// What was done.
    #[serde(rename = "type")]
    pub operation: OperationType,
}

/// The part of the status that all kinds share, as far as it is read here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Generation of the spec that `last_operation` speaks of.
    pub observed_generation: Option<i64>,
    /// Absent on an object that nobody ever served.
    pub last_operation: Option<LastOperation>,
    /// Anything here keeps gardenlet from taking the object for ready; what it says is not our concern.
    pub last_error: Option<serde_json::Value>,
    /// One of them may be the record of a script; the others are kept as they are.
    pub conditions: Option<Vec<serde_json::Value>>,
}

fn epoch() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

/// A time that cannot be read counts as long ago: the object is then served again instead of never.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(Time(text.and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)))
}

/// Cuts to whole seconds, the resolution in which statuses keep time and gardenlet compares.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    let rest = SignedDuration::from_nanos(i64::from(time.subsec_nanosecond()));
    let cut = time.checked_sub(rest).unwrap_or(time);
    debug_assert_eq!(cut.round(Unit::Second).ok(), Some(cut));
    // Before 1970 the rest is negative and the cut went up; such times are nobody's request.
    cut
}
