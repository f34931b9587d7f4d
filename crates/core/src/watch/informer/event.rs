//! What an informer tells.

use super::Trouble;
use crate::watch::key::Key;

/// What an [`Informer`](super::Informer) found out.
#[derive(Debug)]
pub(crate) enum Event<T> {
    /// A list begins. Everything that was known stays valid until the list has ended.
    ListBegan,
    /// The list contains this object.
    Listed(T),
    /// The list is complete, and shows everything up to this version. Objects that it did not contain are gone.
    ListEnded(u64),
    /// An object was created or changed.
    Changed(T),
    /// An object was deleted.
    Deleted(T),
    /// An object is gone, and no event has shown its deletion.
    Gone(Key),
    /// Everything up to this version has been shown.
    Reached(u64),
    /// Something failed. The informer retries.
    Failed(Trouble),
    /// The API server answers again.
    Answered,
}
