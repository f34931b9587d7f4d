//! The record of a scripted attempt: one entry of `status.conditions`. gardenlet does not read it.

use extension_contract::{ErrorCode, OperationType};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::language::{Action, Condition, ConditionStatus, Fault, ProgressStep};

/// Type of the condition that holds the record.
pub const MOCK_SCRIPT: &str = "MockScript";

/// The latest attempt, with everything that was drawn for it. Its JSON is the message of the condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// How far the attempt got.
    pub phase: Phase,
    /// The requested operation.
    pub operation: OperationType,
    /// The request that the attempt answers.
    #[serde(flatten)]
    pub request: RequestId,
    /// Counted from 1 until the operation succeeds.
    pub attempt: u32,
    /// Seed of all draws.
    pub seed: u64,
    /// The rule that fired; `None` if no rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Fired>,
    /// When the attempt started.
    pub start: Timestamp,
    /// When the attempt ends or, after a failure, when the next one starts; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Health conditions of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<TimedCondition>,
    /// Types of the health conditions that this attempt has written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// Types of health conditions of earlier attempts. They remain until this attempt has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<String>,
}

/// How far an attempt got. It is also the reason of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// In progress until it is due.
    Running,
    /// Failed. The next attempt starts when it is due.
    Failed,
    /// Ended with success, even if the object breaks the contract.
    // The name that earlier builds wrote.
    #[serde(alias = "Served")]
    Done,
}

/// What distinguishes a request of gardenlet from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestId {
    /// The timestamp annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Generation of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// Position in the script, counted from 1.
    pub number: usize,
    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the rule does.
    pub action: Action,
    /// Progress reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<ProgressStep>,
}

/// A health condition with its start time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedCondition {
    /// When it starts to hold.
    pub at: Timestamp,
    /// As in [`Condition`].
    #[serde(rename = "type")]
    pub type_: String,
    /// As in [`Condition`].
    pub status: ConditionStatus,
    /// As in [`Condition`].
    pub reason: String,
    /// As in [`Condition`].
    pub message: String,
    /// As in [`Condition`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<ErrorCode>,
}

impl TimedCondition {
    /// The condition, with a start time still to be set.
    pub(super) fn of(condition: &Condition) -> Self {
        let Condition { type_, status, reason, message, codes, after: _ } = condition.clone();
        Self { at: Timestamp::UNIX_EPOCH, type_, status, reason, message, codes }
    }
}

impl Record {
    /// Finds the record among the conditions of a status. Returns `None` if there is no readable one.
    #[must_use]
    pub fn find(conditions: &[Value]) -> Option<Self> {
        let condition = conditions.iter().find(|condition| is_of(condition, MOCK_SCRIPT))?;
        serde_json::from_str(condition.get("message")?.as_str()?).ok()
    }

    /// How the attempt breaks the contract.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.rule.as_ref()?.action {
            Action::Misbehave(fault) => Some(fault),
            _ => None,
        }
    }

    /// Names of the pools that fail in the attempt.
    #[must_use]
    pub fn failed_pools(&self) -> &[String] {
        match self.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Fail { pools, .. }) => pools,
            _ => &[],
        }
    }

    /// The message of a rule that lets the attempt fail.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.rule.as_ref()?.action {
            Action::Fail { message, .. } => Some(message),
            _ => None,
        }
    }

    /// Rule, attempt and seed for people, enough to replay the attempt.
    #[must_use]
    pub fn label(&self) -> String {
        let rule = match &self.rule {
            Some(Fired { number, name: Some(name), .. }) => format!("rule {number} ({name})"),
            Some(Fired { number, name: None, .. }) => format!("rule {number}"),
            None => "no rule".to_owned(),
        };
        format!("{rule}, attempt {}, seed {}", self.attempt, self.seed)
    }

    /// The record with all its times earlier.
    #[must_use]
    pub fn earlier(self, by: SignedDuration) -> Self {
        let earlier = |time: Timestamp| time.saturating_sub(by).unwrap_or(time);
        let conditions = self.conditions.into_iter();
        Self {
            start: earlier(self.start),
            due: self.due.map(earlier),
            conditions: conditions.map(|timed| TimedCondition { at: earlier(timed.at), ..timed }).collect(),
            ..self
        }
    }

    /// The health conditions that hold at `now`.
    pub fn holding(&self, now: Timestamp) -> impl Iterator<Item = &TimedCondition> {
        self.conditions.iter().filter(move |condition| condition.at <= now)
    }
}

/// Whether a condition has this type.
#[must_use]
pub fn is_of(condition: &Value, type_: &str) -> bool {
    condition.get("type").and_then(Value::as_str) == Some(type_)
}
