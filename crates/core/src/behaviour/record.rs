//! The bookkeeping of scripts: one entry of `status.conditions`, which gardenlet does not read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Condition, ConditionStatus, Fault, Step};
use crate::contract::{ErrorCode, OperationType, TIMESTAMP_ANNOTATION};
use crate::decide::annotation;

/// Type of the condition that holds the record.
pub const MOCK_SCRIPT: &str = "MockScript";

/// What is known of the attempt that was begun last, drawn once and for all; the message of the condition, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// How far it got.
    pub phase: Phase,
    /// What was asked for.
    pub operation: OperationType,
    /// When, and for which spec.
    #[serde(flatten)]
    pub request: Request,
    /// Counted from 1 until the operation succeeds.
    pub attempt: u32,
    /// Of all chance.
    pub seed: u64,
    /// The rule that fired; none if no rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Fired>,
    /// When the attempt began.
    pub start: Timestamp,
    /// When it ends, or after a failure when the next one begins; absent if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Health conditions of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Due>,
    /// Types of the health conditions that this attempt has put into the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// Types of those that earlier ones have put there; they stand until this attempt has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<String>,
}

/// How far an attempt got; the reason of the condition as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Under way until it is due.
    Running,
    /// It failed, and the next one begins when it is due.
    Failed,
    /// The request is served, whatever the object looks like.
    Served,
}

/// A request of gardenlet's: what makes it another than the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The timestamp annotation as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// Of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// A rule that fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fired {
    /// Counted from 1.
    pub number: usize,
    /// What its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does.
    pub action: Action,
    /// Reports on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub progress: Vec<Step>,
}

/// A health condition with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// From when.
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

impl Due {
    /// The condition without its time.
    pub(super) fn of(condition: &Condition) -> Self {
        let Condition { type_, status, reason, message, codes, after: _ } = condition.clone();
        Self { at: Timestamp::UNIX_EPOCH, type_, status, reason, message, codes }
    }
}

impl Request {
    /// The request that an object stands for now.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self { timestamp: annotation(meta, TIMESTAMP_ANNOTATION).map(str::to_owned), generation: meta.generation }
    }
}

impl Record {
    /// The record among the conditions of a status; none if there is none that can be read.
    #[must_use]
    pub fn find(conditions: &[Value]) -> Option<Self> {
        let condition = conditions.iter().find(|condition| is_of(condition, MOCK_SCRIPT))?;
        serde_json::from_str(condition.get("message")?.as_str()?).ok()
    }

    /// What the attempt does to the contract.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self.rule.as_ref()?.action {
            Action::Misbehave(fault) => Some(fault),
            _ => None,
        }
    }

    /// Names of the pools that the attempt makes fail.
    #[must_use]
    pub fn failed_pools(&self) -> &[String] {
        match self.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Fail { pools, .. }) => pools,
            _ => &[],
        }
    }

    /// Whether the attempt is at the very request that the object stands for now; `asked` if it is annotated with one.
    #[must_use]
    pub fn is_at(&self, meta: &ObjectMeta, asked: bool) -> bool {
        let now = Request::of(meta);
        // gardenlet deletes a ControlPlane right after it asked for its migration, with a timestamp and a generation
        // of its own (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`): that asks for nothing more.
        if self.operation == OperationType::Migrate && meta.deletion_timestamp.is_some() {
            return true;
        }
        // The fault itself has taken the timestamp away.
        let asked_again = asked
            && self.phase == Phase::Served
            && matches!(self.operation, OperationType::Create | OperationType::Reconcile);
        if self.fault() == Some(Fault::StripTimestamp) && now.timestamp.is_none() && !asked_again {
            return now.generation == self.request.generation;
        }
        if self.phase == Phase::Served {
            // Nothing tells an annotation that came later from the one that was served.
            let ambiguous = now.timestamp.is_none() && asked;
            let is_request = self.operation != OperationType::Delete && self.fault() != Some(Fault::KeepOperation);
            if ambiguous && is_request {
                return false;
            }
        }
        now == self.request
    }

    /// For people: the rule, the attempt and the seed that replay it.
    #[must_use]
    pub fn label(&self) -> String {
        let rule = match &self.rule {
            Some(Fired { number, name: Some(name), .. }) => format!("rule {number} ({name})"),
            Some(Fired { number, name: None, .. }) => format!("rule {number}"),
            None => "no rule".to_owned(),
        };
        format!("{rule}, attempt {}, seed {}", self.attempt, self.seed)
    }

    /// The health conditions that stand at `now`.
    pub(crate) fn standing(&self, now: Timestamp) -> impl Iterator<Item = &Due> {
        self.conditions.iter().filter(move |condition| condition.at <= now)
    }
}

/// `status.conditions` with the record and its health conditions; none if there is nothing to change. Those of others
/// stay as they are, those of an earlier attempt stay until this one has ended.
#[must_use]
pub fn conditions(existing: &[Value], record: Option<Record>, now: Timestamp) -> Option<Vec<Value>> {
    if record.is_none() && !existing.iter().any(|condition| is_of(condition, MOCK_SCRIPT)) {
        return None;
    }
    let known = record.clone().or_else(|| Record::find(existing));
    let (mut published, mut inherited) = known.map(|record| (record.published, record.inherited)).unwrap_or_default();
    let ended = record.as_ref().is_none_or(|record| record.phase != Phase::Running);
    let standing: Vec<Due> = record.iter().flat_map(|record| record.standing(now)).cloned().collect();
    let replaced = |type_: &str| standing.iter().any(|due| due.type_ == type_);
    let withdrawn =
        |type_: &str| replaced(type_) || (ended && published.iter().chain(&inherited).any(|there| there == type_));
    let kept = |condition: &&Value| {
        let type_ = condition.get("type").and_then(Value::as_str).unwrap_or_default();
        type_ != MOCK_SCRIPT && !withdrawn(type_)
    };
    let mut list: Vec<Value> = existing.iter().filter(kept).cloned().collect();
    list.extend(standing.iter().map(|due| {
        let mut condition = entry(existing, &due.type_, &json!(due.status), &due.reason, &due.message, now);
        if !due.codes.is_empty()
            && let Some(condition) = condition.as_object_mut()
        {
            condition.insert("codes".to_owned(), json!(due.codes));
        }
        condition
    }));
    if ended {
        published.clear();
        inherited.clear();
    }
    published.extend(standing.into_iter().map(|due| due.type_));
    published.sort();
    published.dedup();
    if let Some(record) = record {
        let record = Record { published, inherited, ..record };
        let message = serde_json::to_string(&record).unwrap_or_default();
        let reason = format!("{:?}", record.phase);
        list.push(entry(existing, MOCK_SCRIPT, &json!("True"), &reason, &message, now));
    }
    Some(list)
}

fn entry(existing: &[Value], type_: &str, status: &Value, reason: &str, message: &str, now: Timestamp) -> Value {
    let before = existing.iter().find(|condition| is_of(condition, type_));
    let since = before.filter(|before| before.get("status") == Some(status));
    let since = since.and_then(|before| before.get("lastTransitionTime")).cloned();
    json!({
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| json!(Time(now))),
        "lastUpdateTime": Time(now),
    })
}

fn is_of(condition: &Value, type_: &str) -> bool {
    condition.get("type").and_then(Value::as_str) == Some(type_)
}
