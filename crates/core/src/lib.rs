//! The generic reconciler that succeeds an extension object, and everything else that a controller process needs.
//!
//! The data's way: [`run`] watches and decodes, [`reconcile`] carries out what [`decide`] decides by the bodies that
//! [`patch`] builds. A kind is an [`extension::Extension`].

pub mod admin;
pub mod admission;
pub mod args;
pub mod behaviour;
mod client;
pub mod cluster;
pub mod contract;
pub mod decide;
pub mod events;
pub mod extension;
pub mod heartbeat;
pub mod lease;
pub mod metrics;
pub mod objects;
pub mod patch;
mod problem;
pub mod queue;
pub mod rbac;
pub mod reconcile;
pub mod run;
mod shutdown;
pub mod watched;

pub use run::main;
