//! The next step of an operation: start, report, end or retry, as the object's script says.

use extension_contract::{
    DELETION_CONFIRMATION_ANNOTATION, LastOperation, OperationAnnotation, OperationType, Reader, State,
    TIMESTAMP_ANNOTATION, annotation, requested_at,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::attempt::{self, OPERATION_RETRY, Scripting, Start};
use super::plan::{Change, Finalizer, Reason, Report, Step, Write};
use super::view::ObjectView;
use crate::invalid::Invalid;
use crate::script::record::{Phase, Record};

/// gardenlet sends a DELETE within this time after the timestamp that confirms it.
const DELETE_FOLLOWS: SignedDuration = SignedDuration::from_secs(1);

/// Everything that one decision about an object depends on.
pub(super) struct Situation<'a> {
    pub(super) object: ObjectView<'a>,
    pub(super) asked: Option<OperationAnnotation>,
    pub(super) last: Option<&'a LastOperation>,
    pub(super) reader: Reader,
    pub(super) scripting: &'a Scripting<'a>,
    pub(super) now: Timestamp,
}

impl Situation<'_> {
    /// The next step of an operation, if the object needs one.
    pub(super) fn operate(&self, operation: OperationType, change: Change) -> Step {
        match self.current(operation) {
            None => self.without_attempt(operation, change),
            Some(record) => match record.phase {
                Phase::Running => self.running(record, change),
                Phase::Failed => self.failed(record, change),
                Phase::Done => self.done(record, operation, change),
            },
        }
    }

    /// Releases an object that is migrated.
    pub(super) fn let_go(&self, change: Change) -> Step {
        let record = self.scripting.record.as_ref().filter(|record| self.agrees(record));
        let change = record.map_or(change, |record| attempt::late(record, change));
        match self.rest_of(change) {
            None => Step::Leave(Reason::Migrated),
            Some(metadata) => Step::write(OperationType::Migrate, vec![metadata]),
        }
    }

    /// The recorded attempt, if it answers the current request and the status agrees with it.
    fn current(&self, operation: OperationType) -> Option<&Record> {
        let record = self.scripting.record.as_ref()?;
        let is_it = match record.phase {
            Phase::Running | Phase::Failed => record.operation == operation,
            Phase::Done => match (operation, self.asked) {
                (OperationType::Delete, _) => record.operation == OperationType::Delete,
                (_, Some(OperationAnnotation::Restore)) => record.operation == OperationType::Restore,
                (_, Some(_)) => matches!(record.operation, OperationType::Create | OperationType::Reconcile),
                (_, None) => record.operation != OperationType::Delete,
            },
        };
        let answers =
            self.is_running_deletion(record) || attempt::answers(record, self.object.meta, self.asked.is_some());
        (is_it && self.agrees(record) && answers).then_some(record)
    }

    /// Whether the record is of a deletion that a newer timestamp does not start anew. gardenlet confirms the deletion of
    /// an object that it watches every 5 s, each time with a new timestamp
    /// (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
    fn is_running_deletion(&self, record: &Record) -> bool {
        record.operation == OperationType::Delete
            && self.object.meta.deletion_timestamp.is_some()
            && (record.phase == Phase::Running || self.reader == Reader::Watches)
    }

    /// Whether the last operation is the recorded one.
    fn agrees(&self, record: &Record) -> bool {
        let state = match record.phase {
            Phase::Running => State::Processing,
            Phase::Failed => State::Error,
            Phase::Done => State::Succeeded,
        };
        self.last.is_some_and(|last| last.operation == record.operation && last.state == state)
    }

    fn without_attempt(&self, operation: OperationType, change: Change) -> Step {
        let wanted = match operation {
            OperationType::Delete => {
                let started = self.last.is_some_and(|last| last.operation == OperationType::Delete);
                let is_asked_again = self.reader == Reader::Polls && self.object.timestamp_is_news();
                !started || self.scripting.script.is_none() || is_asked_again
            }
            _ => self.asked.is_some() || self.object.needs_reconcile(),
        };
        if wanted {
            return self.delete_is_imminent().map_or_else(|| self.start(operation, change), Step::RetryAt);
        }
        if let Some(due) = self.retry_due() {
            return if due <= self.now { self.start(operation, change) } else { Step::RetryAt(due) };
        }
        if operation == OperationType::Delete {
            return self.start(operation, change);
        }
        if change.finalizer == Finalizer::Add {
            return Step::write(operation, vec![Write::Metadata(change)]);
        }
        Step::Leave(Reason::Done)
    }

    /// When an operation without an attempt is retried, if it has failed.
    fn retry_due(&self) -> Option<Timestamp> {
        let last = self.last.filter(|last| matches!(last.state, State::Error | State::Failed))?;
        let failed = last.last_update_time.0.saturating_sub(self.object.lead).unwrap_or(self.now);
        Some(failed.checked_add(OPERATION_RETRY).unwrap_or(self.now))
    }

    /// Deadline for the DELETE that gardenlet sends right after confirming it (`pkg/extensions/customresources.go`).
    /// A reconcile for the confirmation's timestamp would be useless, and would often conflict with the DELETE. No
    /// object waits longer than twice [`DELETE_FOLLOWS`], whatever the clocks say.
    fn delete_is_imminent(&self) -> Option<Timestamp> {
        let ObjectView { meta, .. } = self.object;
        let confirmed = annotation(meta, DELETION_CONFIRMATION_ANNOTATION) == Some("true");
        if !confirmed || meta.deletion_timestamp.is_some() || self.asked.is_some() || !self.object.wants_only_a_time() {
            return None;
        }
        let requested = requested_at(meta)?;
        let due = requested.checked_add(DELETE_FOLLOWS).ok()?;
        (self.now < due && requested.duration_since(self.now) <= DELETE_FOLLOWS).then_some(due)
    }

    fn start(&self, operation: OperationType, change: Change) -> Step {
        match self.scripting.start(operation, attempt::request_of(self.object.meta), self.now) {
            Start::Instant if operation == OperationType::Delete => Step::release(),
            Start::Instant => self.result(operation, Report::plain(State::Succeeded), change),
            Start::Invalid(invalid) => self.unusable_script(operation, invalid, change),
            Start::Attempt(record) if attempt::is_instant(&record) && !self.would_show(&record, change) => {
                self.end(*record, true, change)
            }
            Start::Attempt(record) => {
                let metadata = self.rest_of(attempt::early(&record, change));
                let processing = vec![Write::Status(Box::new(attempt::started(*record)))];
                Step::write(operation, self.in_order(operation, processing, metadata))
            }
        }
    }

    /// Whether the success would show for a moment before its timestamp is removed, because no annotation hides it.
    fn would_show(&self, record: &Record, change: Change) -> bool {
        let has_timestamp = annotation(self.object.meta, TIMESTAMP_ANNOTATION).is_some();
        self.asked.is_none() && has_timestamp && attempt::early(record, change).strip_timestamp
    }

    fn running(&self, record: &Record, change: Change) -> Step {
        // A process died between its two writes: this is the second one.
        if let Some(metadata) = self.rest_of(attempt::early(record, change)) {
            return Step::write(record.operation, vec![metadata]);
        }
        if record.due.is_some_and(|due| due <= self.now) {
            return self.end(record.clone(), false, change);
        }
        if let Some(report) = attempt::progressed(record, self.last, self.now) {
            return Step::write(record.operation, vec![Write::Status(Box::new(report))]);
        }
        self.wait(record, Reason::Hangs)
    }

    fn failed(&self, record: &Record, change: Change) -> Step {
        if let Some(metadata) = self.rest_of(attempt::early(record, change)) {
            return Step::write(record.operation, vec![metadata]);
        }
        if record.due.is_none_or(|due| due > self.now) {
            return self.wait(record, Reason::Done);
        }
        // The report of an unusable script leaves the record as it is, with a time that has passed.
        let is_unusable = matches!(self.scripting.script, Some(Err(_)));
        match self.retry_due().filter(|due| is_unusable && *due > self.now) {
            Some(due) => Step::RetryAt(due),
            None => self.start(record.operation, change),
        }
    }

    fn done(&self, record: &Record, operation: OperationType, change: Change) -> Step {
        if let Some(metadata) = self.rest_of(attempt::late(record, change)) {
            return Step::write(record.operation, vec![metadata]);
        }
        if record.fault().is_none() && self.object.needs_reconcile() {
            return self.start(operation, change);
        }
        self.wait(record, Reason::Done)
    }

    /// The write of the metadata changes that are still to be made. Returns `None` if there are none.
    fn rest_of(&self, change: Change) -> Option<Write> {
        let has_timestamp = annotation(self.object.meta, TIMESTAMP_ANNOTATION).is_some();
        Change { strip_timestamp: change.strip_timestamp && has_timestamp, ..change }.write()
    }

    /// Writes health conditions that are due. Otherwise waits for the record's next time.
    fn wait(&self, record: &Record, otherwise: Reason) -> Step {
        if attempt::has_unpublished(record, self.now) {
            return Step::write(record.operation, vec![Write::Conditions(Box::new(record.clone()))]);
        }
        attempt::next(record, self.now).map_or(Step::Leave(otherwise), Step::RetryAt)
    }

    fn end(&self, record: Record, is_first: bool, change: Change) -> Step {
        let operation = record.operation;
        let (early, late) = (attempt::early(&record, change), attempt::late(&record, change));
        let report = attempt::ended(record, is_first, self.now);
        let succeeded = report.state == State::Succeeded;
        if operation == OperationType::Delete && succeeded && late.finalizer == Finalizer::Remove {
            return Step::release();
        }
        self.result(operation, report, if succeeded { late } else { early })
    }

    fn unusable_script(&self, operation: OperationType, invalid: Invalid, change: Change) -> Step {
        self.result(operation, Report::unusable_script(operation, invalid), change.without_removal())
    }

    /// The writes of a result.
    fn result(&self, operation: OperationType, report: Report, change: Change) -> Step {
        let metadata = self.rest_of(change);
        // A process that died half-way has written Processing already. Then the result alone is a change that a watching
        // reader notices.
        let resumed = !change.drop_operation && self.last.is_some_and(|last| last.state == State::Processing);
        // A gardenlet that meets a migration in progress takes it for done
        // (`pkg/gardenlet/controller/backupentry/reconciler.go`).
        let first = self.reader == Reader::Watches && !resumed && operation != OperationType::Migrate;
        let processing = first.then(|| Report::plain(State::Processing));
        let status = processing.into_iter().chain([report]).map(|report| Write::Status(Box::new(report))).collect();
        Step::write(operation, self.in_order(operation, status, metadata))
    }

    /// Status and metadata in the order that the reader needs; see [`Reader`].
    fn in_order(&self, operation: OperationType, status: Vec<Write>, metadata: Option<Write>) -> Vec<Write> {
        match (self.reader, operation) {
            (Reader::Watches, OperationType::Create | OperationType::Reconcile | OperationType::Delete) => {
                metadata.into_iter().chain(status).collect()
            }
            _ => status.into_iter().chain(metadata).collect(),
        }
    }
}
