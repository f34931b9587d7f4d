//! Scripts, and what a status records of them.

use extension_contract::json::set;
use extension_contract::{ErrorCode, OperationType};
use mock_core::script::{Fault, MOCK_API_VERSION};
use serde_json::{Value, json};

use crate::dice::Dice;

const PHASES: &[&str] = &["Running", "Failed", "Done"];
const OPERATIONS: &[OperationType] = &[
    OperationType::Create,
    OperationType::Reconcile,
    OperationType::Delete,
    OperationType::Migrate,
    OperationType::Restore,
];

/// A script, correct more often than not.
pub(crate) fn script(dice: &mut Dice<'_>) -> Value {
    let count = dice.below(4);
    let rules: Value = (0..count).map(|_| rule(dice)).collect();
    let mut script = json!({ "apiVersion": MOCK_API_VERSION, "kind": "Script", "rules": rules });
    if dice.one_in(4) {
        // The schemas of the CRDs say that a providerConfig is an object.
        script
            .as_object_mut()
            .into_iter()
            .flat_map(|fields| fields.values_mut())
            .for_each(|field| dice.spoil(field, 1));
        set(&mut script, "apiVersion", MOCK_API_VERSION);
    }
    script
}

fn rule(dice: &mut Dice<'_>) -> Value {
    let (after, retry) = (delay(dice), delay(dice));
    let action = match dice.below(5) {
        0 => json!({ "succeed": { "after": after } }),
        1 => json!({ "fail": { "message": "m", "after": after, "retryAfter": retry, "codes": codes(dice) } }),
        2 => json!({ "fail": { "message": "m", "pools": ["*"] } }),
        3 => json!({ "hang": {} }),
        _ => json!({ "misbehave": { "fault": fault(dice), "after": after } }),
    };
    let mut rule = action;
    if let Some(rule) = rule.as_object_mut() {
        if dice.one_in(2) {
            rule.insert("match".to_owned(), json!({ "attempts": { "to": 2 }, "percent": 50 }));
        }
        if dice.one_in(2) {
            let percent = dice.pick(&[2, 50, 99]).copied();
            rule.insert("progress".to_owned(), json!([{ "percent": percent, "description": "d" }]));
        }
        if dice.one_in(2) {
            let condition = json!({ "type": "EveryNodeReady", "status": "False", "reason": "R", "after": delay(dice) });
            rule.insert("conditions".to_owned(), json!([condition]));
        }
    }
    rule
}

fn delay(dice: &mut Dice<'_>) -> Value {
    let choices = [
        json!("0s"),
        json!("3s"),
        json!("8760h"),
        json!({ "uniform": { "from": "1s", "to": "9s" } }),
        json!({ "triangular": { "from": "0s", "peak": "0s", "to": "8760h" } }),
        json!({ "longTailed": { "p50": "1ns", "p99": "8760h" } }),
    ];
    dice.pick(&choices).cloned().unwrap_or_default()
}

fn codes(dice: &mut Dice<'_>) -> Vec<ErrorCode> {
    let count = dice.below(3);
    (0..count).filter_map(|_| dice.pick(&ErrorCode::ALL).copied()).collect()
}

fn fault(dice: &mut Dice<'_>) -> Option<Fault> {
    dice.pick(&Fault::ALL).copied()
}

/// The record of an attempt as a status has it, sometimes one that no controller writes.
pub(crate) fn record(dice: &mut Dice<'_>) -> String {
    const TIMES: &[&str] =
        &["2026-08-20T10:15:30Z", "2026-08-20T10:15:31.7Z", "9999-12-30T21:59:59Z", "-009999-01-02T01:59:59Z"];
    let action = match dice.below(4) {
        0 => json!("succeed"),
        1 => json!({ "fail": { "message": "m", "pools": ["a"], "retryAfter": "8760h", "retry_after": "8760h" } }),
        2 => json!("hang"),
        _ => json!({ "misbehave": fault(dice) }),
    };
    let condition = json!({ "at": dice.pick_text(TIMES), "type": dice.text(), "status": "False", "reason": dice.text(),
        "message": dice.text() });
    let mut record = json!({
        "phase": dice.pick_text(PHASES),
        "operation": dice.pick(OPERATIONS),
        "timestamp": "2026-08-20T10:15:30Z",
        "generation": dice.pick(&[1, 2]),
        "attempt": dice.pick(&[1, u32::MAX]),
        "seed": dice.pick(&[0, u64::MAX]),
        "rule": { "number": 1, "action": action, "progress": [{ "percent": 50, "description": "d" }] },
        "start": dice.pick_text(TIMES),
        "due": dice.pick_text(TIMES),
        "conditions": [condition],
        "published": [dice.text()],
        "inherited": [dice.text()],
    });
    if dice.one_in(3) {
        dice.spoil(&mut record, 1);
    }
    record.to_string()
}
