//! What a person sees of running shoots: a table of their objects on a screen, and figures in words, tables and pictures.

mod board;
pub mod chart;
mod files;
mod machine;
pub mod out;
mod paragraph;
mod screen;
mod section;
pub mod statistics;
pub mod words;

pub use board::{Board, Size};
pub use crossterm::style::Color;
pub use files::{FileError, Files};
pub use machine::Machine;
pub use paragraph::Paragraph;
pub use screen::Screen;
pub use section::Section;
