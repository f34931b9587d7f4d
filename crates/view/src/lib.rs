//! What a person sees of running shoots: a table of their objects on a screen, and durations and errors in words.
#![allow(clippy::print_stdout, reason = "the screen is standard output")]

mod board;
mod screen;
pub mod words;

pub use board::{Board, Size};
pub use screen::Screen;
