//! Shows a board on standard output: in a terminal as a table that is drawn again and again, in a pipe as lines.

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
    /// How many lines the last drawing has; the next one replaces them.
    drawn: usize,
    /// Lines that are printed above the table at the next drawing.
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
        Self { live, coloured, drawn: 0, notes: Vec::new() }
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
                Some(note) = notes.recv() => {
                    if self.live { self.notes.push(note); } else { say!("{note}"); }
                }
                _ = frame.tick(), if self.live => self.draw(board),
            }
        }
    }

    /// Draws the board a last time, if standard output is a terminal.
    pub fn last(&mut self, board: &Board) {
        if self.live {
            self.draw(board);
        }
    }

    fn draw(&mut self, board: &Board) {
        // If the terminal is gone, an error cannot be shown either. The exit code still tells the result.
        let _ = self.try_draw(board);
    }

    fn try_draw(&mut self, board: &Board) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let size = Size { columns, rows: usize::from(rows).saturating_sub(2) };
        let picture = board.picture(size, self.coloured);
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        if self.drawn > 0 {
            queue!(out, cursor::MoveUp(u16::try_from(self.drawn).unwrap_or(u16::MAX)), cursor::MoveToColumn(0))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        for note in self.notes.drain(..) {
            writeln!(out, "{note}")?;
        }
        self.drawn = picture.lines().count();
        if self.drawn > 0 {
            writeln!(out, "{picture}")?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }
}
