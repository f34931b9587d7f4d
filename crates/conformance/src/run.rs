//! Runs rules and further tests as `cargo test` does, with its arguments.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use tokio::runtime::Runtime;

use crate::rule::Case;
use crate::scene::Scene;
use crate::suite::Suite;

/// Limit of one test. A rule whose proof takes longer does not hold.
const LIMIT: Duration = Duration::from_secs(90);

/// How many tests run at the same time, per core. Most of them wait.
const THREADS_PER_CORE: usize = 3;

/// The arguments of this process.
#[must_use]
pub fn arguments() -> Arguments {
    with_threads(Arguments::from_args())
}

/// Sets the number of threads, unless it is set.
#[must_use]
pub fn with_threads(mut arguments: Arguments) -> Arguments {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(THREADS_PER_CORE * cores);
    arguments
}

/// Lists the names of tests without running them.
#[must_use]
pub fn list<'a>(arguments: &Arguments, names: impl IntoIterator<Item = &'a str>) -> ExitCode {
    let trials = names.into_iter().map(|name| Trial::test(name, || Ok(())));
    exit_code(&libtest_mimic::run(arguments, trials.collect()))
}

/// A run of tests in one suite.
pub struct Run {
    arguments: Arguments,
    runtime: Arc<Runtime>,
    suite: Arc<Suite>,
}

impl Run {
    /// A run of tests in `suite`. The shared controller must be running.
    #[must_use]
    pub const fn new(arguments: Arguments, runtime: Arc<Runtime>, suite: Arc<Suite>) -> Self {
        Self { arguments, runtime, suite }
    }

    /// Fails if a first object does not get ready. No rule could hold then, and each would wait until its limit.
    pub fn serves(&self) -> Result<(), Failed> {
        self.runtime.block_on(async {
            let scene = Scene::create(self.suite.clone(), "first_object").await?;
            scene.create_ready().await.map(drop).map_err(|why| {
                let why = why.message().unwrap_or_default();
                Failed::from(format!("the controller does not serve a first object, so no rule is tried: {why}"))
            })
        })
    }

    /// Runs tests side by side. Prints first which ones it leaves out, and why.
    pub fn together(&self, cases: Vec<Case>) -> Conclusion {
        let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Case { name, left_out: reason, .. } in &cases {
            left_out.entry(reason.as_deref().unwrap_or_default()).or_default().push(name);
        }
        left_out.remove("");
        #[expect(clippy::print_stdout, reason = "a suite is a program")]
        for (reason, names) in left_out {
            println!("{reason}:\n    {}", names.join("\n    "));
        }
        libtest_mimic::run(&self.arguments, cases.into_iter().map(|case| self.trial(case)).collect())
    }

    /// Runs tests one after the other, in their order.
    pub fn alone(&self, cases: Vec<Case>) -> Conclusion {
        let arguments = Arguments { test_threads: Some(1), ..self.arguments.clone() };
        libtest_mimic::run(&arguments, cases.into_iter().map(|case| self.trial(case)).collect())
    }

    fn trial(&self, case: Case) -> Trial {
        let (suite, runtime) = (self.suite.clone(), self.runtime.clone());
        let Case { name, left_out, holds } = case;
        let rule = name.clone();
        let test = move || {
            runtime.block_on(async {
                let proof = async { holds(Scene::create(suite, &rule).await?).await };
                tokio::time::timeout(LIMIT, proof).await.map_err(|_| "the test did not end within 90 s")?
            })
        };
        Trial::test(name, test).with_ignored_flag(left_out.is_some())
    }
}

/// The exit code of a run: failure if a test has failed.
#[must_use]
pub fn exit_code(conclusion: &Conclusion) -> ExitCode {
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints why a run could not start.
#[must_use]
pub fn not_started(failed: &Failed) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "a suite is a program")]
    {
        eprintln!("{}", failed.message().unwrap_or_default());
    }
    ExitCode::FAILURE
}
