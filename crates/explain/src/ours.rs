//! What one of our own controllers does next with an object: its own decision, asked without carrying it out.

use extension_contract::kinds::{Class, Kind};
use extension_contract::{OperationType, State, Status};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mock_core::decide::attempt::Scripting;
use mock_core::decide::{ClusterView, ObjectView, Plan, Reason, Served, ShootFacts, Step, Write, decide};
use mock_core::kind::Base;
use mock_core::script::record::{Phase, Record, is_of};
use mock_core::script::source::strongest;
use mock_core::script::{Action, MOCK_SCRIPT, Subject, drawn_seed};
use mock_core::watch::clusters::facts_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::seed::{ClusterOf, Found};
use crate::words;

/// What our controller of one kind serves.
#[derive(Clone, Debug)]
pub struct Ours {
    /// The kind.
    pub kind: &'static Kind,
    /// Values of `spec.type`.
    pub types: Vec<String>,
    /// Our finalizer.
    pub finalizer: &'static str,
}

/// What our controller does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// When. `None` if only a change of the object or its Cluster leads to anything.
    pub at: Option<Timestamp>,
    /// What it does, or why nothing.
    pub what: String,
}

impl Ours {
    /// Returns whether the object is ours: of a type that we serve, or with the record of a script.
    #[must_use]
    pub fn is_ours(&self, found: &Found) -> bool {
        let type_ = found.object.pointer("/spec/type").and_then(Value::as_str).unwrap_or_default();
        let conditions = found.object.pointer("/status/conditions").and_then(Value::as_array);
        let has_record = conditions.into_iter().flatten().any(|condition| is_of(condition, MOCK_SCRIPT));
        found.kind == self.kind && (self.types.iter().any(|served| served == type_) || has_record)
    }

    /// What our controller does next with an object, if it has no script file of its own. Returns `None` if the object
    /// cannot be decoded.
    #[must_use]
    pub fn next(&self, found: &Found, cluster: ClusterOf<'_>, now: Timestamp) -> Option<Next> {
        let meta = ObjectMeta::deserialize(found.object.get("metadata")?).ok()?;
        let base = Base::deserialize(found.object.get("spec")?).ok()?;
        let status = found.object.get("status").map(Status::deserialize).transpose().ok()?;
        let facts = match cluster {
            ClusterOf::Known(cluster) => facts_of(cluster).ok(),
            ClusterOf::Unneeded | ClusterOf::Missing => None,
        };
        let view = match (&facts, cluster) {
            (Some(facts), _) => ClusterView::Known(facts),
            (None, ClusterOf::Unneeded) => ClusterView::Unneeded,
            (None, _) => ClusterView::Missing,
        };
        let object = ObjectView { meta: &meta, base: &base, status: status.as_ref(), lead: SignedDuration::ZERO };
        let types = vec![base.provider.clone()];
        let served = Served { types: &types, classes: &Class::ALL, finalizer: self.finalizer, kind: self.kind };
        let scripting = scripting(found, &object, facts.as_ref());
        let record = scripting.record.clone();
        let step = decide(object, view, &served, &scripting, now);
        Some(describe(step, record.as_ref(), now))
    }
}

fn scripting<'a>(found: &'a Found, object: &ObjectView<'a>, facts: Option<&'a ShootFacts>) -> Scripting<'a> {
    let text = |pointer: &str| found.object.pointer(pointer).and_then(Value::as_str);
    let pools = found.object.pointer("/spec/pools").and_then(Value::as_array);
    let conditions = object.status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let uid = facts.map(|facts| facts.uid.as_str()).filter(|uid| !uid.is_empty()).or(object.meta.uid.as_deref());
    let technical_id = facts.map(|facts| facts.technical_id.as_str()).filter(|id| !id.is_empty());
    Scripting {
        script: strongest(facts.and_then(|facts| facts.script.as_ref()), object.base.script.as_ref(), None),
        subject: Subject {
            kind: found.kind.name,
            namespace: found.namespace(),
            name: found.name(),
            shoot: technical_id.or_else(|| found.shoot_namespace()).unwrap_or_default(),
            purpose: text("/spec/purpose"),
            pools: pools.into_iter().flatten().filter_map(|pool| pool.get("name")?.as_str()).collect(),
        },
        record: Record::find(conditions),
        drawn_seed: drawn_seed(uid.unwrap_or_default()),
        timeout: SignedDuration::try_from(found.kind.timeout).unwrap_or(SignedDuration::MAX),
    }
}

fn describe(step: Step, record: Option<&Record>, now: Timestamp) -> Next {
    match step {
        Step::Leave(reason) => Next { at: None, what: left(reason).to_owned() },
        Step::RetryAt(at) => Next { at: Some(at), what: record.map_or("it tries again".to_owned(), due) },
        Step::Write(plan) => Next { at: Some(now), what: written(&plan) },
    }
}

/// What is due in an attempt.
fn due(record: &Record) -> String {
    let operation = record.operation.as_str();
    let label = record.label();
    match (record.phase, record.rule.as_ref().map(|rule| &rule.action)) {
        (Phase::Failed, _) => format!("the next attempt at {operation} starts, after {label}"),
        (Phase::Running, Some(Action::Fail { message, .. })) => {
            format!("{operation} goes on, and fails with {message:?} in the end ({label})")
        }
        (Phase::Running, Some(Action::Misbehave(fault))) => {
            format!("{operation} goes on, and ends with the fault {fault:?} ({label})")
        }
        (Phase::Running, _) => format!("{operation} goes on, and succeeds in the end ({label})"),
        (Phase::Done, _) => format!("a health condition of the script changes ({label})"),
    }
}

fn left(reason: Reason) -> &'static str {
    match reason {
        Reason::Foreign => "nothing: the type or class is not ours",
        Reason::WaitsForState => "nothing until gardenlet has written the state and asks to restore",
        Reason::WaitsForCluster => "nothing until the Cluster exists",
        Reason::ShootFailed => "nothing while the Shoot is Failed",
        Reason::Migrated => "nothing: the object is handed over",
        Reason::Released => "nothing: our finalizer is gone",
        Reason::Done => "nothing until the next request",
        Reason::Hangs => "nothing: the script lets the operation hang until the next request",
    }
}

fn written(plan: &Plan) -> String {
    let mut states = plan.writes.iter().filter_map(|write| match write {
        Write::Status(report) => Some(report.state),
        Write::Conditions(_) | Write::Metadata(_) => None,
    });
    let last = states.next_back();
    let what = match (plan.operation, last) {
        (OperationType::Delete, None) => "removes our finalizer".to_owned(),
        (operation, None) => format!("changes the metadata for {}", operation.as_str()),
        (operation, Some(state)) => format!("writes {} {}", operation.as_str(), state_name(state)),
    };
    format!("it {what} as soon as it runs; if that does not happen, {}", words::NOT_RUNNING)
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Processing => "Processing",
        State::Succeeded => "Succeeded",
        State::Error => "Error",
        State::Failed => "Failed",
        State::Pending => "Pending",
        State::Aborted => "Aborted",
        State::Other => "another state",
    }
}
