//! `cargo xtask bench`: how fast the controllers are, beside the limit that the API server sets.

mod chart;
mod figures;
mod statistics;
mod table;
mod words;
