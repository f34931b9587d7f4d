//! The conformance suite of the extension contract: every rule that can be seen from outside, for any kind, against a
//! real API server and the real binary.
//!
//! `MOCK_IMAGES` names a folder with the archives of `cargo xtask images`. The suite then installs the kind's
//! registration from `deploy` as gardenlet does, and runs the controller in its image, under its ServiceAccount.
//!
//! `MOCK_ASSISTED` puts the kind's admission policy in force: all rules hold in that mode as well, some with a write
//! less, and it has rules of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use mock_core::extension::Extension;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::assets::Assets;

mod assisted;
mod controller;
mod deletion;
mod faults;
mod ground;
mod handover;
mod installed;
mod leases;
mod requests;
mod restarts;
mod rules;
mod schema;
mod scripts;
mod suite;

pub use controller::Controller;
pub use ground::{Ground, annotation, asking, ensure, finalizers, last, text};
pub use scripts::{record, script};
use suite::Suite;

/// The variable that makes the suite run installed controllers.
const IMAGES: &str = "MOCK_IMAGES";

/// The variable that makes the suite apply the kind's admission policy.
const ASSISTED: &str = "MOCK_ASSISTED";

/// How long one rule may take; a rule that hangs is a rule that is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the suite has to know of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The controller.
    pub binary: &'static str,
    /// A valid spec; the suite sets its type.
    pub spec: fn() -> Value,
    /// Secrets that one outcome of that spec holds: one request more each.
    pub secrets: usize,
    /// Rules of the kind alone.
    pub rules: &'static [Rule],
}

/// A rule of the contract: its name, and what has to hold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The rule, as a sentence without spaces.
    pub name: &'static str,
    /// Proves it.
    pub holds: fn(Ground) -> Proof,
}

/// A proof under way.
pub type Proof = std::pin::Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;

/// The `main` of a kind's conformance test: runs the rules like `cargo test` does, with its arguments.
#[must_use]
pub fn main<K: Extension>(subject: Subject) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Rules mostly wait for servers, and some for a Lease to run out.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * threads);
    let images = std::env::var_os(IMAGES).map(PathBuf::from);
    let installed = if images.is_some() { installed::ALL } else { &[] };
    let is_assisted = std::env::var_os(ASSISTED).is_some();
    let assisted = if is_assisted { assisted::ALL } else { &[] };
    let of_mode = [installed, assisted].concat();
    let of_contract = [rules::ALL, handover::ALL, deletion::ALL].concat();
    let of_all = [leases::ALL, scripts::ALL, faults::ALL, &of_contract, requests::ALL, restarts::ALL].concat();
    let rules: Vec<Rule> = [&of_all, of_mode.as_slice(), subject.rules].concat();
    if arguments.list {
        let trials = rules.iter().map(|rule| Trial::test(rule.name, || Ok(())));
        return exit_code(&libtest_mimic::run(&arguments, trials.collect()));
    }
    match run::<K>(&arguments, subject, &rules, images.as_deref(), is_assisted) {
        Ok(code) => code,
        Err(failed) => {
            #[expect(clippy::print_stderr, reason = "the suite is a program")]
            {
                eprintln!("{}", failed.message().unwrap_or_default());
            }
            ExitCode::FAILURE
        }
    }
}

fn run<K: Extension>(
    arguments: &Arguments,
    subject: Subject,
    rules: &[Rule],
    images: Option<&Path>,
    is_assisted: bool,
) -> Result<ExitCode, Failed> {
    #[expect(clippy::print_stderr, reason = "building the control plane takes minutes")]
    let assets = Assets::locate(&|line| eprintln!("{line}"))?;
    let runtime = Runtime::new()?;
    let suite = runtime.block_on(async {
        let mut suite = Suite::start::<K>(&assets, subject, images).await?;
        if is_assisted {
            suite.assist::<K>(rules).await?;
        }
        Ok::<_, Failed>(Arc::new(suite))
    })?;
    let runtime = Arc::new(runtime);
    let shared = runtime.block_on(async {
        let shared = Controller::shared(&suite)?;
        controller::settle(&suite).await?;
        Ok::<_, Failed>(shared)
    })?;
    let trial = |rule: Rule| {
        let (suite, runtime) = (suite.clone(), runtime.clone());
        Trial::test(rule.name, move || {
            runtime.block_on(async {
                let proof = async { (rule.holds)(Ground::new(suite, rule.name).await?).await };
                tokio::time::timeout(PATIENCE, proof).await.map_err(|_| "the rule did not come to an end")?
            })
        })
    };
    let conclusion = libtest_mimic::run(arguments, rules.iter().copied().map(trial).collect());
    let mut code = exit_code(&conclusion);
    // Looks back at all requests, so it comes last, and only after all rules have made theirs.
    if conclusion.num_filtered_out == 0 && !conclusion.has_failed() {
        let suite = suite.clone();
        let trial = Trial::test("rbac_allows_exactly_the_requests_that_are_made", move || schema::rbac::<K>(&suite));
        code = exit_code(&libtest_mimic::run(arguments, vec![trial]));
    }
    drop(shared);
    Ok(code)
}

fn exit_code(conclusion: &Conclusion) -> ExitCode {
    if conclusion.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
