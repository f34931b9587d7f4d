//! What scripts write into `status.conditions`: health conditions and the record. Conditions of other writers are kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{MOCK_SCRIPT, Phase, Record, TimedCondition, is_of};

/// `status.conditions` with the record and its health conditions. Returns `None` if nothing changes.
///
/// Health conditions of an earlier attempt remain until this attempt has ended. Without a record, those and the old
/// record are removed.
#[must_use]
pub fn with_record(existing: &[Value], record: Option<Record>, now: Timestamp) -> Option<Vec<Value>> {
    if record.is_none() && !existing.iter().any(|condition| is_of(condition, MOCK_SCRIPT)) {
        return None;
    }
    let known = record.clone().or_else(|| Record::find(existing));
    let (mut published, mut inherited) = known.map(|record| (record.published, record.inherited)).unwrap_or_default();
    let ended = record.as_ref().is_none_or(|record| record.phase != Phase::Running);
    let holding: Vec<TimedCondition> = record.iter().flat_map(|record| record.holding(now)).cloned().collect();
    let replaced = |type_: &str| holding.iter().any(|condition| condition.type_ == type_);
    let withdrawn =
        |type_: &str| replaced(type_) || (ended && published.iter().chain(&inherited).any(|there| there == type_));
    let kept = |condition: &&Value| {
        let type_ = condition.get("type").and_then(Value::as_str).unwrap_or_default();
        type_ != MOCK_SCRIPT && !withdrawn(type_)
    };
    let mut list: Vec<Value> = existing.iter().filter(kept).cloned().collect();
    list.extend(holding.iter().map(|condition| {
        let TimedCondition { type_, status, reason, message, codes, at: _ } = condition;
        let mut entry = entry(existing, type_, &json!(status), reason, message, now);
        if !codes.is_empty()
            && let Some(entry) = entry.as_object_mut()
        {
            entry.insert("codes".to_owned(), json!(codes));
        }
        entry
    }));
    if ended {
        published.clear();
        inherited.clear();
    }
    published.extend(holding.into_iter().map(|condition| condition.type_));
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

/// A condition. It keeps the time of its last transition if the status is the same as before.
pub(crate) fn entry(
    existing: &[Value],
    type_: &str,
    status: &Value,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Value {
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
