//! The result of a decision: nothing, a later time, or writes. A plan contains no requests yet: the kind's outcome is
//! missing.

use extension_contract::{ErrorCode, OperationType, State};
use k8s_openapi::jiff::Timestamp;

use crate::invalid::Invalid;
use crate::script::{Fault, Record};

/// What to do with an object now.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing, until the object or its Cluster changes.
    Leave(Reason),
    /// Nothing before that time.
    RetryAt(Timestamp),
    /// Writes.
    Write(Plan),
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The type or class of another provider.
    Foreign,
    /// gardenlet is about to write the state.
    WaitsForState,
    /// The Cluster does not exist yet.
    WaitsForCluster,
    /// The Shoot is Failed.
    ShootFailed,
    /// The object is handed over to another seed.
    Migrated,
    /// The object is being deleted without our finalizer.
    Released,
    /// No request is open.
    Done,
    /// A script lets the operation hang.
    Hangs,
}

/// The writes of one operation, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The operation that the writes belong to.
    pub operation: OperationType,
    /// One request each, plus one for each Secret of the kind's outcome.
    pub writes: Vec<Write>,
}

/// One write to the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Patch of the status.
    Status(Box<Report>),
    /// Patch of the status: only a script's health conditions.
    Conditions(Box<Record>),
    /// Patch of the metadata.
    Metadata(Change),
}

/// What a status says about the operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// State of `lastOperation`.
    pub state: State,
    /// Percentage; `None` means the state's default.
    pub progress: Option<u8>,
    /// Description; `None` means the default of operation and state.
    pub description: Option<String>,
    /// Content of `lastError`.
    pub error: Option<LastError>,
    /// Which fields of the kind's outcome the status includes.
    pub outcome: Fields,
    /// What happens to the record of a script.
    pub bookkeeping: Bookkeeping,
}

/// Fields of a kind's outcome. Which fields are early is data of the kind: [`MockKind::EARLY`].
///
/// [`MockKind::EARLY`]: crate::kind::MockKind::EARLY
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// None.
    None,
    /// Those that are reported while the operation is under way.
    Early,
    /// Those that are reported once the operation has succeeded.
    Late,
    /// All: the operation ends as soon as it starts.
    All,
}

impl Fields {
    /// Whether a field is one of these.
    #[must_use]
    pub fn include(self, is_early: bool) -> bool {
        match self {
            Self::None => false,
            Self::Early => is_early,
            Self::Late => !is_early,
            Self::All => true,
        }
    }
}

/// Content of `lastError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// Text for people.
    pub description: String,
    /// Codes for Gardener.
    pub codes: Vec<ErrorCode>,
}

/// What happens to the record of a script in the status.
#[derive(Clone, Debug, PartialEq)]
pub enum Bookkeeping {
    /// It stays.
    Keep,
    /// It goes, with its health conditions.
    Drop,
    /// The script is unusable: the record stays, and an Event names the mistake.
    Unusable(Invalid),
    /// This record replaces it.
    Put {
        /// The new record.
        record: Box<Record>,
        /// Whether this is the first write of the attempt: an Event names the rule.
        is_first: bool,
    },
}

/// A change of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Remove the operation annotation.
    pub drop_operation: bool,
    /// What happens to our finalizer.
    pub finalizer: Finalizer,
    /// Remove the timestamp annotation. Only a fault does so.
    pub strip_timestamp: bool,
}

/// What happens to our finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// It stays as it is.
    Keep,
    /// It is added.
    Add,
    /// It is removed.
    Remove,
}

impl Step {
    /// Writes of an operation.
    pub(crate) fn write(operation: OperationType, writes: Vec<Write>) -> Self {
        Self::Write(Plan { operation, writes })
    }

    /// Releases a deleted object: removes our finalizer.
    pub(crate) fn release() -> Self {
        Self::write(OperationType::Delete, vec![Write::Metadata(Change::new(false, Finalizer::Remove))])
    }
}

impl Plan {
    /// The plan that reports why a request of this one was refused. The operation fails and is retried.
    #[must_use]
    pub fn refused(&self, error: LastError) -> Self {
        let mut report = Some(Report::failed(self.operation, error));
        let writes = self.writes.iter().filter_map(|write| match write {
            Write::Metadata(change) => change.without_removal().write(),
            Write::Status(_) | Write::Conditions(_) => report.take().map(|report| Write::Status(Box::new(report))),
        });
        Self { operation: self.operation, writes: writes.collect() }
    }
}

impl Report {
    /// A report without a script. Processing keeps the record of a script for the second write of the operation.
    #[must_use]
    pub const fn plain(state: State) -> Self {
        let processing = matches!(state, State::Processing);
        let bookkeeping = if processing { Bookkeeping::Keep } else { Bookkeeping::Drop };
        let outcome = if matches!(state, State::Succeeded) { Fields::All } else { Fields::None };
        Self { state, progress: None, description: None, error: None, outcome, bookkeeping }
    }

    /// A report of an unusable value.
    #[must_use]
    pub fn refused(operation: OperationType, invalid: &Invalid) -> Self {
        Self::failed(operation, LastError::from(invalid))
    }

    /// A report of a failed operation. The record of a script stays.
    fn failed(operation: OperationType, error: LastError) -> Self {
        Self {
            state: State::Error,
            progress: None,
            description: Some(failure(operation, &error.description)),
            error: Some(error),
            outcome: Fields::None,
            bookkeeping: Bookkeeping::Keep,
        }
    }

    /// A report of an unusable script.
    #[must_use]
    pub fn unusable_script(operation: OperationType, invalid: Invalid) -> Self {
        let refused = Self::refused(operation, &invalid);
        Self { bookkeeping: Bookkeeping::Unusable(invalid), ..refused }
    }

    /// The record that this report writes.
    #[must_use]
    pub const fn record(&self) -> Option<&Record> {
        match &self.bookkeeping {
            Bookkeeping::Put { record, .. } => Some(record),
            _ => None,
        }
    }

    /// How this report breaks the contract on purpose.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.record().and_then(Record::fault)
    }
}

/// Description of a failed operation.
pub(super) fn failure(operation: OperationType, why: &str) -> String {
    format!("{} failed: {why}", operation.as_str())
}

impl From<&Invalid> for LastError {
    fn from(invalid: &Invalid) -> Self {
        Self { description: invalid.to_string(), codes: vec![ErrorCode::ConfigurationProblem] }
    }
}

impl Change {
    pub(crate) const fn new(drop_operation: bool, finalizer: Finalizer) -> Self {
        Self { drop_operation, finalizer, strip_timestamp: false }
    }

    /// The change of an operation that fails: our finalizer stays.
    pub(crate) const fn without_removal(self) -> Self {
        match self.finalizer {
            Finalizer::Remove => Self { finalizer: Finalizer::Keep, ..self },
            _ => self,
        }
    }

    /// The write of this change. Returns `None` if nothing changes.
    pub(crate) fn write(self) -> Option<Write> {
        let changes = self.drop_operation || self.strip_timestamp || self.finalizer != Finalizer::Keep;
        changes.then_some(Write::Metadata(self))
    }
}
