//! What a person sees of running shoots: a table of their objects on a screen, and durations and errors in words.

mod board;
pub mod out;
mod screen;
pub mod words;

pub use board::{Board, Size};
pub use screen::Screen;
