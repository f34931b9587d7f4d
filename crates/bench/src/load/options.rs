//! What a load consists of, and how fast it comes.

use std::time::Duration;

use extension_contract::OperationType;

/// What happens to all objects of all Shoots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// gardenlet creates the objects, after their namespace and Cluster.
    Create,
    /// gardenlet requests a reconciliation, after it has changed the Cluster.
    Reconcile,
    /// gardenlet requests a migration, so that another seed can take over.
    Migrate,
    /// gardenlet of the other seed creates the objects again and requests a restoration.
    Restore,
    /// gardenlet confirms the deletion and deletes the objects.
    Delete,
}

impl Phase {
    /// The name for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reconcile => "reconcile",
            Self::Migrate => "migrate",
            Self::Restore => "restore",
            Self::Delete => "delete",
        }
    }

    /// The operation on the Shoot and its objects.
    pub(crate) const fn operation(self) -> OperationType {
        match self {
            Self::Create => OperationType::Create,
            Self::Reconcile => OperationType::Reconcile,
            Self::Migrate => OperationType::Migrate,
            Self::Restore => OperationType::Restore,
            Self::Delete => OperationType::Delete,
        }
    }
}

/// The party that answers the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Controllers.
    Controllers,
    /// The load generator itself, with the fewest writes that a controller must make.
    Baseline,
    /// None. An object counts as ready as soon as the watch shows the request.
    None,
}

/// How large a load is, and how fast it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The number of the first Shoot.
    pub(crate) first: usize,
    /// How many Shoots there are.
    pub(crate) shoots: usize,
    /// How many requests of the generator are in flight at the same time, in a burst.
    pub(crate) writers: usize,
    /// Objects per second, requested at this rate even if earlier ones are not ready. `None` means a burst: as many as
    /// the writers can.
    pub(crate) rate: Option<f64>,
    /// Time between the request for a Cluster and the requests for its objects. It does not count as part of a phase.
    pub(crate) lead: Duration,
    /// The party that answers.
    pub(crate) answer: Answer,
}
