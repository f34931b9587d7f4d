//! The operations on a Shoot.

use std::fmt;

/// An operation on a whole Shoot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The owner created the Shoot.
    Create,
    /// The owner requested a reconciliation, including the Infrastructure.
    Reconcile,
    /// The owner hibernated the Shoot.
    Hibernate,
    /// The owner woke the Shoot up.
    Wake,
    /// The Shoot leaves this seed.
    Migrate,
    /// The Shoot arrives from another seed, with the state that [`Phase::Migrate`] saved in its plan.
    Restore,
    /// The owner deleted the Shoot.
    Delete,
    /// The owner gave up the infrastructure and deleted the Shoot.
    ForceDelete,
}

impl Phase {
    /// The name of the phase, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reconcile => "reconcile",
            Self::Hibernate => "hibernate",
            Self::Wake => "wake",
            Self::Migrate => "migrate",
            Self::Restore => "restore",
            Self::Delete => "delete",
            Self::ForceDelete => "force-delete",
        }
    }

    /// The Shoot's `status.lastOperation.type` during the phase.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Reconcile | Self::Hibernate | Self::Wake => "Reconcile",
            Self::Migrate => "Migrate",
            Self::Restore => "Restore",
            Self::Delete | Self::ForceDelete => "Delete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
