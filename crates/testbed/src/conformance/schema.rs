//! What we write, held against what the API server knows: the CRD's schema, and the requests that were really made.

use std::collections::BTreeSet;

use clap::Parser;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::jiff::Timestamp;
use libtest_mimic::Failed;
use mock_core::args::Args;
use mock_core::behaviour::{Record, conditions};
use mock_core::contract::{ErrorCode, OperationType, State};
use mock_core::extension::{Extension, Input};
use mock_core::patch::{Problem, Report, status};
use serde_json::{Map, Value, json};

use super::ensure;
use super::suite::Suite;

/// Every path of every status that the kind writes is in the CRD, with that type.
pub(super) fn written_paths_exist<K: Extension>(object: &Value, schema: &Value) -> Result<(), Failed> {
    let object: K = serde_json::from_value(object.clone())?;
    let options = Args::<K::Options>::try_parse_from(["mock"])?.kind;
    let (time, technical_id, shoot) = (Timestamp::now(), "shoot--t--a", &K::Shoot::default());
    let input = Input { options: &options, time, technical_id, repeat_time: false, failed_pools: &[], shoot };
    let problem = Problem { description: "d".to_owned(), codes: vec![ErrorCode::ConfigurationProblem] };
    let outcome = object.outcome(&input).map_err(|invalid| invalid.to_string())?;
    for (state, error, fields) in [
        (State::Succeeded, None, outcome.status),
        (State::Succeeded, None, object.migrated()),
        (State::Error, Some(problem), scripted_conditions(time)?),
    ] {
        let description = "d".to_owned();
        let report = Report { description, error, ..Report::new(OperationType::Create, state, time) };
        let written = status(object.meta(), &report, fields);
        walk("status", written.get("status").unwrap_or(&Value::Null), schema)?;
    }
    Ok(())
}

/// The conditions of a script that reports health.
fn scripted_conditions(now: Timestamp) -> Result<Map<String, Value>, Failed> {
    let condition = json!({ "at": now, "type": "EveryNodeReady", "status": "False", "reason": "R", "message": "m",
        "codes": ["ERR_CONFIGURATION_PROBLEM"] });
    let record = json!({ "phase": "Failed", "operation": "Create", "timestamp": "t", "generation": 1, "attempt": 1,
        "seed": 1, "start": now, "due": now, "conditions": [condition] });
    let record: Record = serde_json::from_value(record)?;
    let conditions = conditions(&[], Some(record), now).ok_or("there are no conditions")?;
    Ok(Map::from_iter([("conditions".to_owned(), Value::Array(conditions))]))
}

fn walk(path: &str, value: &Value, schema: &Value) -> Result<(), Failed> {
    let expected = schema.get("type").and_then(Value::as_str).unwrap_or("object");
    let fits = match value {
        // Null removes.
        Value::Null => true,
        Value::Bool(_) => expected == "boolean",
        Value::Number(_) => matches!(expected, "integer" | "number"),
        Value::String(_) => expected == "string",
        Value::Array(_) => expected == "array",
        Value::Object(_) => expected == "object",
    };
    ensure(fits, format!("{path} is written as {value}, the CRD wants {expected}"))?;
    match value {
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            items.iter().try_for_each(|item| walk(&format!("{path}[]"), item, schema))
        }
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            let known = schema.get("properties").and_then(|known| known.get(name));
            match known.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object())) {
                Some(schema) => walk(&format!("{path}.{name}"), value, schema),
                None => ensure(open, format!("{path}.{name} is not in the CRD: the API server drops it")),
            }
        }),
        _ => Ok(()),
    }
}

/// Everything that the controller may do. A Role would allow the Leases in one namespace alone.
pub(super) fn rules<K: Extension>(name: &str) -> Vec<PolicyRule> {
    [mock_core::rbac::rules::<K>(), mock_core::rbac::lease_rules(name)].concat()
}

/// Resource, verb, and the object's name if the rule names one.
type Permission = (String, String, Option<String>);

/// The rules allow what was requested (or the rules above would have failed) and nothing else.
pub(super) fn rbac<K: Extension>(suite: &Suite) -> Result<(), Failed> {
    let allowed: BTreeSet<Permission> = rules::<K>(&suite.name).iter().flat_map(permissions).collect();
    let is_named =
        |resource: &str, verb: &str| allowed.iter().any(|(r, v, name)| r == resource && v == verb && name.is_some());
    let audit = suite.bed.audit().ok_or("there is no audit log")?;
    let ours = audit.requests(|request| request.user == suite.user && request.code < 400)?;
    let mut made: BTreeSet<Permission> = BTreeSet::new();
    for request in ours.into_iter().filter(|request| !request.resource.is_empty()) {
        let resource = if request.subresource.is_empty() {
            request.resource
        } else {
            format!("{}/{}", request.resource, request.subresource)
        };
        // A request is logged when it ends, and a watch is still open: the list before it stands for it.
        if request.verb == "list" {
            made.insert((resource.clone(), "watch".to_owned(), None));
        }
        // An apply that makes an object is logged as patch, and authorized as create as well.
        if request.verb == "patch" && request.code == 201 {
            made.insert((resource.clone(), "create".to_owned(), None));
        }
        let name = is_named(&resource, &request.verb).then_some(request.name);
        made.insert((resource, request.verb, name));
    }
    let idle: Vec<_> = allowed.difference(&made).collect();
    let beyond: Vec<_> = made.difference(&allowed).collect();
    ensure(idle.is_empty(), format!("allowed, but never requested: {idle:?}"))?;
    ensure(beyond.is_empty(), format!("requested, but not allowed: {beyond:?}"))
}

fn permissions(rule: &PolicyRule) -> Vec<Permission> {
    let names = match &rule.resource_names {
        Some(names) => names.iter().cloned().map(Some).collect(),
        None => vec![None],
    };
    let mut permissions = Vec::new();
    for resource in rule.resources.iter().flatten() {
        for verb in &rule.verbs {
            permissions.extend(names.iter().map(|name| (resource.clone(), verb.clone(), name.clone())));
        }
    }
    permissions
}
