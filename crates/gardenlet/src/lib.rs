//! A stand-in for gardenlet: it writes a Shoot's extension objects in gardenlet's order, and waits for them by its
//! rules.
//!
//! If an extension breaks a rule, gardenlet waits until its timeout. The stand-in fails earlier, and names the rule. It
//! watches objects instead of polling them, so that measured times contain no polling interval.

mod flow;
mod gardenlet;
pub mod installation;
mod networks;
mod phase;
mod report;
mod rules;
pub mod shoot;
mod stuck;
mod target;
mod watched;

pub use self::gardenlet::Gardenlet;
pub use self::phase::Phase;
pub use self::report::{Progress, Report};
pub use self::stuck::Stuck;
