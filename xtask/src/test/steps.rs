//! The steps that were run, and how each ended.

use std::process::ExitCode;
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

    /// What came of all steps. `require_all`: a step that did not run fails the whole, unless it was left out.
    pub(super) fn verdict(&self, require_all: bool) -> (&'static str, ExitCode) {
        let any = |which: fn(&Outcome) -> bool| self.0.iter().any(|(_, outcome, _)| which(outcome));
        match (any(|outcome| matches!(outcome, Failed(_))), any(|outcome| matches!(outcome, NotRun(_)))) {
            (true, _) => ("FAILED", ExitCode::FAILURE),
            (false, true) if require_all => {
                ("FAILED: some steps could not run, and --require-all requires them", ExitCode::FAILURE)
            }
            (false, true) => ("passed, except for steps that could not run", ExitCode::SUCCESS),
            (false, false) => ("passed", ExitCode::SUCCESS),
        }
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
    fn step_that_is_left_out_is_listed_and_never_required_unlike_one_that_could_not_run() {
        let of = |outcome: Outcome| {
            let mut steps = Steps::default();
            steps.run("passed", || Ok(Passed(String::new())));
            assert!(!steps.run("a step", || Ok(outcome)));
            steps
        };
        let left_out = || of(LeftOut("no tool: install it".to_owned()));
        assert!(left_out().table().to_string().contains("no tool: install it"));
        assert_eq!([true, false].map(|all| left_out().verdict(all).0), ["passed", "passed"]);
        let not_run = || of(NotRun("no tool".to_owned()));
        assert!(
            not_run().verdict(true).0.starts_with("FAILED") && not_run().verdict(false).0.starts_with("passed, except")
        );
        assert_eq!([true, false].map(|all| of(Failed("broken".to_owned())).verdict(all).0), ["FAILED", "FAILED"]);
    }

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
