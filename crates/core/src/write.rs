//! Turns a plan into requests, as data. Nothing here sends them.

pub mod compose;
pub mod patch;
