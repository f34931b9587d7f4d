//! An attempt at an operation from its begin to its end, as data: what it is, what is written of it, and when.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{Action, Due, Fault, Parsed, Phase, Record, Request, Subject, choose};
use crate::contract::{ErrorCode, LastOperation, OperationType, State};
use crate::decide::{Change, Finalizer};
use crate::extension::Invalid;

/// Reports on the way that come sooner after the one before are left out.
const BETWEEN_STEPS: SignedDuration = SignedDuration::from_secs(1);

/// What the decision about an object has to know of scripts.
#[derive(Clone, Debug, Default)]
pub struct Scripting<'a> {
    /// The strongest script there is for the object.
    pub script: Option<Parsed>,
    /// The object as rules see it.
    pub subject: Subject<'a>,
    /// What was begun.
    pub record: Option<Record>,
    /// For scripts without a seed.
    pub drawn_seed: u64,
    /// How long gardenlet waits for an object of the kind.
    pub timeout: SignedDuration,
}

/// How an operation begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// It succeeds at once, as without any script.
    Instant,
    /// The script cannot be used.
    Invalid(Invalid),
    /// As its record says.
    Attempt(Box<Record>),
}

/// A write of the status that a script asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    /// Of the operation.
    pub state: State,
    /// Percent, where the script says so.
    pub progress: Option<u8>,
    /// Description, where the script says so.
    pub text: Option<String>,
    /// What `lastError` says.
    pub error: Option<(String, Vec<ErrorCode>)>,
    /// Whether the kind reports its outcome along with it.
    pub with_outcome: bool,
    /// Whether it is the first write of the attempt.
    pub is_first: bool,
    /// The bookkeeping.
    pub record: Record,
}

impl Scripting<'_> {
    /// Begins an attempt at an operation.
    #[must_use]
    pub fn start(&self, operation: OperationType, request: Request, now: Timestamp) -> Start {
        let script = match &self.script {
            None => return Start::Instant,
            Some(Err(invalid)) => return Start::Invalid(invalid.clone()),
            Some(Ok(script)) => script,
        };
        let before = self.record.as_ref();
        let unfinished = before.filter(|before| before.operation == operation && before.phase != Phase::Served);
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
            conditions: conditions.map(|(due, after)| Due { at: later(now, after), ..due }).collect(),
            published: Vec::new(),
            inherited,
        }))
    }
}

impl Record {
    /// Whether the attempt is over as soon as it begins.
    #[must_use]
    pub fn is_instant(&self) -> bool {
        self.due == Some(self.start)
    }

    /// The attempt once it has ended.
    #[must_use]
    pub fn ended(self, now: Timestamp) -> Self {
        match self.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Fail { retry_after, .. }) => {
                let due = Some(later(now, retry_after.0));
                Self { phase: Phase::Failed, due, ..self }
            }
            _ => Self { phase: Phase::Served, due: None, ..self },
        }
    }

    /// The attempt as one that could not be carried out and is tried again later.
    #[must_use]
    pub fn failed(self, due: Timestamp) -> Self {
        Self { phase: Phase::Failed, due: Some(due), ..self }
    }

    /// What is written when the attempt begins and is not over at once.
    #[must_use]
    pub fn beginning(self) -> Act {
        Act {
            state: State::Processing,
            progress: None,
            text: None,
            error: None,
            with_outcome: false,
            is_first: true,
            record: self,
        }
    }

    /// What is written when the attempt ends.
    #[must_use]
    pub fn ending(self, is_first: bool, now: Timestamp) -> Act {
        let record = self.ended(now);
        let (error, with_outcome) = match record.rule.as_ref().map(|rule| &rule.action) {
            Some(Action::Fail { message, codes, pools, .. }) if pools.is_empty() => {
                (Some((message.clone(), codes.clone())), false)
            }
            Some(Action::Fail { message, codes, pools, .. }) => {
                let plural = if pools.len() == 1 { "" } else { "s" };
                (Some((format!("pool{plural} {}: {message}", pools.join(", ")), codes.clone())), true)
            }
            _ => (None, true),
        };
        let state = if error.is_some() { State::Error } else { State::Succeeded };
        let text = error.as_ref().map(|(message, _)| format!("{} failed: {message}", record.operation.as_str()));
        Act { state, progress: None, text, error, with_outcome, is_first, record }
    }

    /// The report on the way that is due and not yet made.
    #[must_use]
    pub fn report(&self, last: Option<&LastOperation>, now: Timestamp) -> Option<Act> {
        let made = last.map_or(0, |last| last.progress);
        let due = self.steps().filter(|(at, step)| *at <= now && i32::from(step.percent) > made);
        let (_, step) = due.last()?;
        let act = self.clone().beginning();
        Some(Act { progress: Some(step.percent), text: Some(step.description.clone()), is_first: false, ..act })
    }

    /// When there is something to do next, at `now` or later.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let steps = self.steps().map(|(at, _)| at).filter(|_| self.phase == Phase::Running);
        let conditions = self.conditions.iter().map(|condition| condition.at);
        steps.chain(conditions).filter(|at| *at > now).chain(self.due).min()
    }

    /// Whether health conditions are due that the status does not show.
    #[must_use]
    pub fn has_unpublished(&self, now: Timestamp) -> bool {
        self.standing(now).any(|due| !self.published.contains(&due.type_))
    }

    /// The rule's reports on the way, each with its time, and none that comes sooner than people read.
    fn steps(&self) -> impl Iterator<Item = (Timestamp, &super::Step)> {
        let takes = self.due.map_or(SignedDuration::ZERO, |due| due.duration_since(self.start));
        let steps = self.rule.iter().flat_map(|rule| &rule.progress);
        let steps = steps.map(move |step| {
            let millis = takes.as_millis().saturating_mul(i128::from(step.percent)) / 100;
            let after = SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
            (later(self.start, after), step)
        });
        let mut made: Option<Timestamp> = None;
        steps.filter(move |(at, _)| {
            let is_readable = made.is_none_or(|made| at.duration_since(made) >= BETWEEN_STEPS);
            made = if is_readable { Some(*at) } else { made };
            is_readable
        })
    }

    /// The part of the metadata's change that is made as soon as an attempt begins: an object that is worked on is
    /// held, and the request is taken up. Of migrate and restore the request stands until the end, as in the Go
    /// library (`extensions/pkg/controller/worker/reconciler.go`); with it a migration beats a deletion.
    #[must_use]
    pub fn early(&self, change: Change) -> Change {
        let finalizer = match change.finalizer {
            Finalizer::Remove => Finalizer::Keep,
            other => other,
        };
        let taken_up = matches!(self.operation, OperationType::Create | OperationType::Reconcile);
        let drop_operation = taken_up && change.drop_operation && self.fault() != Some(Fault::KeepOperation);
        Change { drop_operation, finalizer, strip_timestamp: self.strips_timestamp() }
    }

    /// Early, since an object whose operation annotation is off would be ready for a moment.
    fn strips_timestamp(&self) -> bool {
        self.fault() == Some(Fault::StripTimestamp) && self.operation != OperationType::Delete
    }

    /// What is left of the metadata's change once the operation has succeeded, less what a fault spares.
    #[must_use]
    pub fn late(&self, change: Change) -> Change {
        let fault = self.fault();
        let keeps = fault == Some(Fault::KeepFinalizer) && change.finalizer == Finalizer::Remove;
        Change {
            drop_operation: change.drop_operation && fault != Some(Fault::KeepOperation),
            finalizer: if keeps { Finalizer::Keep } else { change.finalizer },
            strip_timestamp: self.strips_timestamp(),
        }
    }
}

fn later(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
