//! The steps of a garden, with the time of each.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use gardener_testbed::causes;

use crate::error::GardenError;
use crate::news::{News, Say};

/// A step that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What has been done.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) took: Duration,
    /// Why it failed, if it did.
    pub(crate) failure: Option<String>,
}

/// All steps so far. Each is shown as soon as it has ended.
pub(crate) struct Steps<'a> {
    started: Instant,
    say: Say<'a>,
    done: RefCell<Vec<Step>>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(say: Say<'a>) -> Self {
        Self { started: Instant::now(), say, done: RefCell::default() }
    }

    /// Carries out a step.
    pub(crate) async fn run<T>(
        &self,
        name: &str,
        step: impl Future<Output = Result<T, GardenError>>,
    ) -> Result<T, GardenError> {
        (self.say)(News::Begun(name.to_owned()));
        let begun = Instant::now();
        let result = step.await;
        let took = begun.elapsed();
        let failure = result.as_ref().err().map(|error| causes(error));
        let verdict = if failure.is_some() { "FAILED: " } else { "" };
        let line = self.line(&format!("{verdict}{name} ({:.1} s)", took.as_secs_f64()));
        (self.say)(News::Ended { step: name.to_owned(), line });
        self.done.borrow_mut().push(Step { name: name.to_owned(), took, failure });
        result
    }

    /// A line with the time since the start.
    fn line(&self, text: &str) -> String {
        format!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64())
    }

    /// Shows how many steps passed.
    pub(crate) fn sum_up(&self) {
        let done = self.done.borrow();
        let passed = done.iter().filter(|step| step.failure.is_none()).count();
        let line = self.line(&format!("{passed} of {} steps passed", done.len()));
        (self.say)(News::Line(line));
    }

    /// All steps that have ended.
    pub(crate) fn done(&self) -> Vec<Step> {
        self.done.borrow().clone()
    }
}
