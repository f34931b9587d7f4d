//! The report for a person at a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, Color, Table, presets};

use super::Report;
use crate::finding::{Failure, Finding, Verdict};
use crate::rule::Level;

/// A table of the rules that were put to the test, those that were not, each failure, and the counts.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("{}\n", table(report));
    let mut left_out: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Finding { rule, verdict, .. } in &report.findings {
        if let Some(reason) = verdict.reason() {
            left_out.entry((verdict.word(), reason)).or_default().push(rule.name);
        }
    }
    for ((word, reason), rules) in left_out {
        let _ = writeln!(text, "\n{word}: {reason}\n    {}", rules.join("\n    "));
    }
    for (finding, failure) in report.failures(Level::May) {
        let _ = writeln!(text, "\n{}", paragraph(finding, failure));
    }
    let _ = writeln!(text, "\n{}: {}", report.subject, report.summary());
    text
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["section", "rule", "level", "result", "s"]);
    for Finding { rule, verdict, took } in &report.findings {
        let colour = match verdict {
            Verdict::Passed => Color::Green,
            Verdict::Failed(_) => Color::Red,
            Verdict::NotJudged(_) => Color::Yellow,
            Verdict::NotApplicable(_) | Verdict::NotSupported(_) => continue,
        };
        table.add_row([
            Cell::new(rule.section),
            Cell::new(rule.name),
            Cell::new(rule.level),
            Cell::new(verdict.word()).fg(colour),
            Cell::new(format!("{:.1}", took.as_secs_f64())),
        ]);
    }
    if let Some(column) = table.column_mut(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Everything about one failure.
fn paragraph(Finding { rule, .. }: &Finding, failure: &Failure) -> String {
    let Failure { seen, objects, .. } = failure;
    let (earlier, requests) = failure.newest_requests();
    let mut text = format!("{} ({}, {})\n", rule.name, rule.section, rule.level);
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<11}{}", value.replace('\n', "\n             "));
    };
    field("expected:", rule.sentence);
    field("seen:", seen);
    field("otherwise:", rule.otherwise);
    field("source:", rule.source);
    for object in objects {
        field("object:", &object.to_string());
    }
    let earlier = (earlier > 0).then(|| format!("… {earlier} earlier ones: --report FILE.json has them"));
    for (number, line) in earlier.into_iter().chain(requests.iter().map(ToString::to_string)).enumerate() {
        field(if number == 0 { "requests:" } else { "" }, &line);
    }
    text.truncate(text.trim_end().len());
    text
}
