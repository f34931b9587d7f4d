//! The state of each reported object, and a table of it. Nothing here reads or writes anything outside.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, modifiers, presets};
use k8s_openapi::jiff::Timestamp;
use mock_core::script::{Phase as Attempt, Record};
use mock_gardenlet::{Phase, Progress, Report};

use crate::words::{duration, percentile};

/// With more shoots than these, the table has no rows of single objects.
const SHOOTS_IN_DETAIL: usize = 3;

/// The space for a table.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Width, in characters.
    pub columns: u16,
    /// Height, in lines.
    pub rows: usize,
}

/// An object in a phase.
struct Row {
    phase: Phase,
    kind: &'static str,
    name: String,
    spec_type: String,
    state: State,
    /// The bookkeeping of the object's script.
    script: Option<Record>,
    /// The time of all finished operations. A phase may have two for one object, as migration has.
    spent: Duration,
}

enum State {
    Waiting(String),
    Done(&'static str),
    Stuck,
}

impl Row {
    fn cells(&self, with_script: bool, now: Timestamp) -> Vec<Cell> {
        let (state, colour, took) = match &self.state {
            State::Waiting(state) => (state.as_str(), Color::Yellow, String::new()),
            State::Done(state) => (*state, Color::Green, duration(self.spent)),
            State::Stuck => ("stuck", Color::Red, String::new()),
        };
        let mut cells = vec![
            Cell::new(self.phase.as_str()),
            Cell::new(self.kind),
            Cell::new(&self.name),
            Cell::new(&self.spec_type),
            Cell::new(state).fg(colour),
        ];
        if with_script {
            cells.push(Cell::new(self.script.as_ref().map(|record| scripted(record, now)).unwrap_or_default()));
        }
        cells.push(Cell::new(took).set_alignment(CellAlignment::Right));
        cells
    }
}

/// Describes the state of an object's script: `attempt 2, rule 1 (quota), 12.3 s left`.
fn scripted(record: &Record, now: Timestamp) -> String {
    let rule = record.rule.as_ref().map(|rule| {
        let name = rule.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!(", rule {}{name}", rule.number)
    });
    let left = match (record.phase, record.due) {
        (Attempt::Done, _) => String::new(),
        (_, None) => ", for ever".to_owned(),
        (phase, Some(due)) => {
            let left = duration(Duration::try_from(due.duration_since(now)).unwrap_or_default());
            if phase == Attempt::Failed { format!(", again in {left}") } else { format!(", {left} left") }
        }
    };
    format!("attempt {}{}{left}", record.attempt, rule.unwrap_or_default())
}

/// Sums over several rows.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    total: usize,
    stuck: usize,
    /// Times from request to ready, in ascending order.
    times: Vec<Duration>,
}

impl Sums {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut sums = Self::default();
        for row in rows {
            sums.total += 1;
            match row.state {
                State::Waiting(_) => {}
                State::Done(_) => sums.times.push(row.spent),
                State::Stuck => sums.stuck += 1,
            }
        }
        sums.times.sort_unstable();
        sums
    }

    fn ready(&self) -> usize {
        self.times.len()
    }

    fn colour(&self) -> Color {
        if self.stuck > 0 {
            Color::Red
        } else if self.ready() == self.total {
            Color::Green
        } else {
            Color::Yellow
        }
    }

    fn time(&self, percent: usize) -> String {
        percentile(&self.times, percent).map(duration).unwrap_or_default()
    }
}

/// The namespace, kind and name of an object.
type Key = (String, &'static str, String);

/// All objects that were reported.
pub struct Board {
    shoots: usize,
    rows: Vec<Row>,
    /// The index in `rows` of each object of the current phase.
    index: HashMap<Key, usize>,
    phases: Vec<Phase>,
    /// All objects of all phases.
    objects: HashSet<Key>,
}

impl Board {
    /// An empty board for this many shoots.
    #[must_use]
    pub fn new(shoots: usize) -> Self {
        Self { shoots, rows: Vec::new(), index: HashMap::new(), phases: Vec::new(), objects: HashSet::new() }
    }

    /// Adds a report. Returns a line about it if the object is done or stuck, or if a rule of its script applies.
    pub fn add(&mut self, report: Report) -> Option<String> {
        let Report { phase, namespace, kind, name, spec_type, conditions, what } = report;
        let script = Record::find(&conditions);
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
            self.index.clear();
        }
        let line = match &what {
            // Without a rule, an object is in such a state for milliseconds.
            Progress::State(state) => {
                let pending = script.as_ref().filter(|record| record.rule.is_some() && record.phase != Attempt::Done);
                pending.map(|record| (state.as_str(), scripted(record, Timestamp::now())))
            }
            Progress::Requested => None,
            Progress::Ready(took) => Some(("Succeeded", duration(*took))),
            Progress::Gone(took) => Some(("gone", duration(*took))),
            Progress::Stuck(rule) => Some(("STUCK", rule.clone())),
        };
        // The object comes last since its length varies.
        let line = line.map(|(state, more)| {
            let object = format!("{} ({spec_type})", full_name(&namespace, &name));
            format!("{:<9} {kind:<23} {state:<9} {more:>7}  {object}", phase.as_str())
        });
        let (state, took) = match what {
            Progress::Requested => (State::Waiting("requested".to_owned()), Duration::ZERO),
            Progress::State(state) => (State::Waiting(state), Duration::ZERO),
            Progress::Ready(took) => (State::Done("Succeeded"), took),
            Progress::Gone(took) => (State::Done("gone"), took),
            Progress::Stuck(_) => (State::Stuck, Duration::ZERO),
        };
        let key = (namespace, kind, name);
        if let Some(row) = self.index.get(&key).and_then(|index| self.rows.get_mut(*index)) {
            row.state = state;
            // A deleted object has no conditions: keep its last record.
            row.script = script.or(row.script.take());
            row.spent += took;
        } else {
            let (namespace, _, name) = &key;
            let name = if self.shoots > 1 { full_name(namespace, name) } else { name.clone() };
            self.rows.push(Row { phase, kind, name, spec_type, state, script, spent: took });
            self.objects.insert(key.clone());
            self.index.insert(key, self.rows.len() - 1);
        }
        line
    }

    /// The kinds of stuck objects. If no object is stuck: the kinds of objects that are not done.
    #[must_use]
    pub fn stuck(&self) -> Vec<&'static str> {
        let kinds = |which: fn(&State) -> bool| {
            let mut kinds: Vec<_> = self.rows.iter().filter(|row| which(&row.state)).map(|row| row.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        let stuck = kinds(|state| matches!(state, State::Stuck));
        if stuck.is_empty() { kinds(|state| matches!(state, State::Waiting(_))) } else { stuck }
    }

    /// Summarises the board in less than one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let sums = Sums::of(&self.rows);
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let times = match sums.ready() {
            0 => String::new(),
            _ => format!(", p50 {}, max {}", sums.time(50), sums.time(100)),
        };
        let (objects, phases) = (count(self.objects.len(), "object"), count(self.phases.len(), "phase"));
        format!("{objects}, {phases}: {} of {} ready{times}", sums.ready(), sums.total)
    }

    /// A table that fits into `size`. It has a row for each object if there is room. Otherwise earlier phases get one
    /// row each, and after that objects of a kind get one row together.
    #[must_use]
    pub fn picture(&self, size: Size, coloured: bool) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let detailed = self.shoots <= SHOOTS_IN_DETAIL;
        let candidates = [
            detailed.then(|| self.objects_table(&[])),
            detailed.then(|| self.objects_table(self.earlier_phases())),
            Some(self.kinds_table(&[])),
            Some(self.kinds_table(self.earlier_phases())),
        ];
        let mut picture = String::new();
        for mut table in candidates.into_iter().flatten() {
            table.set_width(size.columns);
            if coloured {
                table.enforce_styling();
            } else {
                table.force_no_tty();
            }
            picture = table.to_string();
            if picture.lines().count() <= size.rows {
                return picture;
            }
        }
        // In a terminal that is too small for every table, show the current phase, which is at the end.
        let lines: Vec<_> = picture.lines().collect();
        lines.get(lines.len().saturating_sub(size.rows)..).unwrap_or_default().join("\n")
    }

    fn earlier_phases(&self) -> &[Phase] {
        self.phases.split_last().map(|(_, earlier)| earlier).unwrap_or_default()
    }

    fn of_phase(&self, phase: Phase) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.phase == phase)
    }

    fn objects_table(&self, in_short: &[Phase]) -> Table {
        let with_script = self.rows.iter().any(|row| row.script.is_some());
        let script: &[&str] = if with_script { &["script"] } else { &[] };
        let mut table = table(&[&["phase", "kind", "name", "type", "state"], script, &["time"]].concat());
        let now = Timestamp::now();
        for phase in &self.phases {
            if in_short.contains(phase) {
                let sums = Sums::of(self.of_phase(*phase));
                let mut cells = vec![
                    Cell::new(phase.as_str()),
                    Cell::new(format!("{} objects", sums.total)),
                    Cell::new(""),
                    Cell::new(""),
                    Cell::new(format!("{} ready", sums.ready())).fg(sums.colour()),
                ];
                cells.extend(script.iter().map(|_| Cell::new("")));
                cells.push(Cell::new(format!("max {}", sums.time(100))).set_alignment(CellAlignment::Right));
                table.add_row(cells);
            } else {
                table.add_rows(self.of_phase(*phase).map(|row| row.cells(with_script, now)));
            }
        }
        table
    }

    fn kinds_table(&self, in_short: &[Phase]) -> Table {
        let mut table = table(&["phase", "kind", "total", "ready", "p50", "p99", "max"]);
        let mut add = |phase: Phase, kind: &str, sums: &Sums| {
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([
                Cell::new(phase.as_str()),
                Cell::new(kind),
                right(sums.total.to_string()),
                right(sums.ready().to_string()).fg(sums.colour()),
                right(sums.time(50)),
                right(sums.time(99)),
                right(sums.time(100)),
            ]);
        };
        for phase in &self.phases {
            if in_short.contains(phase) {
                add(*phase, "all", &Sums::of(self.of_phase(*phase)));
                continue;
            }
            let mut kinds = Vec::new();
            for row in self.of_phase(*phase) {
                if !kinds.contains(&row.kind) {
                    kinds.push(row.kind);
                }
            }
            for kind in kinds {
                add(*phase, kind, &Sums::of(self.of_phase(*phase).filter(|row| row.kind == kind)));
            }
        }
        table
    }
}

/// Namespace and name; a cluster-scoped object has no namespace.
fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).apply_modifier(modifiers::UTF8_ROUND_CORNERS);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

#[cfg(test)]
mod tests;
