//! The generic reconciler of extension objects, and everything else that a controller process needs.
//!
//! Data flows one way. [`watch`] decodes events and queues keys. [`reconcile`] handles one object:
//! [`decide`](mod@decide) plans, [`write`](mod@write) composes requests, and [`send`] sends them. The watch events of
//! these writes come back through [`watch`]. A kind is a [`kind::MockKind`].

pub mod context;
pub mod decide;
pub mod deploy;
pub mod error;
pub mod events;
pub mod invalid;
pub mod k8s;
pub mod kind;
mod pipeline;
pub mod process;
pub mod reconcile;
pub mod rehearse;
mod round;
mod run;
pub mod script;
pub mod send;
pub mod start_error;
pub mod watch;
pub mod write;

/// Gardener's extension contract, for kinds.
pub use extension_contract as contract;
pub use run::main;
