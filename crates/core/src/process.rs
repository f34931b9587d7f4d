//! Everything that a controller process needs besides reconciling: flags, log, client, admin port, leadership,
//! shutdown.

pub mod admin;
pub mod args;
pub mod client;
pub mod heartbeat;
pub mod lease;
pub(crate) mod log;
pub(crate) mod message;
pub mod metrics;
pub(crate) mod outage;
mod quota;
pub(crate) mod shutdown;
pub(crate) mod unreachable;
