//! Coloured text that is fitted into the width of a terminal.

use crossterm::style::{Color, Stylize as _};

/// Further lines of a paragraph are indented by so much more.
const HANGING: usize = 2;

/// Pieces of text, on as few lines as they fit on. No piece is broken; one that is wider than a line is cut.
#[derive(Clone, Debug)]
pub struct Paragraph {
    indent: usize,
    most: usize,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    /// Spaces before it, unless it begins a line.
    gap: usize,
    text: String,
    colour: Option<Color>,
}

impl Paragraph {
    /// An empty paragraph: its indentation, and how many lines it may have at most.
    #[must_use]
    pub const fn new(indent: usize, most: usize) -> Self {
        Self { indent, most, pieces: Vec::new() }
    }

    /// Adds a piece, two spaces after the last one.
    #[must_use]
    pub fn piece(mut self, text: &str, colour: Option<Color>) -> Self {
        let text = text.chars().filter(|char| !char.is_control()).collect();
        self.pieces.push(Piece { gap: 2, text, colour });
        self
    }

    /// Adds words, each of which is a piece, a space after the last one. A space without a break (U+00A0) is part of a word.
    #[must_use]
    pub fn words(mut self, text: &str, colour: Option<Color>) -> Self {
        for word in text.split_ascii_whitespace() {
            self = self.piece(word, colour);
            self.pieces.iter_mut().next_back().into_iter().for_each(|piece| piece.gap = 1);
        }
        self
    }

    /// The lines, each of at most `columns` characters. If there are more than may be, the last one ends with `…`.
    #[must_use]
    pub fn lines(&self, columns: usize, coloured: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let (mut line, mut width) = (String::new(), 0);
        for (index, piece) in self.pieces.iter().enumerate() {
            // The last line needs room for the mark that says that there is more.
            let mark = if index + 1 < self.pieces.len() { 2 } else { 0 };
            let room = |is_last: bool| columns.saturating_sub(if is_last { mark } else { 0 });
            let mut is_last = lines.len() + 1 >= self.most;
            let mut length = piece.text.chars().count();
            if width > 0 && width + piece.gap + length > room(is_last) {
                if is_last {
                    line.push_str(" …");
                    break;
                }
                lines.push(std::mem::take(&mut line));
                width = 0;
                is_last = lines.len() + 1 >= self.most;
            }
            let room = room(is_last);
            let hanging = if lines.is_empty() { 0 } else { HANGING };
            let gap = if width == 0 { self.indent + hanging } else { piece.gap };
            let mut text = piece.text.clone();
            if width + gap + length > room {
                length = room.saturating_sub(width + gap);
                text = text.chars().take(length.saturating_sub(1)).chain(['…'].into_iter().take(length)).collect();
            }
            line.push_str(&" ".repeat(gap));
            match piece.colour {
                Some(colour) if coloured => line.push_str(&text.with(colour).to_string()),
                _ => line.push_str(&text),
            }
            width += gap + length;
        }
        lines.push(line);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(most: usize, columns: usize) -> Vec<String> {
        let paragraph = Paragraph::new(1, most).piece("one two", None).words("three\n four", None).piece("five", None);
        paragraph.lines(columns, false)
    }

    #[test]
    fn lines_are_broken_between_pieces_and_cut_after_the_last_one_that_may_be() {
        assert_eq!(lines(9, 40), [" one two three four  five"]);
        assert_eq!(lines(9, 18), [" one two three", "   four  five"]);
        assert_eq!(lines(9, 9), [" one two", "   three", "   four", "   five"]);
        assert_eq!(lines(2, 9), [" one two", "   thr… …"]);
        assert_eq!(lines(1, 18), [" one two three …"]);
        assert_eq!(lines(1, 6), [" on… …"]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for most in 1..5 {
            for columns in 6..50 {
                let lines = lines(most, columns);
                assert!(lines.len() <= most, "{lines:?}");
                assert!(lines.iter().all(|line| line.chars().count() <= columns), "{columns}: {lines:?}");
            }
        }
    }

    #[test]
    fn colours_take_no_room_and_control_characters_are_left_out() {
        let paragraph = Paragraph::new(0, 1).piece("a\u{1b}[31m", Some(Color::Red)).piece("b", None);
        assert_eq!(paragraph.lines(10, false), ["a[31m  b"]);
        // Whatever NO_COLOR says.
        crossterm::style::force_color_output(true);
        let coloured = paragraph.lines(8, true).concat();
        assert!(coloured.starts_with('\u{1b}') && coloured.ends_with("  b"), "{coloured:?}");
    }
}
