//! The steps that were run, and how each ended.

use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets};
use gardener_testbed::causes;
use mock_view::say;
use mock_view::words::duration;

/// How a step ended.
pub(super) enum Outcome {
    /// It passed. The text may have details.
    Passed(String),
    /// It failed, for this reason.
    Failed(String),
    /// It did not run, for this reason; the text ends with the remedy.
    NotRun(String),
    /// It did not run, like [`NotRun`], and `--require-all` does not require it.
    LeftOut(String),
}

use Outcome::{Failed, LeftOut, NotRun, Passed};

/// The steps that were run, with their names and times.
#[derive(Default)]
pub(super) struct Steps(Vec<(&'static str, Outcome, Duration)>);

impl Steps {
    /// Runs a step. Returns whether it passed.
    pub(super) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Outcome>) -> bool {
        say!("\n── {name}");
        let started = Instant::now();
        let outcome = step().unwrap_or_else(|error| Failed(causes(error.as_ref())));
        let took = started.elapsed();
        match &outcome {
            Passed(_) => say!("── {name}: passed in {}", duration(took)),
            Failed(why) => say!("── {name}: FAILED after {}: {why}", duration(took)),
            NotRun(why) | LeftOut(why) => say!("── {name}: not run: {why}"),
        }
        let passed = matches!(outcome, Passed(_));
        self.0.push((name, outcome, took));
        passed
    }

    /// Whether any step ended in such a way.
    pub(super) fn any(&self, which: impl Fn(&Outcome) -> bool) -> bool {
        self.0.iter().any(|(_, outcome, _)| which(outcome))
    }

    /// A table of all steps.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(["step", "result", "time", ""]);
        for (name, outcome, took) in &self.0 {
            let (result, colour, text) = match outcome {
                Passed(text) => ("passed", Color::Green, text),
                Failed(text) => ("FAILED", Color::Red, text),
                NotRun(text) | LeftOut(text) => ("not run", Color::Yellow, text),
            };
            table.add_row([Cell::new(name), Cell::new(result).fg(colour), Cell::new(duration(*took)), Cell::new(text)]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_that_did_not_run_is_listed_with_the_reason() {
        let mut steps = Steps::default();
        assert!(!steps.run("a step", || Ok(NotRun("no tool: install it".to_owned()))));
        assert!(!steps.run("another", || anyhow::bail!("broken")));
        let table = steps.table().to_string();
        assert!(
            table.contains("not run") && table.contains("no tool: install it") && table.contains("broken"),
            "{table}"
        );
    }
}
