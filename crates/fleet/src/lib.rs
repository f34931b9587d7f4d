//! The kinds that have a controller, and the one way to build, start, await and stop these controllers.

pub mod cargo;
pub mod controller;
mod kept_alive;
pub mod kinds;
pub mod log;
mod measured;
pub mod signals;

pub use controller::{Controller, StartTimes};
pub use kept_alive::KeptAlive;
pub use measured::{Fleet, Processes};
