//! Shows what changes on standard output: in a terminal as a picture that is drawn again and again, in a pipe as lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{cursor, queue, terminal};
use mock_gardenlet::Report;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use crate::board::{Board, Size};
use crate::say;

/// Pause between two drawings. A person sees each change at once, and drawing costs little CPU.
const FRAME: Duration = Duration::from_millis(80);

/// Standard output, as a terminal or a pipe.
pub struct Screen {
    /// Whether it is a terminal.
    live: bool,
    coloured: bool,
    /// The last drawing and its size; the next one replaces it.
    drawn: (String, (u16, u16)),
    /// Lines that are printed above the picture at the next drawing.
    notes: Vec<String>,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// Standard output, with colours if it is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn new() -> Self {
        let live = io::stdout().is_terminal();
        let coloured = live && std::env::var_os("NO_COLOR").is_none();
        Self { live, coloured, drawn: Default::default(), notes: Vec::new() }
    }

    /// Whether there is a picture: whether it is a terminal.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// Adds the reports to the board and shows it and the notes. Returns when all senders of reports are dropped.
    pub async fn show(
        &mut self,
        board: &mut Board,
        reports: &mut UnboundedReceiver<Report>,
        notes: &mut UnboundedReceiver<String>,
    ) {
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                report = reports.recv() => match report {
                    Some(report) => {
                        if let Some(line) = board.add(report) && !self.live {
                            say!("{line}");
                        }
                    }
                    None => return,
                },
                Some(note) = notes.recv() => self.note(note),
                _ = frame.tick() => self.last(board),
            }
        }
    }

    /// Draws the board a last time, if standard output is a terminal.
    pub fn last(&mut self, board: &Board) {
        self.draw(|size, coloured| board.picture(size, coloured));
    }

    /// Prints a line that stays. In a terminal, it appears above the next picture.
    pub fn note(&mut self, note: String) {
        if self.live { self.notes.push(note) } else { say!("{note}") }
    }

    /// Replaces the picture, if standard output is a terminal. An empty one leaves nothing behind.
    pub fn draw(&mut self, picture: impl FnOnce(Size, bool) -> String) {
        if self.live {
            // If the terminal is gone, an error cannot be shown either. The exit code still tells the result.
            let _ = self.try_draw(picture);
        }
    }

    fn try_draw(&mut self, picture: impl FnOnce(Size, bool) -> String) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let picture = picture(Size { columns, rows: usize::from(rows).saturating_sub(2) }, self.coloured);
        let drawing = (picture, (columns, rows));
        // A person can select text while nothing changes.
        if drawing == self.drawn && self.notes.is_empty() {
            return Ok(());
        }
        // A terminal gets a drawing as a whole, also if the process is killed meanwhile.
        let mut out = Vec::new();
        queue!(out, BeginSynchronizedUpdate)?;
        let height = height(&self.drawn.0, columns);
        if height > 0 {
            queue!(out, cursor::MoveUp(height), cursor::MoveToColumn(0))?;
        }
        if !self.notes.is_empty() {
            queue!(out, Clear(ClearType::FromCursorDown))?;
        }
        for note in self.notes.drain(..) {
            writeln!(out, "{note}")?;
        }
        // Line by line: if a picture begins at the top, some terminals keep it for scrolling back once it is cleared as a
        // whole.
        for line in drawing.0.lines() {
            queue!(out, Clear(ClearType::UntilNewLine))?;
            writeln!(out, "{line}")?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        queue!(out, EndSynchronizedUpdate)?;
        self.drawn = drawing;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()
    }
}

/// How many lines of a terminal a picture takes. Terminals break its lines again if they become narrower.
fn height(picture: &str, columns: u16) -> u16 {
    let columns = usize::from(columns).max(1);
    let height = picture.lines().map(|line| width(line).div_ceil(columns).max(1)).sum::<usize>();
    u16::try_from(height).unwrap_or(u16::MAX)
}

/// The number of characters in a line, without the sequences that colour it, which end with `m`.
fn width(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let plain = parts.next().unwrap_or_default().chars().count();
    let coloured = parts.map(|part| part.split_once('m').map_or(0, |(_, text)| text.chars().count()));
    plain + coloured.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn height_is_that_after_the_terminal_has_become_narrower() {
        let picture = "\u{1b}[38;5;9m✗ four\u{1b}[39m m\n\n12345678";
        let table = [(80, 3), (8, 3), (7, 5), (4, 5), (3, 7), (0, 17)];
        for (columns, expected) in table {
            assert_eq!(height(picture, columns), expected, "{columns}");
        }
        assert_eq!(height("", 80), 0);
    }
}
