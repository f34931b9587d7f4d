//! The findings of a run as a table for people, as Markdown, as JSON and as JUnit's XML; and the list of rules.

mod junit;
mod markdown;
mod rules;
mod terminal;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use extension_contract::GARDENER_VERSION;
use serde::Serialize;

use crate::finding::{Failure, Finding, Verdict};
use crate::rule::{Level, Rule};
use crate::subject::Subject;

pub use rules::{markdown as rules_as_markdown, text as rules_as_text};

/// The findings of a run.
#[derive(Debug)]
pub struct Report {
    /// Whose controller, as `Worker of type aws`.
    pub subject: String,
    /// What the kit was told that the controller supports, for readers who see a rule that is not supported.
    pub features: Vec<String>,
    /// Where the rules ran.
    pub place: String,
    /// One finding for each rule of the run.
    pub findings: Vec<Finding>,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The format follows from the file's name.
    #[error("--report {0}: name a file that ends with .json or .md")]
    UnknownFormat(String),
    /// The file could not be written.
    #[error("cannot write {0}: {1}")]
    Unwritable(String, #[source] io::Error),
    /// The findings could not be put into the format.
    #[error("cannot make the report: {0}")]
    Format(String),
}

impl Report {
    /// A report of these findings.
    #[must_use]
    pub fn new(subject: &Subject, place: String, findings: Vec<Finding>) -> Self {
        let features = subject.features.iter().map(ToString::to_string).collect();
        Self { subject: format!("{} of type {}", subject.kind.name, subject.type_), features, place, findings }
    }

    /// A report of rules of which none was tried, and why.
    #[must_use]
    pub fn untried(subject: &Subject, rules: &[Rule], why: &str) -> Self {
        let finding = |rule: &Rule| {
            let verdict = subject.lacks(rule.needs).map_or_else(|| Verdict::NotJudged(why.to_owned()), Into::into);
            Finding { rule: *rule, verdict, took: Duration::ZERO }
        };
        Self::new(subject, "no API server".to_owned(), rules.iter().map(finding).collect())
    }

    /// How many rules have a verdict.
    #[must_use]
    pub fn tried(&self) -> usize {
        self.count("passed") + self.failures(Level::May).count()
    }

    /// The version of Gardener whose contract the rules state.
    #[must_use]
    pub const fn gardener() -> &'static str {
        GARDENER_VERSION
    }

    /// How many findings have this word as their verdict.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.findings.iter().filter(|finding| finding.verdict.word() == word).count()
    }

    /// The failures at this level or above, with their rules.
    pub fn failures(&self, level: Level) -> impl Iterator<Item = (&Finding, &Failure)> {
        let at_level = self.findings.iter().filter(move |finding| finding.rule.level <= level);
        at_level.filter_map(|finding| Some((finding, finding.verdict.failure()?)))
    }

    /// How many rules were not judged, although they apply.
    #[must_use]
    pub fn not_judged(&self) -> usize {
        self.findings.iter().filter(|finding| matches!(finding.verdict, Verdict::NotJudged(_))).count()
    }

    /// One line with all counts, such as `41 passed, 1 failed (1 must), 3 not applicable`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut summary = format!("{} passed", self.count("passed"));
        let mut failed: BTreeMap<Level, usize> = BTreeMap::new();
        for (finding, _) in self.failures(Level::May) {
            *failed.entry(finding.rule.level).or_default() += 1;
        }
        if !failed.is_empty() {
            let levels: Vec<_> = failed.iter().map(|(level, count)| format!("{count} {level}")).collect();
            let _ = write!(summary, ", {} FAILED ({})", failed.values().sum::<usize>(), levels.join(", "));
        }
        for word in ["not judged", "not supported", "not applicable"] {
            let count = self.count(word);
            if count > 0 {
                let _ = write!(summary, ", {count} {word}");
            }
        }
        summary
    }

    /// The report for a person at a terminal.
    #[must_use]
    pub fn terminal(&self) -> String {
        terminal::text(self)
    }

    /// The report for a pull request.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::text(self)
    }

    /// The report for programs.
    pub fn json(&self) -> Result<String, ReportError> {
        serde_json::to_string_pretty(&AsJson::of(self)).map_err(|error| ReportError::Format(error.to_string()))
    }

    /// The report for the test viewers of CI systems, as JUnit's XML.
    pub fn junit(&self) -> Result<String, ReportError> {
        junit::text(self)
    }

    /// Writes the report to a file, in the format that its name ends with: `.json` or `.md`.
    pub fn write(&self, file: &Path) -> Result<(), ReportError> {
        let text = match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => self.json()?,
            Some("md") => self.markdown(),
            _ => return Err(ReportError::UnknownFormat(file.display().to_string())),
        };
        write(file, &text)
    }

    /// Writes JUnit's XML to a file.
    pub fn write_junit(&self, file: &Path) -> Result<(), ReportError> {
        write(file, &self.junit()?)
    }
}

/// Whether a report can be written to this file: whether its name ends with a known format.
pub fn has_format(file: &Path) -> Result<(), ReportError> {
    let is_known = matches!(file.extension().and_then(|extension| extension.to_str()), Some("json" | "md"));
    if is_known { Ok(()) } else { Err(ReportError::UnknownFormat(file.display().to_string())) }
}

/// Whether the file's folder exists. A run takes minutes: its end is late to find out.
pub fn has_folder(file: &Path) -> Result<(), ReportError> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.map_or(Ok(true), |folder| fs::metadata(folder).map(|folder| folder.is_dir())) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ReportError::Unwritable(file.display().to_string(), io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(ReportError::Unwritable(file.display().to_string(), error)),
    }
}

/// Writes text to a file.
pub fn write(file: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(file, text).map_err(|error| ReportError::Unwritable(file.display().to_string(), error))
}

#[derive(Serialize)]
struct AsJson<'a> {
    subject: &'a str,
    features: &'a [String],
    place: &'a str,
    gardener: &'static str,
    kit: &'static str,
    summary: BTreeMap<&'static str, usize>,
    rules: Vec<FindingAsJson<'a>>,
}

#[derive(Serialize)]
struct FindingAsJson<'a> {
    id: &'static str,
    level: Level,
    section: &'static str,
    source: &'static str,
    verdict: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    expected: &'static str,
    otherwise: &'static str,
    #[serde(flatten)]
    failure: Option<&'a Failure>,
}

impl<'a> AsJson<'a> {
    fn of(report: &'a Report) -> Self {
        let mut summary = BTreeMap::new();
        for finding in &report.findings {
            *summary.entry(lower(&finding.verdict)).or_default() += 1;
        }
        Self {
            subject: &report.subject,
            features: &report.features,
            place: &report.place,
            gardener: Report::gardener(),
            kit: env!("CARGO_PKG_VERSION"),
            summary,
            rules: report.findings.iter().map(FindingAsJson::of).collect(),
        }
    }
}

impl<'a> FindingAsJson<'a> {
    fn of(Finding { rule, verdict, took }: &'a Finding) -> Self {
        Self {
            id: rule.name,
            level: rule.level,
            section: rule.section,
            source: rule.source,
            verdict: lower(verdict),
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            reason: verdict.reason(),
            expected: rule.sentence,
            otherwise: rule.otherwise,
            failure: verdict.failure(),
        }
    }
}

const fn lower(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Failed(_) => "failed",
        other => other.word(),
    }
}

#[cfg(test)]
mod tests;
