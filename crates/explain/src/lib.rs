//! Why does a Shoot wait? For each extension object: gardenlet's rule, what it does not meet, since when, until when
//! gardenlet waits, who should act, and what a script does next.
//!
//! [`read`] and [`watch`] ask the API server. Everything else is pure: [`explain`] turns what was read into an
//! [`Explanation`].
//! Rules come from [`extension_contract`], the same code by which tests judge an extension.

pub mod act;
pub mod deployments;
pub mod explanation;
pub mod find;
pub mod garden;
pub mod heartbeat;
pub mod history;
pub mod ours;
pub mod outage;
pub mod patience;
pub mod read;
pub mod rule;
pub mod secrets;
pub mod seed;
pub mod watch;
pub mod words;

#[cfg(test)]
mod tests;

pub use explanation::{Explanation, explain};
pub use history::History;
pub use ours::Ours;
pub use outage::Outage;
pub use read::{ReadError, Reader};
pub use seed::{Found, Seed};
pub use watch::Watching;
