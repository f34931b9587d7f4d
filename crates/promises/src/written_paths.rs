//! Compares every status that a kind writes with the schema of its CRD.

use clap::Parser;
use extension_conformance::ensure;
use extension_contract::json::without_nulls;
use extension_contract::{ErrorCode, OperationType, State};
use gardener_testbed::schema::violations;
use k8s_openapi::jiff::Timestamp;
use libtest_mimic::Failed;
use mock_core::decide::plan::{Bookkeeping, Fields, LastError, Plan, Report, Write};
use mock_core::kind::{Input, MockKind, Object, Outcome};
use mock_core::process::args::Args;
use mock_core::write::compose::{Target, compose};
use mock_core::write::patch::Request;
use serde_json::{Value, json};

/// Fails unless every path of every status that the kind writes is in the CRD, with its type.
pub(crate) fn written_paths_exist<K: MockKind>(object: &Value, schema: &Value) -> Result<(), Failed> {
    let object: Object<K> = serde_json::from_value(object.clone())?;
    let options = Args::<K::Options>::try_parse_from(["mock"])?.kind;
    let (time, technical_id, shoot) = (Timestamp::now(), "shoot--t--a", &K::Shoot::default());
    let input =
        Input { options: &options, time, technical_id, repeat_time: false, failed_pools: &[], shoot, secret: None };
    let outcome = K::outcome(&object, &input).map_err(|invalid| invalid.to_string())?;
    let migrated = Outcome { status: K::migrated(), ..Outcome::default() };
    let target = Target::of(&object);
    for (operation, report, outcome) in [
        (OperationType::Create, Report::plain(State::Succeeded), outcome),
        (OperationType::Migrate, Report::plain(State::Succeeded), migrated),
        (OperationType::Create, scripted_failure(time)?, Outcome::default()),
    ] {
        let plan = Plan { operation, writes: vec![Write::Status(Box::new(report))] };
        for request in compose(&plan, &target, Ok(outcome), time).requests {
            if let Request::Status(fields) = request {
                // Null removes.
                let found = violations("status", &without_nulls(Value::Object(fields)), schema);
                ensure(found.is_empty(), found.join("\n"))?;
            }
        }
    }
    Ok(())
}

/// A failure with an error code, under a script that reports health.
fn scripted_failure(now: Timestamp) -> Result<Report, Failed> {
    let condition = json!({ "at": now, "type": "EveryNodeReady", "status": "False", "reason": "R", "message": "m",
        "codes": ["ERR_CONFIGURATION_PROBLEM"] });
    let record = json!({ "phase": "Failed", "operation": "Create", "timestamp": "t", "generation": 1, "attempt": 1,
        "seed": 1, "start": now, "due": now, "conditions": [condition] });
    let record = Box::new(serde_json::from_value(record)?);
    let error = LastError { description: "d".to_owned(), codes: vec![ErrorCode::ConfigurationProblem] };
    let bookkeeping = Bookkeeping::Put { record, is_first: true };
    Ok(Report { error: Some(error), bookkeeping, outcome: Fields::None, ..Report::plain(State::Error) })
}
