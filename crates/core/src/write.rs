//! Turns a plan into requests, as data. Nothing here sends them.

pub mod compose;
mod created;
pub mod patch;
