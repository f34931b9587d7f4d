//! What a process knows of the seed: objects and Clusters as the watches show them, and the queue of what to reconcile.

pub mod ahead;
pub mod clusters;
pub mod decode;
pub(crate) mod informer;
pub mod key;
pub mod memory;
pub mod namespaces;
pub mod queue;
pub(crate) mod reach;
