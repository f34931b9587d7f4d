//! The condition that says whether a provider has created what an object stands for.

use extension_contract::{OperationType, State};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::decide::plan::Report;
use crate::script::conditions::entry;
use crate::script::record::is_of;

/// `status.conditions` with the condition `created`, as an operation that ends with `report` leaves it. Returns `None` if
/// nothing changes (`extensions/pkg/controller/dnsrecord/reconciler.go`).
#[must_use]
pub(super) fn with_created(
    existing: &[Value],
    created: &str,
    operation: OperationType,
    report: &Report,
    now: Timestamp,
) -> Option<Vec<Value>> {
    let before = existing.iter().find(|condition| is_of(condition, created));
    let status = match report.state {
        State::Succeeded => "True",
        State::Error if before.is_none() => "False",
        _ => return None,
    };
    let is_there = before.and_then(|before| before.get("status")).and_then(Value::as_str) == Some(status);
    if is_there || matches!(operation, OperationType::Delete | OperationType::Migrate) {
        return None;
    }
    let (reason, message) = match &report.error {
        None => ("Succeeded", "it would exist now, if there was a cloud"),
        Some(error) => ("Failed", error.description.as_str()),
    };
    let others = existing.iter().filter(|condition| !is_of(condition, created)).cloned();
    Some(others.chain([entry(existing, created, &json!(status), reason, message, now)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalid::Invalid;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(existing: &[Value], operation: OperationType, report: &Report) -> Option<String> {
        let conditions = with_created(existing, "Created", operation, report, NOW)?;
        let text = |condition: &Value, field: &str| condition[field].as_str().unwrap().to_owned();
        Some(conditions.iter().map(|one| text(one, "type") + "=" + &text(one, "status")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_success_says_true_and_a_failure_says_false_only_if_nothing_was_said() {
        let (create, delete) = (OperationType::Create, OperationType::Delete);
        let invalid = Invalid { field: "f".to_owned(), problem: "p".to_owned() };
        let failed = Report::refused(create, &invalid);
        let [succeeded, processing] = [State::Succeeded, State::Processing].map(Report::plain);
        let theirs = json!({ "type": "Theirs", "status": "False" });
        let said = |status: &str| json!({ "type": "Created", "status": status });
        for (situation, existing, operation, report, expected) in [
            ("a first success", vec![theirs.clone()], create, &succeeded, Some("Theirs=False Created=True")),
            ("a first failure", vec![theirs.clone()], create, &failed, Some("Theirs=False Created=False")),
            (
                "a success after a failure",
                vec![said("False"), theirs],
                create,
                &succeeded,
                Some("Theirs=False Created=True"),
            ),
            ("another success", vec![said("True")], create, &succeeded, None),
            ("a failure after a success", vec![said("True")], create, &failed, None),
            ("another failure", vec![said("False")], create, &failed, None),
            ("in progress", vec![], create, &processing, None),
            ("a failed deletion", vec![], delete, &failed, None),
            ("a migration", vec![], OperationType::Migrate, &succeeded, None),
        ] {
            assert_eq!(after(&existing, operation, report).as_deref(), expected, "{situation}");
        }
    }
}
