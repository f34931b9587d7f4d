//! From what is known of a garden to lines for a terminal.

use std::collections::BTreeMap;

use extension_contract::json::{get, list, text};
use extension_contract::kinds;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mock_explain::{Explanation, words};
use mock_garden::{Progress, progress};
use mock_view::{Color, Paragraph, Size};
use serde_json::Value;

use super::known::{Key, Known, Operand};

/// How an operation or an extension object gets on. The greatest is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Done,
    InWork,
    Failed,
}

impl Mark {
    const fn sign(self) -> (&'static str, Option<Color>) {
        match self {
            Self::Done => ("✓", Some(Color::Green)),
            Self::InWork => ("…", Some(Color::Yellow)),
            Self::Failed => ("✗", Some(Color::Red)),
        }
    }

    fn of(explanation: &Explanation) -> Self {
        let state = explanation.last_operation.as_ref().and_then(|last| text(last, "state"));
        match &explanation.waits {
            None => Self::Done,
            Some(waits) if waits.rule == "LastError" || matches!(state, Some("Error" | "Failed")) => Self::Failed,
            Some(_) => Self::InWork,
        }
    }
}

impl Operand {
    fn mark(&self) -> Mark {
        match progress(&self.object) {
            Progress::Done => Mark::Done,
            Progress::Failed(_) => Mark::Failed,
            Progress::Running(_) if text(&self.object, "status.lastOperation.state") == Some("Error") => Mark::Failed,
            Progress::Running(_) => Mark::InWork,
        }
    }
}

/// How much a picture shows of what gardenlets work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    Name,
    Steps,
    Objects,
}

/// As much of what is known as fits into a terminal.
pub(super) fn picture(known: &Known, size: Size, coloured: bool, now: Timestamp) -> String {
    let columns = usize::from(size.columns);
    // A Seed that is ready has a line of its step.
    let mut shown: Vec<_> =
        known.operands.iter().filter(|((kind, ..), operand)| kind != "Seed" || operand.mark() != Mark::Done).collect();
    let steps = steps_of(known, now);
    let steps: Vec<_> = steps.iter().flat_map(|step| step.lines(columns, coloured)).collect();
    let of = |(key, operand): &(&Key, &Operand), detail: Detail| {
        let paragraphs = paragraphs(key, operand, detail, now);
        paragraphs.iter().flat_map(|paragraph| paragraph.lines(columns, coloured)).collect::<Vec<_>>()
    };
    for detail in [Detail::Objects, Detail::Steps, Detail::Name] {
        let operands = shown.iter().flat_map(|operand| of(operand, detail));
        let lines: Vec<_> = steps.iter().cloned().chain(operands).collect();
        if lines.len() <= size.rows {
            return lines.join("\n");
        }
    }
    // What has failed or goes on matters more.
    shown.sort_by_key(|(_, operand)| match operand.mark() {
        Mark::Failed => 0,
        Mark::InWork => 1,
        Mark::Done => 2,
    });
    let room = size.rows.saturating_sub(steps.len() + 1);
    let (first, others) = shown.split_at(room.min(shown.len()));
    let lines = steps.into_iter().chain(first.iter().flat_map(|operand| of(operand, Detail::Name)));
    lines.chain(more(others).lines(columns, coloured)).collect::<Vec<_>>().join("\n")
}

/// The steps that go on, and where a load is.
fn steps_of(known: &Known, now: Timestamp) -> Vec<Paragraph> {
    let line = |(step, since): &(String, Timestamp)| {
        let begun = now.duration_since(known.begun.unwrap_or(*since)).as_secs();
        let time = Paragraph::new(0, 1).piece(&format!("[{begun:>6} s]"), None);
        let named = time.words("… next:", Some(Color::Yellow)).words(step, None);
        named.words(&format!("({})", age(*since, now)), None)
    };
    let passing = known.passing.iter().map(|passing| Paragraph::new(2, 2).words(passing.trim_start(), None));
    known.steps.iter().map(line).chain(passing).collect()
}

/// A sentence for those that have no line.
fn more(others: &[(&Key, &Operand)]) -> Paragraph {
    let count = |mark: Mark| others.iter().filter(|(_, operand)| operand.mark() == mark).count();
    let counts = [(Mark::Failed, "failed"), (Mark::InWork, "in work"), (Mark::Done, "done")];
    let counts = counts.map(|(mark, what)| (count(mark), what));
    let counts: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    Paragraph::new(0, 1).words(&format!("and {} more: {}", others.len(), counts.join(", ")), None)
}

/// What is shown of a Seed or Shoot. One that is done takes a line.
fn paragraphs(key: &Key, operand: &Operand, detail: Detail, now: Timestamp) -> Vec<Paragraph> {
    let mark = operand.mark();
    let mut paragraphs = vec![heading(key, operand)];
    if mark == Mark::Done || detail < Detail::Steps {
        return paragraphs;
    }
    let errors = list(&operand.object, "status.lastErrors");
    let goes_on = text(&operand.object, "status.lastOperation.state") == Some("Processing");
    // After a failure, the description repeats the errors.
    if let Some(steps) = steps(operand, now).filter(|_| goes_on || errors.is_empty()) {
        paragraphs.push(Paragraph::new(2, 2).words(&steps, None));
    }
    for error in errors {
        let description = text(error, "description").unwrap_or_default();
        paragraphs.push(Paragraph::new(2, 4).words(&format!("✗ {description}"), Some(Color::Red)));
    }
    if detail == Detail::Objects && !operand.objects.is_empty() {
        paragraphs.push(kinds(&operand.objects));
        let marked = operand.objects.iter().filter_map(|object| waiting(object, now));
        paragraphs.extend(marked);
    }
    paragraphs
}

/// The name and the last operation, with a bar while it goes on.
fn heading((kind, namespace, name): &Key, operand: &Operand) -> Paragraph {
    let object = &operand.object;
    let mark = operand.mark();
    let name = if kind == "Seed" { format!("Seed {name}") } else { format!("{namespace}/{name}") };
    let (sign, colour) = mark.sign();
    let line = Paragraph::new(0, 1).piece(sign, colour).words(&name, None);
    let operation = |field: &str| text(object, &format!("status.lastOperation.{field}"));
    let (Some(kind), Some(state)) = (operation("type"), operation("state")) else {
        return line.piece("gardenlet has not begun", colour);
    };
    let line = line.piece(&format!("{kind} {state}"), colour);
    if mark == Mark::Done {
        let asleep = get(object, "status.hibernated") == Some(&Value::Bool(true));
        let time = operation("lastUpdateTime").and_then(|time| time.parse::<Timestamp>().ok());
        let time = time.map(|time| time.strftime("at %H:%M:%S UTC").to_string()).unwrap_or_default();
        return line.words(&time, None).words(if asleep { "(hibernated)" } else { "" }, None);
    }
    let percent = get(object, "status.lastOperation.progress").and_then(Value::as_u64).unwrap_or_default().min(100);
    let full = usize::try_from(percent / 5).unwrap_or_default();
    let bar = "█".repeat(full) + &"░".repeat(20 - full);
    line.piece(&format!("{percent:>3} %"), None).piece(&bar, colour)
}

/// What gardenlet is at, the longest first.
fn steps(operand: &Operand, now: Timestamp) -> Option<String> {
    let mut steps: Vec<_> = operand.steps.iter().collect();
    steps.sort_by_key(|(_, since)| **since);
    let steps = steps.iter().map(|(step, since)| match since {
        Some(since) => format!("{step} ({})", age(*since, now)),
        None => (*step).clone(),
    });
    Some(steps.collect::<Vec<_>>().join(", ")).filter(|steps| !steps.is_empty())
}

/// The kinds of the extension objects, each with the worst mark of its objects.
fn kinds(objects: &[Explanation]) -> Paragraph {
    let order = |name: &str| kinds::ALL.iter().position(|kind| kind.name == name);
    let mut kinds = BTreeMap::<_, Vec<_>>::new();
    for object in objects {
        kinds.entry((order(object.kind), object.kind)).or_default().push(Mark::of(object));
    }
    let line = Paragraph::new(2, 3);
    kinds.iter().fold(line, |line, ((_, kind), marks)| {
        let (sign, colour) = marks.iter().max().copied().unwrap_or(Mark::Done).sign();
        let number = if marks.len() > 1 { format!(" × {}", marks.len()) } else { String::new() };
        line.piece(&format!("{sign} {kind}{number}"), colour)
    })
}

/// Why gardenlet waits for an object. Returns `None` if it does not.
fn waiting(object: &Explanation, now: Timestamp) -> Option<Paragraph> {
    let waits = object.waits.as_ref()?;
    let (sign, colour) = Mark::of(object).sign();
    let since = waits.since.map(|since| format!(" ({})", age(since, now))).unwrap_or_default();
    let text = format!("{sign} {} {}: {}{since}", object.kind, object.name, waits.why);
    let line = Paragraph::new(4, 3).words(&text, colour);
    // What is due at once is no news.
    let script = waits.script.as_ref().filter(|next| next.at.is_none_or(|at| at.duration_since(now).as_secs() > 0));
    Some(script.into_iter().fold(line, |line, next| {
        let at = next.at.map(|at| format!("in {}: ", age(now, at))).unwrap_or_default();
        line.words(&format!("— {at}{}", next.what), None)
    }))
}

/// The time between two moments, in whole seconds.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let age = if seconds < 60 { format!("{seconds} s") } else { words::span(SignedDuration::from_secs(seconds)) };
    // No line is broken within it.
    age.replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests;
