//! Where the demo shows what happens: a table drawn over and over in a terminal, lines in a pipe.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crossterm::{
    cursor, queue, terminal,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};
use mock_testbed::gardenlet::Report;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use super::table::{Board, Size};

/// Faster than the eye, and nothing beside the work of the API server.
const FRAME: Duration = Duration::from_millis(80);

pub(super) struct Screen {
    live: bool,
    coloured: bool,
    /// How many lines were drawn last, to be drawn over.
    drawn: usize,
    /// Printed above the table at the next drawing.
    notes: Vec<String>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let live = io::stdout().is_terminal();
        let coloured = live && std::env::var_os("NO_COLOR").is_none();
        Self { live, coloured, drawn: 0, notes: Vec::new() }
    }

    /// Shows the reports until there will be no more.
    pub(super) async fn show(
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
                            println!("{line}");
                        }
                    }
                    None => return,
                },
                Some(note) = notes.recv() => {
                    if self.live { self.notes.push(note); } else { println!("{note}"); }
                }
                _ = frame.tick(), if self.live => self.draw(board),
            }
        }
    }

    /// Shows how everything ended.
    pub(super) fn last(&mut self, board: &Board) {
        if self.live {
            self.draw(board);
        }
    }

    fn draw(&mut self, board: &Board) {
        // A terminal that cannot be written to has nobody in front of it; the exit code still tells.
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
