//! Tables of figures for the terminal.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, modifiers, presets};

/// A table with a title. Its first columns are words, the others numbers.
pub struct Section {
    title: String,
    words: usize,
    table: Table,
}

/// A cell. If it holds several numbers and is too narrow for them, its lines are broken between two numbers.
fn cell(text: &str) -> Cell {
    let cell = Cell::new(text);
    if text.contains('/') && text.starts_with(|c: char| c.is_ascii_digit() || c == '–') {
        cell.set_delimiter('/')
    } else {
        cell
    }
}

impl Section {
    /// Width of a table, in characters: that of a code block on a page of documentation.
    pub const WIDTH: u16 = 118;

    /// An empty table. The first columns, as many as `words`, hold words.
    #[must_use]
    pub fn new<S: Into<String>>(title: impl Into<String>, words: usize, header: impl IntoIterator<Item = S>) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).apply_modifier(modifiers::UTF8_ROUND_CORNERS).force_no_tty();
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(Self::WIDTH);
        table.set_header(header.into_iter().map(Into::into));
        table.column_iter_mut().skip(words).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        Self { title: title.into(), words, table }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells.into_iter().map(|text| cell(&text)));
    }

    /// Does not break lines in the columns of words.
    #[must_use]
    pub fn unbroken(mut self) -> Self {
        self.table.column_iter_mut().take(self.words).for_each(|column| {
            column.set_constraint(ColumnConstraint::ContentWidth);
        });
        self
    }

    /// Returns `None` if the table has no rows.
    #[must_use]
    pub fn render(self) -> Option<String> {
        (!self.table.is_empty()).then(|| format!("{}\n{}\n", self.title, self.table))
    }
}
