//! Turns a plan, the kind's outcome and one point in time into requests. Pure: [`send`](crate::send) only sends what is
//! composed here.

use extension_contract::{OperationType, State, Status, update_time};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use super::created::with_created;
use super::patch::{MetadataPatch, Request, put_report};
use crate::decide::OPERATION_RETRY;
use crate::decide::plan::{Bookkeeping, Fields, Finalizer, Plan, Report, Write};
use crate::invalid::Invalid;
use crate::kind::{Leftover, MockKind, Object, Outcome};
use crate::script::conditions;
use crate::script::record::{Phase, Record};

/// The object that a plan is for, as far as requests depend on it.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The kind, for descriptions.
    pub kind: &'a str,
    /// Our finalizer.
    pub finalizer: &'a str,
    /// Metadata that the plan was decided on.
    pub meta: &'a ObjectMeta,
    /// Status that the plan was decided on.
    pub status: Option<&'a Status>,
    /// Fields of the outcome that are reported while an operation is under way.
    pub early: &'a [&'a str],
    /// The kind's condition that says whether a provider has created what the object stands for.
    pub created: Option<&'a str>,
    /// Secrets that are deleted before the object.
    pub leftovers: Vec<Leftover>,
}

impl<'a> Target<'a> {
    /// An object of a mocked kind.
    #[must_use]
    pub fn of<K: MockKind>(object: &'a Object<K>) -> Self {
        Self {
            kind: K::KIND.name,
            finalizer: K::FINALIZER,
            meta: &object.metadata,
            status: object.status.as_ref(),
            early: K::EARLY,
            created: K::KIND.created,
            leftovers: K::leftovers(&object.metadata),
        }
    }
}

/// Requests, and what to report once they have succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composed {
    /// The requests in their order.
    pub requests: Vec<Request>,
    /// How the operation ended; `None` while it is in progress.
    pub ended: Option<State>,
    /// Whether the writes answer a request that is new, so that its duration counts.
    pub is_answer: bool,
    /// Rule, attempt and seed of a scripted operation.
    pub script: Option<String>,
    /// The value for which the kind has no outcome.
    pub refusal: Option<Invalid>,
    /// Events for the object.
    pub events: Vec<Event>,
}

/// An Event about the script of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A rule fired.
    Fired(Box<Record>),
    /// The script is unusable.
    Unusable(Invalid),
}

/// The report that will contain fields of the kind's outcome. Returns `None` if the plan needs no outcome. `has_early`:
/// the kind reports fields early.
#[must_use]
pub fn report_with_outcome(plan: &Plan, has_early: bool) -> Option<&Report> {
    plan.writes.iter().find_map(|write| match write {
        Write::Status(report) if needs_outcome(report, has_early) => Some(&**report),
        _ => None,
    })
}

fn needs_outcome(report: &Report, has_early: bool) -> bool {
    match report.outcome {
        Fields::None => false,
        Fields::Early => has_early,
        Fields::Late | Fields::All => true,
    }
}

/// The part of an outcome that a report includes. Secrets belong to the late fields.
fn part(outcome: Outcome, fields: Fields, early: &[&str]) -> Outcome {
    let Outcome { mut status, secrets } = outcome;
    status.retain(|field, _| fields.include(early.contains(&field.as_str())));
    Outcome { status, secrets: if fields.include(false) { secrets } else { Vec::new() } }
}

/// Composes the requests of a plan at `now`.
///
/// `outcome` is what the kind reports, or the value for which it cannot report anything. In the latter case the
/// operation fails and is retried after [`OPERATION_RETRY`].
#[must_use]
pub fn compose(plan: &Plan, target: &Target<'_>, outcome: Result<Outcome, Invalid>, now: Timestamp) -> Composed {
    let time = update_time(target.meta, now);
    let existing = target.status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut outcome = Some(outcome);
    let mut composed = Composed::default();
    for write in &plan.writes {
        match write {
            Write::Metadata(change) => {
                composed.is_answer |= change.drop_operation;
                if plan.operation == OperationType::Delete && change.finalizer == Finalizer::Remove {
                    composed.requests.extend(target.leftovers.iter().cloned().map(Request::DeleteSecret));
                }
                let patch = MetadataPatch::new(target.meta, *change, target.finalizer);
                composed.requests.push(Request::Metadata(patch));
            }
            Write::Conditions(record) => {
                let mut fields = Map::new();
                put_conditions(&mut fields, existing, Some((**record).clone()), now);
                composed.requests.push(Request::Status(fields));
            }
            Write::Status(report) => {
                let (report, outcome) = match outcome.take_if(|_| needs_outcome(report, !target.early.is_empty())) {
                    None => ((**report).clone(), Outcome::default()),
                    Some(Ok(outcome)) => ((**report).clone(), part(outcome, report.outcome, target.early)),
                    Some(Err(invalid)) => {
                        let refused = refused((**report).clone(), plan.operation, &invalid, now);
                        composed.refusal = Some(invalid);
                        (refused, Outcome::default())
                    }
                };
                composed.requests.extend(outcome.secrets.into_iter().map(|secret| Request::Secret(Box::new(secret))));
                let mut fields = outcome.status;
                if let Some(created) = target.created
                    && let Some(conditions) = with_created(existing, created, plan.operation, &report, now)
                {
                    fields.insert("conditions".to_owned(), Value::Array(conditions));
                }
                composed.note(&report);
                put_report(&mut fields, target.meta, plan.operation, &report, &describe(target, plan, &report), time);
                match report.bookkeeping {
                    Bookkeeping::Keep | Bookkeeping::Unusable(_) => {}
                    Bookkeeping::Drop => put_conditions(&mut fields, existing, None, now),
                    Bookkeeping::Put { record, .. } => put_conditions(&mut fields, existing, Some(*record), now),
                }
                composed.requests.push(Request::Status(fields));
            }
        }
    }
    // Metadata alone finishes an operation whose status is written already.
    if plan.writes.iter().all(|write| matches!(write, Write::Metadata(_))) {
        composed.ended = Some(State::Succeeded);
    }
    composed
}

impl Composed {
    fn note(&mut self, report: &Report) {
        if report.state != State::Processing {
            self.ended = Some(report.state);
        }
        match &report.bookkeeping {
            Bookkeeping::Put { record, is_first } => {
                self.is_answer = true;
                self.script.get_or_insert_with(|| record.label());
                self.events.extend(is_first.then(|| Event::Fired(record.clone())));
            }
            Bookkeeping::Unusable(invalid) => self.events.push(Event::Unusable(invalid.clone())),
            Bookkeeping::Keep | Bookkeeping::Drop => {}
        }
    }
}

/// The report of an operation whose kind has no outcome. The attempt of a script is retried as well.
fn refused(report: Report, operation: OperationType, invalid: &Invalid, now: Timestamp) -> Report {
    let due = now.saturating_add(OPERATION_RETRY).unwrap_or(now);
    let bookkeeping = match report.bookkeeping {
        Bookkeeping::Put { record, is_first } => {
            let record = Record { phase: Phase::Failed, due: Some(due), ..*record };
            Bookkeeping::Put { record: Box::new(record), is_first }
        }
        other => other,
    };
    Report { bookkeeping, ..Report::refused(operation, invalid) }
}

/// Text of `lastOperation`.
fn describe(target: &Target<'_>, plan: &Plan, report: &Report) -> String {
    let text = report.description.clone().unwrap_or_else(|| usual(target.kind, plan.operation, report.state));
    match report.record() {
        Some(record) => format!("{text} [script: {}]", record.label()),
        None => text,
    }
}

fn usual(kind: &str, operation: OperationType, state: State) -> String {
    match (state, operation) {
        (State::Succeeded, OperationType::Create) => format!("{kind} created: nothing was built, there is no cloud"),
        (State::Succeeded, OperationType::Migrate) => format!("{kind} migrated: another seed may take over"),
        (State::Succeeded, OperationType::Restore) => format!("{kind} restored from the state of another seed"),
        (State::Succeeded, _) => format!("{kind} reconciled: nothing was built, there is no cloud"),
        _ => format!("{} of {kind} is in progress", operation.as_str()),
    }
}

/// Adds the record of a script and its health conditions to the conditions.
fn put_conditions(fields: &mut Map<String, Value>, existing: &[Value], record: Option<Record>, now: Timestamp) {
    let reported = fields.get("conditions").and_then(Value::as_array);
    if let Some(conditions) = conditions::with_record(reported.map_or(existing, Vec::as_slice), record, now) {
        fields.insert("conditions".to_owned(), Value::Array(conditions));
    }
}

#[cfg(test)]
mod tests;
