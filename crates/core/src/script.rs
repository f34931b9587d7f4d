//! Scripts of delays, failures and faults: what a user may write, how it is read, what is drawn, and how the status
//! records it. Nothing here decides or writes.

pub mod conditions;
pub mod delay;
pub mod draw;
pub mod language;
pub mod read;
pub mod record;
pub mod simulate;
pub mod source;

pub use draw::{Choice, Draws, Subject, choose, drawn_seed};
pub use language::{
    Action, ApiVersion, Condition, ConditionStatus, Fault, MOCK_API_VERSION, Operation, Rule, SCRIPT_ANNOTATION, Script,
};
pub use record::{MOCK_SCRIPT, Phase, Record};

#[cfg(test)]
mod tests;
