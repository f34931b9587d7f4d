//! What a user may script: delays, failures and faults, as data with its validation. Nothing here decides anything.

use k8s_openapi::jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{ErrorCode, OperationType};
use crate::extension::Invalid;

mod delay;
mod draw;
mod foresee;
mod record;
mod source;
mod turn;
mod validate;

pub use delay::{Delay, Distribution, Span};
pub use draw::{Choice, Draws, Subject, choose, drawn_seed};
pub use foresee::{Foreseen, MOST_ATTEMPTS, foresee};
pub use record::{Due, Fired, MOCK_SCRIPT, Phase, Record, Request, conditions};
pub use source::{File, Parsed, strongest};
pub(crate) use source::{of_annotation, ours};
pub use turn::{Act, Scripting, Start};

/// A script. The first rule that matches decides how an attempt at an operation goes; if none does, it succeeds at
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map with apiVersion, kind and rules")]
pub struct Script {
    /// Group and version.
    pub api_version: ApiVersion,
    /// Of this document.
    pub kind: Kind,
    /// All chance follows from it: the same seed gives the same run. One is drawn, and shown, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The strongest first.
    pub rules: Vec<Rule>,
}

/// Group and version of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one.
    #[serde(rename = "mock.extensions.gardener.cloud/v1alpha1")]
    V1alpha1,
}

/// Kind of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The only one.
    Script,
}

/// What happens when. Of `succeed`, `fail`, `hang` and `misbehave` a rule has exactly one.
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
    /// For people: shown wherever the rule is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which attempts it is for. Everything that is said has to hold; without a word it is for all.
    #[serde(rename = "match")]
    pub matches: Match,
    /// The operation succeeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeed: Option<Succeed>,
    /// The operation fails and is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Fail>,
    /// The operation never ends by itself; a new request, a migration or a deletion ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang: Option<Hang>,
    /// The operation succeeds, but breaks the extension contract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misbehave: Option<Misbehave>,
    /// What `lastOperation` says on the way; at most 20 steps, of which those are made that are a second apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = validate::MOST_STEPS))]
    pub progress: Vec<Step>,
    /// Health conditions, which Gardener's care controllers read. They stand until a later operation of the object
    /// ends under a rule without them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Which attempts a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "a map of what has to hold, such as kinds")]
pub struct Match {
    /// Kinds of extension objects, spelled as in `kind`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub kinds: Vec<String>,
    /// What is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
    /// Technical IDs of shoots, such as `shoot--dev--*`; `*` stands for any text and `?` for any character.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub shoots: Vec<String>,
    /// Names of objects; `*` and `?` as in `shoots`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub names: Vec<String>,
    /// Purposes of objects, where their kind has some: `provision` or `reconcile`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub purposes: Vec<String>,
    /// Which attempts, counted from 1 until the operation succeeds, over new requests as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
    /// Of all attempts that match so far, how many in a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100), extend("exclusiveMinimum" = 0))]
    pub percent: Option<f64>,
}

/// A range of attempts, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a range such as {from: 1, to: 2}")]
pub struct Attempts {
    /// The first one; 1 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub from: Option<u32>,
    /// The last one; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub to: Option<u32>,
}

/// What may be asked of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operation {
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
}

/// Success.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "a map, if empty as {}")]
pub struct Succeed {
    /// How long it takes.
    pub after: Delay,
}

/// Failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a map with message")]
pub struct Fail {
    /// What `lastError` says.
    #[schemars(length(min = 1))]
    pub message: String,
    /// What kind of error it is for Gardener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<ErrorCode>,
    /// How long it takes.
    #[serde(default)]
    pub after: Delay,
    /// How long it rests before the next attempt; without it 5 s, and twice as long each time, up to 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Delay>,
    /// Worker pools by name, `*` and `?` as in `match.shoots`: these fail, and the others are reported as usual. The
    /// rule is then only for objects that have one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub pools: Vec<String>,
}

/// No end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "an empty map, {}")]
pub struct Hang {}

/// A breach of the extension contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with fault")]
pub struct Misbehave {
    /// Which one.
    pub fault: Fault,
    /// How long the operation takes.
    #[serde(default)]
    pub after: Delay,
}

/// Ways to break the extension contract, to see how robust Gardener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fault {
    /// Succeeds with an `observedGeneration` of before.
    OldObservedGeneration,
    /// Leaves a `lastError` beside Succeeded.
    StaleLastError,
    /// Never takes the operation annotation off.
    KeepOperation,
    /// Takes the timestamp annotation off, which is gardenlet's.
    StripTimestamp,
    /// Reports its machines with the same time as before, where the kind reports such a time.
    RepeatTime,
    /// Never takes its finalizer off.
    KeepFinalizer,
    /// Succeeds only when gardenlet no longer waits.
    AnswerLate,
}

impl Fault {
    /// All of them.
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

/// A report on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with percent and description")]
pub struct Step {
    /// How much of the time has gone when it is made, and what it says in `lastOperation.progress`: 2 to 99.
    #[schemars(range(min = 2, max = 99))]
    pub percent: u8,
    /// What it says in `lastOperation.description`.
    pub description: String,
}

/// A health condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a map with type, status and reason")]
pub struct Condition {
    /// Gardener reads `EveryNodeReady`, `ControlPlaneHealthy`, `SystemComponentsHealthy` and
    /// `ObservabilityComponentsHealthy`.
    #[serde(rename = "type")]
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9]*$"))]
    pub type_: String,
    /// Its value.
    #[serde(deserialize_with = "validate::status")]
    pub status: ConditionStatus,
    /// Why, in one word of letters and digits.
    #[schemars(regex(pattern = "^[A-Za-z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// What kind of error it is for Gardener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<ErrorCode>,
    /// From when, counted from the begin of the attempt.
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
    /// Nobody knows.
    Unknown,
    /// Not healthy for now.
    Progressing,
}

/// What a rule does, without when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// The operation succeeds.
    Succeed,
    /// The operation fails.
    Fail {
        /// What `lastError` says.
        message: String,
        /// Its codes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        codes: Vec<ErrorCode>,
        /// Names of the pools that fail; none means that everything does.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pools: Vec<String>,
        /// How long it rests before the next attempt.
        retry_after: Span,
    },
    /// The operation never ends.
    Hang,
    /// The operation succeeds and breaks the contract.
    Misbehave(Fault),
}

impl Script {
    /// Reads a script from YAML or JSON. The error names the rule, the field and what was expected.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // `no`, `off` and `n` are words.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Invalid { field: "script".to_owned(), problem: validate::not_yaml(&error) })?;
        Self::from_value(&value)
    }

    /// Reads a script from a document. The error names the rule, the field and what was expected.
    pub fn from_value(value: &Value) -> Result<Self, Invalid> {
        validate::read(value)
    }

    /// The JSON Schema of scripts.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl Rule {
    /// How long the operation takes; nothing for a hang, which has no end.
    #[must_use]
    pub fn after(&self) -> Option<&Delay> {
        let succeed = self.succeed.as_ref().map(|succeed| &succeed.after);
        let fail = || self.fail.as_ref().map(|fail| &fail.after);
        succeed.or_else(fail).or_else(|| self.misbehave.as_ref().map(|misbehave| &misbehave.after))
    }
}

impl Attempts {
    /// The range in numbers.
    #[must_use]
    pub fn range(self) -> std::ops::RangeInclusive<u32> {
        self.from.unwrap_or(1)..=self.to.unwrap_or(u32::MAX)
    }
}

impl Operation {
    /// Whether an operation of a status is this one.
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

/// How long an object rests after its nth failure in a row: 5 s, and twice as long each time, up to 5 minutes.
#[must_use]
pub fn backoff(attempt: u32) -> SignedDuration {
    let seconds = 5_i64.saturating_mul(2_i64.saturating_pow(attempt.saturating_sub(1)));
    SignedDuration::from_secs(seconds.min(300))
}

#[cfg(test)]
mod tests;
