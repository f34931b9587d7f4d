//! What an operation comes to now: begun, under way, ended, or tried again, as the script of the object has it.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Change, Finalizer, Object, OperationAnnotation, RETRY, Reason, Round, Step, Write};
use super::{annotation, release, requested_at, write};
use crate::behaviour::{Phase, Record, Request, Start};
use crate::contract::{DELETION_CONFIRMATION_ANNOTATION, OperationType, State, TIMESTAMP_ANNOTATION};
use crate::extension::{Invalid, Reader};

/// How soon after the timestamp that confirms it a DELETE is expected.
const DELETE_FOLLOWS: SignedDuration = SignedDuration::from_secs(1);

impl Round<'_> {
    /// The operation that the object wants, if it wants any.
    pub(super) fn operate(&self, operation: OperationType, change: Change) -> Step {
        match self.standing(operation) {
            None => self.unserved(operation, change),
            Some(record) => match record.phase {
                Phase::Running => self.running(record, change),
                Phase::Failed => self.failed(record, change),
                Phase::Served => self.served(record, operation, change),
            },
        }
    }

    /// Lets an object go that is migrated.
    pub(super) fn let_go(&self, change: Change) -> Step {
        let record = self.scripting.record.as_ref().filter(|record| self.agrees(record));
        let change = record.map_or(change, |record| record.late(change));
        let left = self.left_of(change);
        left.map_or(Step::Leave(Reason::Migrated), |metadata| write(OperationType::Migrate, vec![metadata]))
    }

    /// What was begun for this very request, as the status says it stands.
    fn standing(&self, operation: OperationType) -> Option<&Record> {
        let record = self.scripting.record.as_ref()?;
        let is_it = match record.phase {
            Phase::Running | Phase::Failed => record.operation == operation,
            Phase::Served => match (operation, self.asked) {
                (OperationType::Delete, _) => record.operation == OperationType::Delete,
                (_, Some(OperationAnnotation::Restore)) => record.operation == OperationType::Restore,
                (_, Some(_)) => matches!(record.operation, OperationType::Create | OperationType::Reconcile),
                (_, None) => record.operation != OperationType::Delete,
            },
        };
        (is_it && self.agrees(record) && record.is_at(self.object.meta, self.asked.is_some())).then_some(record)
    }

    /// Whether the last operation is the one that the record speaks of.
    fn agrees(&self, record: &Record) -> bool {
        let state = match record.phase {
            Phase::Running => State::Processing,
            Phase::Failed => State::Error,
            Phase::Served => State::Succeeded,
        };
        self.last.is_some_and(|last| last.operation == record.operation && last.state == state)
    }

    fn unserved(&self, operation: OperationType, change: Change) -> Step {
        let wanted = match operation {
            OperationType::Delete => {
                let begun = self.last.is_some_and(|last| last.operation == OperationType::Delete);
                !begun || self.scripting.script.is_none() || self.object.timestamp_is_news()
            }
            _ => self.asked.is_some() || self.object.wants_service(),
        };
        if wanted {
            return self.foretold_deletion().map_or_else(|| self.start(operation, change), Step::RetryAt);
        }
        if let Some(last) = self.last.filter(|last| matches!(last.state, State::Error | State::Failed)) {
            let due = last.last_update_time.0.checked_add(RETRY).unwrap_or(self.now);
            return if due <= self.now { self.start(operation, change) } else { Step::RetryAt(due) };
        }
        if operation == OperationType::Delete {
            return self.start(operation, change);
        }
        if change.finalizer == Finalizer::Add {
            return write(operation, vec![Write::Metadata(change)]);
        }
        Step::Leave(Reason::Done)
    }

    /// Until when a DELETE may follow the timestamp that confirms it. gardenlet sends one right after the other
    /// (`pkg/extensions/customresources.go`): serving the timestamp would be for nothing, and often collide with the
    /// DELETE. Nothing waits longer than twice [`DELETE_FOLLOWS`], whatever the clocks say.
    fn foretold_deletion(&self) -> Option<Timestamp> {
        let Object { meta, .. } = self.object;
        let confirmed = annotation(meta, DELETION_CONFIRMATION_ANNOTATION) == Some("true");
        if !confirmed || meta.deletion_timestamp.is_some() || self.asked.is_some() || !self.object.wants_only_a_time() {
            return None;
        }
        let requested = requested_at(meta)?;
        let due = requested.checked_add(DELETE_FOLLOWS).ok()?;
        (self.now < due && requested.duration_since(self.now) <= DELETE_FOLLOWS).then_some(due)
    }

    fn start(&self, operation: OperationType, change: Change) -> Step {
        match self.scripting.start(operation, Request::of(self.object.meta), self.now) {
            Start::Instant if operation == OperationType::Delete => release(),
            Start::Instant => self.result(operation, Write::Status(State::Succeeded), change),
            Start::Invalid(invalid) => self.bad_script(operation, invalid, change),
            Start::Attempt(record) if record.is_instant() && !self.would_show(&record, change) => {
                self.end(*record, true, change)
            }
            Start::Attempt(record) => {
                let metadata = self.left_of(record.early(change));
                let processing = [Write::Scripted(Box::new(record.beginning()))];
                let writes = match (self.reader, operation) {
                    (Reader::Watches, OperationType::Create | OperationType::Reconcile) => {
                        metadata.into_iter().chain(processing).collect()
                    }
                    _ => processing.into_iter().chain(metadata).collect(),
                };
                write(operation, writes)
            }
        }
    }

    /// Whether the success would show for a moment before its timestamp goes, since no annotation hides it.
    fn would_show(&self, record: &Record, change: Change) -> bool {
        let is_there = annotation(self.object.meta, TIMESTAMP_ANNOTATION).is_some();
        self.asked.is_none() && is_there && record.early(change).strip_timestamp
    }

    fn running(&self, record: &Record, change: Change) -> Step {
        // The second write of a process that died between two.
        if let Some(metadata) = self.left_of(record.early(change)) {
            return write(record.operation, vec![metadata]);
        }
        if record.due.is_some_and(|due| due <= self.now) {
            return self.end(record.clone(), false, change);
        }
        if let Some(report) = record.report(self.last, self.now) {
            return write(record.operation, vec![Write::Scripted(Box::new(report))]);
        }
        self.wait(record, Reason::Hangs)
    }

    fn failed(&self, record: &Record, change: Change) -> Step {
        if let Some(metadata) = self.left_of(record.early(change)) {
            return write(record.operation, vec![metadata]);
        }
        if record.due.is_some_and(|due| due <= self.now) {
            return self.start(record.operation, change);
        }
        self.wait(record, Reason::Done)
    }

    fn served(&self, record: &Record, operation: OperationType, change: Change) -> Step {
        if let Some(metadata) = self.left_of(record.late(change)) {
            return write(record.operation, vec![metadata]);
        }
        if record.fault().is_none() && self.object.wants_service() {
            return self.start(operation, change);
        }
        self.wait(record, Reason::Done)
    }

    /// The write of what is left to change in the metadata.
    fn left_of(&self, change: Change) -> Option<Write> {
        let is_there = annotation(self.object.meta, TIMESTAMP_ANNOTATION).is_some();
        Change { strip_timestamp: change.strip_timestamp && is_there, ..change }.write()
    }

    /// Nothing, but for health conditions that are due, until something is.
    fn wait(&self, record: &Record, otherwise: Reason) -> Step {
        if record.has_unpublished(self.now) {
            return write(record.operation, vec![Write::Conditions(Box::new(record.clone()))]);
        }
        record.next(self.now).map_or(Step::Leave(otherwise), Step::RetryAt)
    }

    fn end(&self, record: Record, is_first: bool, change: Change) -> Step {
        let operation = record.operation;
        let (early, late) = (record.early(change), record.late(change));
        let act = record.ending(is_first, self.now);
        let succeeded = act.state == State::Succeeded;
        if operation == OperationType::Delete && succeeded && late.finalizer == Finalizer::Remove {
            return release();
        }
        self.result(operation, Write::Scripted(Box::new(act)), if succeeded { late } else { early })
    }

    fn bad_script(&self, operation: OperationType, invalid: Invalid, change: Change) -> Step {
        let finalizer = if change.finalizer == Finalizer::Remove { Finalizer::Keep } else { change.finalizer };
        self.result(operation, Write::BadScript(invalid), Change { finalizer, ..change })
    }

    /// The writes of a result, in the order that its reader needs.
    fn result(&self, operation: OperationType, result: Write, change: Change) -> Step {
        let metadata = self.left_of(change);
        let writes = match self.reader {
            Reader::Polls => [result].into_iter().chain(metadata).collect(),
            Reader::Watches => {
                // One that died half-way has said Processing already; the result is then change enough to be noticed.
                let resumed = !change.drop_operation && self.last.is_some_and(|last| last.state == State::Processing);
                let processing = (!resumed).then_some(Write::Status(State::Processing));
                let status = processing.into_iter().chain([result]);
                match operation {
                    OperationType::Migrate | OperationType::Restore => status.chain(metadata).collect(),
                    _ => metadata.into_iter().chain(status).collect(),
                }
            }
        };
        write(operation, writes)
    }
}
