//! What our own controllers promise beyond the extension contract: costs, scripts, faults, leases, and the behaviour of
//! processes.
//!
//! [`main`] is the `main` of a kind's conformance test. It runs the contract's rules, the promises that all our
//! controllers make, and those of the kind alone. Variables change how the suite runs:
//!
//! * `MOCK_IMAGES` names a folder with the archives of `cargo xtask images`. The suite then installs the kind's
//!   registration from `deploy` as gardenlet does, and runs the controller in its image, under its ServiceAccount.
//! * `MOCK_ASSISTED` puts the kind's admission policy in force. Some operations then cost one write less.
//! * `MOCK_FULL` makes every suite run every test. Without it, most kinds run a sample of those that repeat what other
//!   suites prove; see [`mode`].

use std::process::ExitCode;
use std::sync::Arc;

use extension_conformance::run::{self, Run};
use extension_conformance::{Case, Subject, Suite};
use extension_contract::TIMESTAMP_ANNOTATION;
use gardener_testbed::assets::Assets;
use libtest_mimic::{Arguments, Failed};
use mock_core::deploy::admission;
use mock_core::kind::{MockKind, SecretKey};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

mod answers;
mod host;
mod install;
mod link;
mod mock;
pub mod mode;
mod promise;
mod refusal;
mod rules;
mod scene;
mod script;
mod settle;
mod written_paths;

pub use extension_conformance::{
    Feature, annotation, asking, condition, ensure, eventually, finalizers, last, merged, text,
};
pub use promise::Promise;
pub use rules::secrets::only_secrets_of_the_kind_may_be_written;
pub use scene::MockScene;
pub use script::{record, script};

use mock::Mock;
use mode::Mode;

/// A controller of ours that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Path of the controller's program.
    pub binary: &'static str,
    /// Returns a valid spec of the kind. The suite sets its type.
    pub spec: fn() -> Value,
    /// Returns the objects that the spec names, such as a Secret.
    pub given: fn() -> Vec<Value>,
    /// Returns the Secrets that one outcome of that spec holds. Each costs one request.
    pub secrets: Secrets,
    /// The promises of this kind alone.
    pub promises: &'static [Promise],
}

/// The Secrets of an outcome, from the namespace of the scene and the name of the object.
pub type Secrets = fn(&str, &str) -> Vec<SecretKey>;

impl Candidate {
    /// A controller whose outcomes hold no Secret, and whose spec names no object.
    #[must_use]
    pub const fn new(binary: &'static str, spec: fn() -> Value, promises: &'static [Promise]) -> Self {
        Self { binary, spec, given: Vec::new, secrets: |_, _| Vec::new(), promises }
    }
}

/// Runs the suite of one kind as `cargo test` does, with the arguments of this process.
#[must_use]
pub fn main<K: MockKind>(candidate: Candidate) -> ExitCode {
    let arguments = run::arguments();
    let mode = Mode::of_environment(K::KIND.name);
    if mode.is_assisted() && admission::spec::<K>("", "").is_none() {
        #[expect(clippy::print_stdout, reason = "a suite is a program")]
        {
            println!("not applicable to {}: gardenlet must see the annotation of a kind that it watches", K::KIND.name);
        }
        return ExitCode::SUCCESS;
    }
    let tests = Tests::of(&mode, candidate.promises);
    if arguments.list {
        return run::list(&arguments, tests.names());
    }
    start_and_run::<K>(arguments, candidate, &mode, &tests).unwrap_or_else(|failed| run::not_started(&failed))
}

/// The slowest tests; most of them wait. They start first, so that none of them runs alone at the end.
const SLOWEST: [&str; 10] = [
    "standby_takes_over_when_the_lease_of_a_lost_leader_expires",
    "bad_script_shows_in_status_and_event_until_it_is_corrected",
    "no_event_shows_readiness_before_the_request_is_served",
    "killed_controller_loses_no_request",
    "failing_heartbeat_does_not_stop_the_controller",
    "refused_write_is_logged_and_retried_with_backoff",
    "two_controllers_at_once_do_no_harm",
    "request_patched_in_between_is_never_erased",
    "no_object_starves_under_sustained_load",
    "sigterm_hands_the_lease_to_the_standby",
];

/// The tests of one run.
struct Tests {
    contract: Vec<extension_conformance::Rule>,
    promises: Vec<Promise>,
    /// Promises whose proof disturbs other tests. They run after all others, one after the other.
    disturbing: Vec<Promise>,
}

impl Tests {
    fn of(mode: &Mode, of_kind: &[Promise]) -> Self {
        let of_mode = mode.promises();
        let selected = |name: &str| mode.selects(name);
        let common = rules::all().into_iter().filter(|promise| selected(promise.name));
        Self {
            contract: extension_conformance::rules::all().into_iter().filter(|rule| selected(rule.name)).collect(),
            promises: of_kind.iter().copied().chain(common).chain(of_mode).collect(),
            disturbing: rules::DISTURBING.iter().copied().filter(|promise| selected(promise.name)).collect(),
        }
    }

    fn names(&self) -> Vec<&'static str> {
        let promises = self.promises.iter().chain(&self.disturbing).map(|promise| promise.name);
        promises.chain(self.contract.iter().map(|rule| rule.name)).collect()
    }
}

fn start_and_run<K: MockKind>(
    arguments: Arguments,
    candidate: Candidate,
    mode: &Mode,
    tests: &Tests,
) -> Result<ExitCode, Failed> {
    #[expect(clippy::print_stderr, reason = "building the control plane takes minutes")]
    let assets = Assets::locate(&|line| eprintln!("{line}"))?;
    let subject = subject::<K>(candidate)?;
    let runtime = Arc::new(Runtime::new()?);
    let (suite, mock) = runtime.block_on(async {
        let (bed, mut mock) = Mock::start::<K>(&assets, candidate.binary, candidate.secrets, mode.images()).await?;
        let suite = Suite::new(bed, subject, mock.host().clone()).await?;
        if mode.is_assisted() {
            mock.assist::<K>(&suite, &tests.names()).await?;
        }
        Ok::<_, Failed>((Arc::new(suite), Arc::new(mock)))
    })?;
    let _shared = runtime.block_on(async {
        let shared = suite.start_shared()?;
        settle::settle(&suite, &mock).await?;
        Ok::<_, Failed>(shared)
    })?;

    let run = Run::new(arguments, runtime, suite.clone());
    run.serves()?;
    let case = |promise: &Promise| promise.case(mock.clone(), suite.subject());
    let cases = |promises: &[Promise]| promises.iter().map(case).collect::<Vec<_>>();
    let mut together = cases(&tests.promises);
    together.extend(tests.contract.iter().map(|rule| Case::of_rule(rule, suite.subject())));
    together.sort_by_key(|case| SLOWEST.iter().position(|name| *name == case.name()).unwrap_or(SLOWEST.len()));
    let first = run.together(together);
    let mut alone = cases(&tests.disturbing);
    // It checks the requests of all tests, so it runs last.
    if first.num_filtered_out == 0 && !first.has_failed() {
        alone.push(case(&mode.closing()));
    }
    let second = run.alone(alone);
    Ok(if first.has_failed() { run::exit_code(&first) } else { run::exit_code(&second) })
}

/// What the kit must know about a kind.
fn subject<K: MockKind>(candidate: Candidate) -> Result<Subject, Failed> {
    let type_ = *K::TYPES.first().ok_or("the kind serves no type")?;
    Ok(Subject {
        classes: K::KIND.usual_classes().to_vec(),
        given: (candidate.given)(),
        state: Some(json!({ "of": "another seed" })),
        undeletable: Some(json!({ "spec": { "providerConfig": script(&script::endless_deletion()) } })),
        finalizer: K::FINALIZER.to_owned(),
        features: Feature::ALL.to_vec(),
        ..Subject::new(K::KIND, type_, (candidate.spec)())
    })
}

/// A Secret with credentials, as gardenlet copies it to the seed.
#[must_use]
pub fn credentials(namespace: &str, name: &str) -> Value {
    let annotations = json!({ TIMESTAMP_ANNOTATION: "2026-01-01T00:00:00.123456789Z" });
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
        "data": { "user": "YQ==", "password": "Yg==" },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use extension_conformance::Scene;

    use super::*;
    use crate::mode::SAMPLE;

    #[test]
    fn sample_is_the_mode_the_kind_and_the_listed_tests() {
        const OF_KIND: &[Promise] =
            &[Promise { name: "of_the_kind", needs: &[], holds: |_| Box::pin(async { Ok(()) }) }];
        let tests = Tests::of(&Mode::new("Network", Some(PathBuf::new()), true, false), OF_KIND);
        let names: BTreeSet<_> = tests.names().into_iter().collect();
        assert!(SAMPLE.iter().all(|name| names.contains(name)), "a test of the sample does not exist: {names:?}");
        assert!(names.contains("of_the_kind") && names.contains("probes_and_metrics_of_the_installation_are_answered"));
        assert_eq!(names.len(), SAMPLE.len() + rules::installed::PROMISES.len() + rules::assisted::PROMISES.len() + 1);
    }

    #[test]
    fn names_of_tests_and_of_their_namespaces_are_unique() {
        let tests = Tests::of(&Mode::new("Worker", Some(PathBuf::new()), true, true), &[]);
        let names = tests.names();
        assert!(SLOWEST.iter().all(|name| names.contains(name)), "a slow test does not exist: {names:?}");
        let unique: BTreeSet<_> = names.iter().map(|name| Scene::namespace_of(name)).collect();
        assert_eq!(unique.len(), names.len());
    }
}
