//! The report for a pull request.

use std::fmt::Write as _;

use super::Report;
use crate::finding::{Failure, Finding};
use crate::rule::Level;

/// The counts, each failure, and a table of all rules that can be unfolded.
pub(super) fn text(report: &Report) -> String {
    let Report { subject, features, place, findings } = report;
    let features = if features.is_empty() { "no features".to_owned() } else { features.join(", ") };
    let mut text = format!(
        "## {subject}: {}\n\nGardener's extension contract ({}), on {place}, with {features}.\n",
        report.summary(),
        Report::gardener(),
    );
    for (finding, failure) in report.failures(Level::May) {
        text.push_str(&section(finding, failure));
    }
    text.push_str(
        "\n<details><summary>All rules</summary>\n\n| section | rule | level | result |\n| --- | --- | --- | --- |\n",
    );
    for Finding { rule, verdict, .. } in findings {
        let reason = verdict.reason().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
        let _ = writeln!(text, "| {} | `{}` | {} | {}{reason} |", rule.section, rule.name, rule.level, verdict.word());
    }
    text.push_str("\n</details>\n");
    text
}

fn section(Finding { rule, .. }: &Finding, failure: &Failure) -> String {
    let Failure { seen, objects, .. } = failure;
    let (earlier, requests) = failure.newest_requests();
    let mut text = format!("\n### `{}` ({})\n\n", rule.name, rule.level);
    let _ =
        writeln!(text, "- expected: {}\n- otherwise: {}\n- source: `{}`", rule.sentence, rule.otherwise, rule.source);
    let _ =
        writeln!(text, "\n<details><summary>seen: {}</summary>\n", one_line(seen.lines().next().unwrap_or_default()));
    code(&mut text, seen);
    for object in objects {
        code(&mut text, &format!("{object:#}"));
    }
    if !requests.is_empty() {
        let lines: Vec<_> = requests.iter().map(ToString::to_string).collect();
        let earlier = if earlier > 0 { format!(", after {earlier} others") } else { String::new() };
        let _ = writeln!(text, "The controller's requests{earlier}:\n");
        code(&mut text, &lines.join("\n"));
    }
    text.push_str("</details>\n");
    text
}

/// A block of code. Its fence is longer than every run of backticks in it.
fn code(text: &mut String, content: &str) {
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(text, "{fence}\n{content}\n{fence}\n");
}

/// Text for a cell of a table or a summary: one line, which is neither HTML nor the end of a cell.
fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}
