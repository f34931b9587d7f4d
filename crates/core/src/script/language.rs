//! What a user may write in a script, as data. The JSON Schema of scripts is made from this file.

use extension_contract::{ErrorCode, OperationType};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::delay::{Delay, Span};

/// Most progress steps of a rule: people do not read more.
pub(super) const MOST_STEPS: usize = 20;

/// Most health conditions of a rule.
pub(super) const MOST_CONDITIONS: usize = 20;
/// Longest text that a status gets, in characters. The object with its status has to fit etcd's limit of 1.5 MiB, and
/// the record of an attempt repeats all texts of its rule.
pub(super) const LONGEST_TEXT: usize = 4096;
/// Longest name of a rule, in characters. It is part of every description.
pub(super) const LONGEST_NAME: usize = 253;
/// Longest type and reason of a condition, as for conditions of Kubernetes
/// (`k8s.io/apimachinery/pkg/apis/meta/v1/types.go`).
pub(super) const LONGEST_TYPE: usize = 316;
pub(super) const LONGEST_REASON: usize = 1024;

/// Group and version of scripts, and of the objects that the mock puts into opaque fields (providerStatus, state).
pub const MOCK_API_VERSION: &str = "mock.extensions.gardener.cloud/v1alpha1";
/// Annotation of a Shoot: a script for all its extension objects, as YAML or JSON. It reaches the seed in the Cluster.
pub const SCRIPT_ANNOTATION: &str = "mock.extensions.gardener.cloud/script";

/// A script. The first rule that matches decides how an attempt at an operation goes. If no rule matches, the attempt
/// succeeds immediately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map with apiVersion, kind and rules")]
pub struct Script {
    /// Group and version.
    pub api_version: ApiVersion,
    /// Kind of the document.
    pub kind: DocumentKind,
    /// Seed of all random draws: the same seed reproduces the same run. Without it, a seed is drawn and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The rules; the first one that matches wins.
    pub rules: Vec<Rule>,
}

/// Group and version of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only version.
    #[serde(rename = "mock.extensions.gardener.cloud/v1alpha1")]
    V1alpha1,
}

/// Kind of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Kind")]
pub enum DocumentKind {
    /// The only kind.
    Script,
}

/// Which attempts, and what happens to them. A rule has exactly one of `succeed`, `fail`, `hang` and `misbehave`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    default,
    expecting = "a map with one of succeed, fail, hang and misbehave"
)]
#[schemars(extend("oneOf" = [
    {"required": ["succeed"], "properties": {"succeed": {"type": "object"}}},
    {"required": ["fail"], "properties": {"fail": {"type": "object"}}},
    {"required": ["hang"], "properties": {"hang": {"type": "object"}}},
    {"required": ["misbehave"], "properties": {"misbehave": {"type": "object"}}},
]))]
pub struct Rule {
    /// Name for people, shown wherever the rule is mentioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_NAME))]
    pub name: Option<String>,
    /// Which attempts the rule is for. All given fields have to match; without any field the rule matches every attempt.
    #[serde(rename = "match")]
    pub matches: Match,
    /// The operation succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeed: Option<Succeed>,
    /// The operation fails and is retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Fail>,
    /// The operation stays in progress until a new request, a migration or a deletion ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang: Option<Hang>,
    /// The operation succeeds, but breaks the extension contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misbehave: Option<Misbehave>,
    /// Progress that `lastOperation` reports meanwhile: at most 20 steps. A step that would follow the one before within a
    /// second is skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_STEPS))]
    pub progress: Vec<ProgressStep>,
    /// Health conditions, which Gardener's care controllers read. They remain until a later operation of the object ends
    /// under a rule without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_CONDITIONS))]
    pub conditions: Vec<Condition>,
}

/// Which attempts a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "a map of what has to hold, such as kinds")]
pub struct Match {
    /// Kinds of extension objects, spelled as in their field `kind`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub kinds: Vec<String>,
    /// Requested operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Technical IDs of shoots, such as `shoot--dev--*`; `*` matches any text and `?` any character.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub shoots: Vec<String>,
    /// Names of objects; `*` and `?` as in `shoots`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub names: Vec<String>,
    /// Purposes of objects whose kind has purposes: `provision` or `reconcile`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub purposes: Vec<String>,
    /// Range of attempts, counted from 1 until the operation succeeds, across new requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
    /// Percentage of the attempts that match all other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100), extend("exclusiveMinimum" = 0))]
    pub percent: Option<f64>,
}

/// A range of attempts, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a range such as {from: 1, to: 2}")]
pub struct Attempts {
    /// The first attempt; 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub from: Option<u32>,
    /// The last attempt; no limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to: Option<u32>,
}

/// An operation that gardenlet may request from an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operation {
    /// The first reconciliation.
    Create,
    /// Every further one.
    Reconcile,
    /// Deletion.
    Delete,
    /// Handover to another seed.
    Migrate,
    /// Takeover from another seed.
    Restore,
}

/// The operation succeeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map, if empty as {}")]
pub struct Succeed {
    /// How long the operation takes.
    pub after: Delay,
}

/// The operation fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map with message")]
pub struct Fail {
    /// Text of `lastError`.
    #[schemars(length(min = 1, max = LONGEST_TEXT))]
    pub message: String,
    /// Error codes for Gardener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<ErrorCode>,
    /// How long the operation takes.
    #[serde(default)]
    pub after: Delay,
    /// Pause before the next attempt. Default: 5 s, doubled after each failure, up to 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Delay>,
    /// Names of worker pools, `*` and `?` as in `match.shoots`: these pools fail, the others are reported as usual. The
    /// rule then only matches objects that have one of these pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub pools: Vec<String>,
}

/// The operation does not end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an empty map, {}")]
pub struct Hang {}

/// The operation succeeds but breaks the extension contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with fault")]
pub struct Misbehave {
    /// How it breaks the contract.
    pub fault: Fault,
    /// How long the operation takes.
    #[serde(default)]
    pub after: Delay,
}

/// Ways to break the extension contract, to test how robust Gardener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fault {
    /// Succeeds with the previous `observedGeneration`.
    OldObservedGeneration,
    /// Leaves a `lastError` next to state Succeeded.
    StaleLastError,
    /// Never removes the operation annotation.
    KeepOperation,
    /// Removes the timestamp annotation, which belongs to gardenlet.
    StripTimestamp,
    /// Reports machine deployments with the previous time, for kinds that report such a time.
    RepeatTime,
    /// Never removes its finalizer.
    KeepFinalizer,
    /// Succeeds only after gardenlet has given up.
    AnswerLate,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 7] = [
        Self::OldObservedGeneration,
        Self::StaleLastError,
        Self::KeepOperation,
        Self::StripTimestamp,
        Self::RepeatTime,
        Self::KeepFinalizer,
        Self::AnswerLate,
    ];
}

/// A progress report of a running operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with percent and description")]
#[schemars(rename = "Step")]
pub struct ProgressStep {
    /// Percentage of the operation's time that has passed, reported as `lastOperation.progress`: 2 to 99.
    #[schemars(range(min = 2, max = 99))]
    pub percent: u8,
    /// Text of `lastOperation.description`.
    #[schemars(length(max = LONGEST_TEXT))]
    pub description: String,
}

/// A health condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with type, status and reason")]
pub struct Condition {
    /// Gardener reads `EveryNodeReady`, `ControlPlaneHealthy`, `SystemComponentsHealthy` and
    /// `ObservabilityComponentsHealthy`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9]*$"), length(max = LONGEST_TYPE))]
    pub type_: String,
    /// Status of the condition.
    #[serde(deserialize_with = "condition_status")]
    pub status: ConditionStatus,
    /// Reason: one word of letters and digits.
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9]*$"), length(max = LONGEST_REASON))]
    pub reason: String,
    /// Message for people.
    #[serde(default)]
    #[schemars(length(max = LONGEST_TEXT))]
    pub message: String,
    /// Error codes for Gardener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<ErrorCode>,
    /// Delay after the start of the attempt.
    #[serde(default)]
    pub after: Delay,
}

/// Status of a condition as Gardener knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// Healthy.
    True,
    /// Not healthy.
    False,
    /// Not known.
    Unknown,
    /// Not healthy yet.
    Progressing,
}

/// What a rule does, without its timing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The operation succeeds.
    Succeed,
    /// The operation fails.
    Fail {
        /// Text of `lastError`.
        message: String,
        /// Error codes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        codes: Vec<ErrorCode>,
        /// Names of the pools that fail; if empty, the whole operation fails.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pools: Vec<String>,
        /// Pause before the next attempt.
        retry_after: Span,
    },
    /// The operation does not end.
    Hang,
    /// The operation succeeds but breaks the contract.
    Misbehave(Fault),
}

impl Script {
    /// The JSON Schema of scripts.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl Rule {
    /// How long the operation takes. Returns `None` for a hang.
    #[must_use]
    pub fn after(&self) -> Option<&Delay> {
        let succeed = self.succeed.as_ref().map(|succeed| &succeed.after);
        let fail = || self.fail.as_ref().map(|fail| &fail.after);
        succeed.or_else(fail).or_else(|| self.misbehave.as_ref().map(|misbehave| &misbehave.after))
    }
}

impl Attempts {
    /// The range with its defaults.
    #[must_use]
    pub fn range(self) -> std::ops::RangeInclusive<u32> {
        self.from.unwrap_or(1)..=self.to.unwrap_or(u32::MAX)
    }
}

impl Operation {
    /// Whether an operation type of a status is this operation.
    #[must_use]
    pub fn is(self, operation: OperationType) -> bool {
        matches!(
            (self, operation),
            (Self::Create, OperationType::Create)
                | (Self::Reconcile, OperationType::Reconcile)
                | (Self::Delete, OperationType::Delete)
                | (Self::Migrate, OperationType::Migrate)
                | (Self::Restore, OperationType::Restore)
        )
    }
}

impl Action {
    /// Whether the operation ends in success.
    #[must_use]
    pub fn succeeds(&self) -> bool {
        matches!(self, Self::Succeed | Self::Misbehave(_))
    }
}

/// Accepts a condition's status also where its author forgot the quotes and YAML made a boolean of it.
fn condition_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ConditionStatus, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(true) => Ok(ConditionStatus::True),
        Value::Bool(false) => Ok(ConditionStatus::False),
        other => ConditionStatus::deserialize(other).map_err(D::Error::custom),
    }
}
