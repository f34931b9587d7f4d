//! What the demo knows of each object, and the picture of it: pure, so that it can be tested.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, modifiers, presets};
use k8s_openapi::jiff::Timestamp;
use mock_core::behaviour::{Phase as Attempt, Record};
use mock_testbed::gardenlet::{Phase, Progress, Report};

use crate::words::{duration, percentile};

/// With more shoots, rows of single objects would only rush by.
const SHOOTS_IN_DETAIL: usize = 3;

/// What may be covered.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) columns: u16,
    pub(super) rows: usize,
}

/// An object in a phase.
struct Row {
    phase: Phase,
    kind: &'static str,
    name: String,
    spec_type: String,
    state: State,
    /// What the script of the object has it do.
    script: Option<Record>,
    /// The time of what is done: a phase may ask an object for two things, as migration does.
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

/// `attempt 2, rule 1 (quota), 12.3 s left`
fn scripted(record: &Record, now: Timestamp) -> String {
    let rule = record.rule.as_ref().map(|rule| {
        let name = rule.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!(", rule {}{name}", rule.number)
    });
    let left = match (record.phase, record.due) {
        (Attempt::Served, _) => String::new(),
        (_, None) => ", for ever".to_owned(),
        (phase, Some(due)) => {
            let left = duration(Duration::try_from(due.duration_since(now)).unwrap_or_default());
            if phase == Attempt::Failed { format!(", again in {left}") } else { format!(", {left} left") }
        }
    };
    format!("attempt {}{}{left}", record.attempt, rule.unwrap_or_default())
}

/// The sums of several rows.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    total: usize,
    stuck: usize,
    /// From request to ready, sorted.
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

/// Everything that was reported.
pub(super) struct Board {
    shoots: usize,
    rows: Vec<Row>,
    /// Where in `rows` an object of the present phase stands.
    index: HashMap<Key, usize>,
    phases: Vec<Phase>,
    /// All objects there ever were.
    objects: HashSet<Key>,
}

impl Board {
    pub(super) fn new(shoots: usize) -> Self {
        Self { shoots, rows: Vec::new(), index: HashMap::new(), phases: Vec::new(), objects: HashSet::new() }
    }

    /// Takes a report in; returns a line about it if the object is done or stuck.
    pub(super) fn add(&mut self, report: Report) -> Option<String> {
        let Report { phase, namespace, kind, name, spec_type, script, what } = report;
        if self.phases.last() != Some(&phase) {
            self.phases.push(phase);
            self.index.clear();
        }
        let line = match &what {
            // Without a rule, what happens on the way takes milliseconds.
            Progress::State(state) => {
                let pending = script.as_ref().filter(|record| record.rule.is_some() && record.phase != Attempt::Served);
                pending.map(|record| (state.as_str(), scripted(record, Timestamp::now())))
            }
            Progress::Requested => None,
            Progress::Ready(took) => Some(("Succeeded", duration(*took))),
            Progress::Gone(took) => Some(("gone", duration(*took))),
            Progress::Stuck(rule) => Some(("STUCK", rule.clone())),
        };
        // What varies in length comes last.
        let line = line.map(|(state, more)| {
            let object = format!("{namespace}/{name} ({spec_type})");
            format!("{:<9} {kind:<21} {state:<9} {more:>7}  {object}", phase.as_str())
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
            // An object that is gone has none any more.
            row.script = script.or(row.script.take());
            row.spent += took;
        } else {
            let (namespace, _, name) = &key;
            let name = if self.shoots > 1 { format!("{namespace}/{name}") } else { name.clone() };
            self.rows.push(Row { phase, kind, name, spec_type, state, script, spent: took });
            self.objects.insert(key.clone());
            self.index.insert(key, self.rows.len() - 1);
        }
        line
    }

    /// The kinds of which an object is stuck, else those of which one is not done.
    pub(super) fn stuck(&self) -> Vec<&'static str> {
        let kinds = |which: fn(&State) -> bool| {
            let mut kinds: Vec<_> = self.rows.iter().filter(|row| which(&row.state)).map(|row| row.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        };
        let stuck = kinds(|state| matches!(state, State::Stuck));
        if stuck.is_empty() { kinds(|state| matches!(state, State::Waiting(_))) } else { stuck }
    }

    /// All of it in less than a line.
    pub(super) fn summary(&self) -> String {
        let sums = Sums::of(&self.rows);
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let times = match sums.ready() {
            0 => String::new(),
            _ => format!(", p50 {}, max {}", sums.time(50), sums.time(100)),
        };
        let (objects, phases) = (count(self.objects.len(), "object"), count(self.phases.len(), "phase"));
        format!("{objects}, {phases}: {} of {} ready{times}", sums.ready(), sums.total)
    }

    /// A table that fits: of everything if there is room, else with the earlier phases in one line each, else with
    /// one line a kind.
    pub(super) fn picture(&self, size: Size, coloured: bool) -> String {
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
        // A terminal this small shows the end of it, where the work goes on.
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

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).apply_modifier(modifiers::UTF8_ROUND_CORNERS);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(phase: Phase, namespace: &str, kind: &'static str, what: Progress) -> Report {
        let (namespace, name, spec_type) = (namespace.to_owned(), "foo".to_owned(), "mock".to_owned());
        Report { phase, namespace, kind, name, spec_type, script: None, what }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_object_has_a_row_for_each_phase() {
        let mut board = Board::new(1);
        assert_eq!(board.add(report(Phase::Create, "ns", "Worker", Progress::Requested)), None);
        assert_eq!(board.stuck(), ["Worker"]);
        let line = board.add(report(Phase::Create, "ns", "Worker", Progress::Ready(millis(12)))).unwrap();
        assert_eq!(line, "create    Worker                Succeeded   12 ms  ns/foo (mock)");
        board.add(report(Phase::Delete, "ns", "Worker", Progress::Requested));
        board.add(report(Phase::Delete, "ns", "Worker", Progress::Gone(millis(40))));
        assert_eq!(board.summary(), "1 object, 2 phases: 2 of 2 ready, p50 12 ms, max 40 ms");
        assert!(board.stuck().is_empty());

        let picture = board.picture(Size { columns: 100, rows: 30 }, false);
        let rows: Vec<_> = picture.lines().filter(|line| line.contains("Worker")).collect();
        assert_eq!(rows.len(), 2, "{picture}");
        assert!(rows[0].contains("create") && rows[0].contains("foo") && rows[1].contains("gone"), "{picture}");
    }

    #[test]
    fn what_does_not_fit_is_summed_up() {
        let mut board = Board::new(100);
        for shoot in 0..100 {
            for kind in ["Infrastructure", "Network"] {
                board.add(report(Phase::Create, &format!("ns-{shoot}"), kind, Progress::Ready(millis(shoot + 1))));
            }
        }
        board.add(report(Phase::Reconcile, "ns-1", "Network", Progress::Stuck("a rule".to_owned())));
        let picture = board.picture(Size { columns: 100, rows: 30 }, false);
        let create: Vec<_> = picture.lines().filter(|line| line.contains("create")).collect();
        assert_eq!(create.len(), 2, "{picture}");
        for cell in ["100", "50 ms", "99 ms", "100 ms"] {
            assert!(create[0].contains(cell), "{picture}");
        }
        let small = board.picture(Size { columns: 100, rows: 6 }, false);
        assert!(small.lines().count() <= 6 && small.contains("all"), "{small}");
        assert!(board.picture(Size { columns: 100, rows: 3 }, false).lines().count() <= 3);
        assert_eq!(board.stuck(), ["Network"]);
    }

    #[test]
    fn a_scripted_object_shows_attempt_rule_and_time_left() {
        let now: Timestamp = "2026-08-20T10:00:00Z".parse().unwrap();
        let record = |phase: &str, due: Option<&str>| -> Record {
            let rule = serde_json::json!({ "number": 1, "name": "quota", "action": "succeed" });
            serde_json::from_value(serde_json::json!({ "phase": phase, "operation": "Create", "attempt": 2, "seed": 7,
                "rule": rule, "start": now, "due": due }))
            .unwrap()
        };
        let due = Some("2026-08-20T10:00:12.3Z");
        assert_eq!(scripted(&record("Running", due), now), "attempt 2, rule 1 (quota), 12.3 s left");
        assert_eq!(scripted(&record("Failed", due), now), "attempt 2, rule 1 (quota), again in 12.3 s");
        assert_eq!(scripted(&record("Running", None), now), "attempt 2, rule 1 (quota), for ever");
        assert_eq!(scripted(&record("Served", None), now), "attempt 2, rule 1 (quota)");

        let mut board = Board::new(1);
        let report = report(Phase::Create, "ns", "Worker", Progress::State("Create Error 50%".to_owned()));
        board.add(Report { script: Some(record("Failed", due)), ..report });
        let picture = board.picture(Size { columns: 150, rows: 30 }, false);
        assert!(picture.contains("script") && picture.contains("attempt 2, rule 1 (quota)"), "{picture}");
    }
}
