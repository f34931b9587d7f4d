//! A scripted attempt at an operation, from start to end: its record, its reports, and their times.

use extension_contract::{ErrorCode, LastOperation, OperationType, State, TIMESTAMP_ANNOTATION, annotation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::plan::{Bookkeeping, Change, Fields, Finalizer, LastError, Report, failure};
use crate::invalid::Invalid;
use crate::script::draw::{Subject, choose};
use crate::script::language::{Action, Fault, ProgressStep};
use crate::script::record::{Phase, Record, RequestId, TimedCondition};
use crate::script::source::Parsed;

/// Pause before an operation that ended in Error or Failed is retried, unless a script sets another one: the longest of
/// gardenlet's polling intervals.
pub const OPERATION_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// Minimum interval between two progress reports. A report that would come sooner is skipped.
const BETWEEN_STEPS: SignedDuration = SignedDuration::from_secs(1);

/// What a decision needs to know about scripts.
#[derive(Clone, Debug, Default)]
pub struct Scripting<'a> {
    /// The script with the highest precedence.
    pub script: Option<Parsed>,
    /// The object as rules see it.
    pub subject: Subject<'a>,
    /// The attempt that the status records.
    pub record: Option<Record>,
    /// Seed for scripts that have none.
    pub drawn_seed: u64,
    /// How long gardenlet waits for an object of the kind.
    pub timeout: SignedDuration,
}

/// How an operation starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// It succeeds immediately, as without any script.
    Instant,
    /// The script is unusable.
    Invalid(Invalid),
    /// It follows this record.
    Attempt(Box<Record>),
}

impl Scripting<'_> {
    /// Starts an attempt at an operation.
    #[must_use]
    pub fn start(&self, operation: OperationType, request: RequestId, now: Timestamp) -> Start {
        let script = match &self.script {
            None => return Start::Instant,
            Some(Err(invalid)) => return Start::Invalid(invalid.clone()),
            Some(Ok(script)) => script,
        };
        let before = self.record.as_ref();
        let unfinished = before.filter(|before| before.operation == operation && before.phase != Phase::Done);
        let attempt = unfinished.map_or(1, |before| before.attempt.saturating_add(1));
        let drawn_seed = unfinished.map_or(self.drawn_seed, |before| before.seed);
        let seed = script.seed.unwrap_or(drawn_seed);
        let choice = choose(script, seed, &self.subject, operation, attempt);
        let takes = choice.as_ref().map_or(Some(SignedDuration::ZERO), |choice| choice.takes(self.timeout));
        let (rule, conditions) = choice.map(|choice| (choice.fired, choice.conditions)).unzip();
        let conditions = conditions.into_iter().flatten();
        let mut inherited: Vec<String> =
            before.iter().flat_map(|before| before.published.iter().chain(&before.inherited)).cloned().collect();
        inherited.sort();
        inherited.dedup();
        Start::Attempt(Box::new(Record {
            phase: Phase::Running,
            operation,
            request,
            attempt,
            seed,
            rule,
            start: now,
            due: takes.map(|takes| later(now, takes)),
            conditions: conditions.map(|(timed, after)| TimedCondition { at: later(now, after), ..timed }).collect(),
            published: Vec::new(),
            inherited,
        }))
    }
}

/// When the record was written: everything that it waits for is due a fixed time later.
#[must_use]
pub fn written_at(record: &Record) -> Timestamp {
    let retry = match (record.phase, record.rule.as_ref().map(|rule| &rule.action)) {
        (Phase::Failed, Some(Action::Fail { retry_after, .. })) => retry_after.0,
        (Phase::Failed, _) => OPERATION_RETRY,
        _ => return record.start,
    };
    let failed = record.due.and_then(|due| due.checked_sub(retry).ok());
    failed.map_or(record.start, |failed| failed.max(record.start))
}

/// The current request of an object.
pub(super) fn request_of(meta: &ObjectMeta) -> RequestId {
    RequestId { timestamp: annotation(meta, TIMESTAMP_ANNOTATION).map(str::to_owned), generation: meta.generation }
}

/// Whether the attempt answers the current request of the object. `asked`: the object has an operation annotation.
pub(super) fn answers(record: &Record, meta: &ObjectMeta, asked: bool) -> bool {
    let now = request_of(meta);
    // gardenlet deletes an object right after it requested its migration, with a new timestamp and generation
    // (`pkg/gardenlet/controller/shoot/shoot/reconciler_migrate.go`). That is no new request.
    if record.operation == OperationType::Migrate && meta.deletion_timestamp.is_some() {
        return true;
    }
    // The fault itself has removed the timestamp.
    let asked_again = asked
        && record.phase == Phase::Done
        && matches!(record.operation, OperationType::Create | OperationType::Reconcile);
    if record.fault() == Some(Fault::StripTimestamp) && now.timestamp.is_none() && !asked_again {
        return now.generation == record.request.generation;
    }
    if record.phase == Phase::Done {
        // Without a timestamp, a new annotation looks like the one that is done.
        let ambiguous = now.timestamp.is_none() && asked;
        let is_request = record.operation != OperationType::Delete && record.fault() != Some(Fault::KeepOperation);
        if ambiguous && is_request {
            return false;
        }
    }
    now == record.request
}

/// Whether the attempt ends as soon as it starts.
pub(super) fn is_instant(record: &Record) -> bool {
    record.due == Some(record.start)
}

/// The report of an attempt that starts and does not end immediately.
pub(super) fn started(record: Record) -> Report {
    let bookkeeping = Bookkeeping::Put { record: Box::new(record), is_first: true };
    Report { outcome: Fields::Early, ..report(State::Processing, bookkeeping) }
}

/// The report of an attempt that ends.
pub(super) fn ended(record: Record, is_first: bool, now: Timestamp) -> Report {
    let mut works = true;
    let (record, failed) = match record.rule.as_ref().map(|rule| &rule.action) {
        Some(Action::Fail { message, codes, pools, retry_after }) => {
            // If only some pools fail, the outcome of the others is reported along with the error.
            works = !pools.is_empty();
            let failed = failed(message, codes, pools);
            let due = Some(later(now, retry_after.0));
            (Record { phase: Phase::Failed, due, ..record }, Some(failed))
        }
        _ => (Record { phase: Phase::Done, due: None, ..record }, None),
    };
    // The start of an attempt that takes time has reported the early fields. A second report would have another time,
    // which gardenlet could take for the answer to its next request.
    let outcome = match (is_first, works) {
        (true, true) => Fields::All,
        (true, false) => Fields::Early,
        (false, true) => Fields::Late,
        (false, false) => Fields::None,
    };
    let operation = record.operation;
    let bookkeeping = Bookkeeping::Put { record: Box::new(record), is_first };
    match failed {
        None => Report { outcome, ..report(State::Succeeded, bookkeeping) },
        Some(error) => Report {
            description: Some(failure(operation, &error.description)),
            error: Some(error),
            outcome,
            ..report(State::Error, bookkeeping)
        },
    }
}

/// The error of a failed attempt.
fn failed(message: &str, codes: &[ErrorCode], pools: &[String]) -> LastError {
    let description = match pools {
        [] => message.to_owned(),
        [pool] => format!("pool {pool}: {message}"),
        pools => format!("pools {}: {message}", pools.join(", ")),
    };
    LastError { description, codes: codes.to_owned() }
}

/// The progress report that is due and not yet written.
pub(super) fn progressed(record: &Record, last: Option<&LastOperation>, now: Timestamp) -> Option<Report> {
    let reported = last.map_or(0, |last| last.progress);
    let due = steps(record).filter(|(at, step)| *at <= now && i32::from(step.percent) > reported);
    let (_, step) = due.last()?;
    Some(Report {
        progress: Some(step.percent),
        description: Some(step.description.clone()),
        ..report(State::Processing, Bookkeeping::Put { record: Box::new(record.clone()), is_first: false })
    })
}

const fn report(state: State, bookkeeping: Bookkeeping) -> Report {
    Report { state, progress: None, description: None, error: None, outcome: Fields::None, bookkeeping }
}

/// When the attempt next needs a write, at `now` or later.
pub(super) fn next(record: &Record, now: Timestamp) -> Option<Timestamp> {
    let steps = steps(record).map(|(at, _)| at).filter(|_| record.phase == Phase::Running);
    let conditions = record.conditions.iter().map(|condition| condition.at);
    steps.chain(conditions).filter(|at| *at > now).chain(record.due).min()
}

/// Whether the status lacks a health condition that holds at `now`.
pub(super) fn has_unpublished(record: &Record, now: Timestamp) -> bool {
    record.holding(now).any(|condition| !record.published.contains(&condition.type_))
}

/// The rule's progress reports, each with its time.
fn steps(record: &Record) -> impl Iterator<Item = (Timestamp, &ProgressStep)> {
    let takes = record.due.map_or(SignedDuration::ZERO, |due| due.duration_since(record.start));
    let steps = record.rule.iter().flat_map(|rule| &rule.progress);
    let steps = steps.map(move |step| {
        let millis = takes.as_millis().saturating_mul(i128::from(step.percent)) / 100;
        let after = SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
        (later(record.start, after), step)
    });
    let mut kept: Option<Timestamp> = None;
    steps.filter(move |(at, _)| {
        let is_readable = kept.is_none_or(|kept| at.duration_since(kept) >= BETWEEN_STEPS);
        kept = if is_readable { Some(*at) } else { kept };
        is_readable
    })
}

/// The part of the metadata change that is written when an attempt starts: it adds the finalizer and removes the
/// annotation of create and reconcile. The annotation of migrate and restore stays until the end, as in the Go library
/// (`extensions/pkg/controller/worker/reconciler.go`); it also makes a migration beat a deletion.
pub(super) fn early(record: &Record, change: Change) -> Change {
    let finalizer = match change.finalizer {
        Finalizer::Remove => Finalizer::Keep,
        other => other,
    };
    let taken_up = matches!(record.operation, OperationType::Create | OperationType::Reconcile);
    let drop_operation = taken_up && change.drop_operation && record.fault() != Some(Fault::KeepOperation);
    Change { drop_operation, finalizer, strip_timestamp: strips_timestamp(record) }
}

/// The part of the metadata change that remains once the operation has succeeded, minus what a fault omits.
pub(super) fn late(record: &Record, change: Change) -> Change {
    let fault = record.fault();
    let keeps = fault == Some(Fault::KeepFinalizer) && change.finalizer == Finalizer::Remove;
    Change {
        drop_operation: change.drop_operation && fault != Some(Fault::KeepOperation),
        finalizer: if keeps { Finalizer::Keep } else { change.finalizer },
        strip_timestamp: strips_timestamp(record),
    }
}

/// Whether the attempt removes the timestamp. It does so at its start: otherwise an object without operation annotation
/// would be ready for a moment.
fn strips_timestamp(record: &Record) -> bool {
    record.fault() == Some(Fault::StripTimestamp) && record.operation != OperationType::Delete
}

fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
