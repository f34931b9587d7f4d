//! Each rule of the contract notices the mistake that it is for.
//!
//! A controller that keeps the whole contract passes every rule. The same controller with one mistake is caught by the
//! rule that [`mutation::TABLE`] names. `BROKEN.md` shows the table; with `MOCK_KEEP=1`, it is written.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

mod controller;
mod mutation;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use extension_conformance::judge::Judge;
use extension_conformance::launcher::{self, Launcher};
use extension_conformance::{Feature, Rule, Subject, Suite, Verdict, rules, run};
use extension_contract::kinds::{self, Class, Kind};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{Mode, apply};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::controller::{Controller, FINALIZER};
use crate::mutation::{Mutation, Row, TABLE};

/// Patience with a broken controller. It is in vain.
const SHORT: Duration = Duration::from_secs(10);
/// Limit of a rule for a broken controller that keeps gardenlet busy for ever.
const ENDLESS: Duration = Duration::from_secs(20);
/// How many tests run at the same time. With more, a rule may fail because the machine is slow.
const THREADS: usize = 40;
/// Without `MOCK_FULL`, one row of so many is played, and none that starts programs: the whole takes a minute.
const SAMPLE: usize = 3;
/// The argument that makes this program the controller.
const CONTROLLER: &str = "--controller";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = Arc::new(Runtime::new().unwrap());
    if arguments.get(1).is_some_and(|first| first == CONTROLLER) {
        runtime.block_on(be_controller(&arguments[2..]));
        return ExitCode::SUCCESS;
    }
    let mut arguments = run::arguments();
    arguments.test_threads = Some(THREADS);
    if arguments.list {
        return run::exit_code(&libtest_mimic::run(&arguments, trials(&runtime, None)));
    }
    let assets = Assets::locate(&|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{error}"));
    let start = || {
        let options = Options { audit: false, ..Options::default() };
        Arc::new(runtime.block_on(start_bed(&assets, options)))
    };
    // Rules that start controllers use the same namespaces for each of them.
    let (right, broken) = (start(), start());
    let _controllers = runtime.block_on(start_right(&right));
    let conclusion = libtest_mimic::run(&arguments, trials(&runtime, Some((&right, &broken))));
    run::exit_code(&conclusion)
}

/// A test bed with the Secret that specs name.
async fn start_bed(assets: &Assets, options: Options) -> TestBed {
    let bed = TestBed::start(assets, options).await.unwrap();
    let metadata = json!({ "name": "credentials", "namespace": "garden" });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata });
    apply(&bed.client(), &secret, Mode::Apply).await.unwrap();
    bed
}

/// A controller without a mistake for each kind of the table.
async fn start_right(bed: &TestBed) -> Vec<tokio::task::JoinHandle<()>> {
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "credentials", "namespace": "garden" } });
    apply(&bed.client(), &secret, Mode::Apply).await.unwrap();
    let kinds: BTreeSet<_> = TABLE.iter().map(|row| row.1.name).collect();
    let start = |kind: &str| {
        let kind = kinds::find(kind).unwrap();
        tokio::spawn(Controller { client: bed.client(), kind, type_: "right".to_owned(), mutation: None }.serve())
    };
    kinds.into_iter().map(start).collect()
}

fn trials(runtime: &Arc<Runtime>, beds: Option<(&Arc<TestBed>, &Arc<TestBed>)>) -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("every_rule_has_a_broken_controller", every_rule_has_a_broken_controller),
        Trial::test("page_shows_the_table", page_shows_the_table),
    ];
    let bed = beds.map(|(_, broken)| broken.clone());
    let alone = runtime.clone();
    trials.push(Trial::test("no_other_rule_tells_force_deletion_from_an_ordinary_one", move || {
        alone.block_on(deletes_as_usual(&bed.ok_or("listed only")?))
    }));
    let is_full = std::env::var_os("MOCK_FULL").is_some();
    let mut seen = BTreeSet::new();
    for (index, row) in TABLE.iter().copied().enumerate() {
        let (rule, _, mutation) = row;
        let cases =
            [(true, format!("right_controller_keeps::{rule}")), (false, format!("{rule}::catches::{mutation:?}"))];
        for (is_right, name) in cases {
            if is_right && !seen.insert(rule) {
                continue;
            }
            let is_left_out = !is_full && (index % SAMPLE != 0 || starts_programs(rule));
            let bed = beds.map(|(right, broken)| if is_right { right } else { broken });
            let (runtime, bed) = (runtime.clone(), bed.cloned());
            let trial = Trial::test(name, move || {
                let bed = bed.ok_or("listed only")?;
                runtime.block_on(if is_right { right(bed, index, row) } else { broken(bed, index, row) })
            });
            trials.push(trial.with_ignored_flag(is_left_out));
        }
    }
    trials
}

type Outcome = std::pin::Pin<Box<dyn Future<Output = Result<(), Failed>>>>;

/// The right controller keeps a rule.
fn right(bed: Arc<TestBed>, index: usize, (rule, kind, _): Row) -> Outcome {
    Box::pin(async move {
        let verdict = verdict(&bed, rule, subject(kind, "right", 60), &format!("r{index}"), None).await?;
        match verdict {
            Some(Verdict::Passed) => Ok(()),
            other => Err(format!("{other:#?}").into()),
        }
    })
}

/// The broken controller breaks a rule.
fn broken(bed: Arc<TestBed>, index: usize, (rule, kind, mutation): Row) -> Outcome {
    Box::pin(async move {
        let type_ = format!("broken{index}");
        let client = bed.client();
        let controller = Controller { client, kind, type_: type_.clone(), mutation: Some(mutation) };
        let task = tokio::spawn(controller.serve());
        let subject = subject(kind, &type_, SHORT.as_secs());
        let verdict = timeout(ENDLESS, verdict(&bed, rule, subject, &format!("m{index}"), Some(mutation))).await;
        task.abort();
        match verdict {
            // It has kept gardenlet busy.
            Err(_) => Ok(()),
            Ok(verdict) => match verdict? {
                Some(Verdict::Failed(failure)) => {
                    eprintln!("{rule} catches {mutation:?}: {}", failure.seen.lines().next().unwrap_or_default());
                    Ok(())
                }
                other => Err(format!("{mutation:?} is not caught: {other:?}").into()),
            },
        }
    })
}

/// A controller that deletes as usual instead of by force keeps all other rules of force deletion.
async fn deletes_as_usual(bed: &Arc<TestBed>) -> Result<(), Failed> {
    let mutation = Mutation::DeletesAsUsual;
    for (index, (rule, kind, _)) in TABLE.iter().enumerate().filter(|(_, row)| row.0.starts_with("force_deletion_")) {
        if TABLE.contains(&(*rule, kind, mutation)) {
            continue;
        }
        let type_ = format!("usual{index}");
        let controller = Controller { client: bed.client(), kind, type_: type_.clone(), mutation: Some(mutation) };
        let task = tokio::spawn(controller.serve());
        let verdict = verdict(bed, rule, subject(kind, &type_, 60), &format!("u{index}"), Some(mutation)).await?;
        task.abort();
        if !matches!(verdict, Some(Verdict::Passed)) {
            return Err(format!("{rule}: {verdict:#?}").into());
        }
    }
    Ok(())
}

/// Whether the proof of a rule starts further controllers.
fn starts_programs(rule: &str) -> bool {
    rules::all().iter().any(|known| known.name == rule && known.needs.contains(&Feature::Restart))
}

/// Judges by one rule.
async fn verdict(
    bed: &Arc<TestBed>,
    rule: &str,
    subject: Subject,
    run: &str,
    mutation: Option<Mutation>,
) -> Result<Option<Verdict>, Failed> {
    let rule = rules::all().into_iter().find(|known| known.name == rule).ok_or("there is no such rule")?;
    let suite = if rule.needs.contains(&Feature::Restart) {
        let kind = subject.kind;
        Suite::new(bed.clone(), subject, Arc::new(Program { kind, mutation })).await?
    } else {
        Suite::on_cluster(bed.client(), subject, run.to_owned())
    };
    let judge = Judge::new(Arc::new(suite), vec![rule], |_| ());
    judge.run(None, 1).await?;
    Ok(judge.findings("it was not put to the test").into_iter().next().map(|finding| finding.verdict))
}

fn subject(kind: &'static Kind, type_: &str, seconds: u64) -> Subject {
    let secret = json!({ "name": "credentials", "namespace": "garden" });
    let spec = match kind.name {
        "Network" => json!({ "podCIDR": "10.0.0.0/16", "serviceCIDR": "10.1.0.0/16" }),
        "DNSRecord" => json!({ "secretRef": secret, "name": "a.example", "recordType": "A", "values": ["192.0.2.1"] }),
        "BackupEntry" => json!({ "bucketName": "b", "region": "r", "secretRef": secret }),
        "Bastion" => json!({ "userData": "YQ==", "ingress": [] }),
        other => panic!("there is no spec for {other}"),
    };
    Subject {
        finalizer: FINALIZER.to_owned(),
        features: Feature::ALL.to_vec(),
        classes: vec![Class::Shoot],
        state: Some(json!({ "of": "another seed" })),
        undeletable: Some(json!({ "spec": { "providerConfig": { "undeletable": true } } })),
        patience: Duration::from_secs(seconds),
        ..Subject::new(kind, type_, spec)
    }
}

/// Starts this program as the controller.
struct Program {
    kind: &'static Kind,
    mutation: Option<Mutation>,
}

impl Launcher for Program {
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<launcher::Controller, Failed> {
        self.further(bed, log, "shared")
    }

    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<launcher::Controller, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        let mutation = self.mutation.map(|mutation| format!("{mutation:?}")).unwrap_or_default();
        // The right controller runs while the broken one does.
        command.args([CONTROLLER, self.kind.name, type_, &mutation]).arg(bed.kubeconfig());
        launcher::Controller::program(bed, command, log)
    }
}

/// Serves until it is killed. The arguments are those of [`Program`].
async fn be_controller(arguments: &[String]) {
    let [kind, type_, mutation, kubeconfig] = arguments else { panic!("{arguments:?}") };
    let kind = kinds::find(kind).unwrap();
    let mutation = TABLE.iter().map(|row| row.2).find(|known| format!("{known:?}") == *mutation);
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    Controller { client, kind, type_: type_.clone(), mutation }.serve().await;
}

fn every_rule_has_a_broken_controller() -> Result<(), Failed> {
    let caught: BTreeSet<_> = TABLE.iter().map(|row| row.0).collect();
    let all: BTreeSet<_> = rules::all().iter().map(|rule| rule.name).collect();
    if caught == all {
        return Ok(());
    }
    let missing: Vec<_> = all.symmetric_difference(&caught).collect();
    Err(format!("no broken controller for these rules, or no such rules: {missing:?}").into())
}

fn page_shows_the_table() -> Result<(), Failed> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("BROKEN.md");
    let page = page();
    if std::env::var_os("MOCK_KEEP").is_some() {
        fs::write(&file, &page)?;
    }
    if fs::read_to_string(&file).is_ok_and(|written| written == page) {
        return Ok(());
    }
    Err(format!(
        "{} is not the table: run `MOCK_KEEP=1 cargo test --package extension-conformance --test broken`",
        file.display()
    )
    .into())
}

fn page() -> String {
    let mut page = String::from(
        "# What each rule catches\n\nA rule that cannot fail proves nothing. `tests/broken` has a controller that keeps the whole contract, and \
         makes one\nmistake at a time. The rule in the same line catches it; the right controller keeps the rule.\n\
         [`mutation.rs`](tests/broken/mutation.rs) says what each mistake is.\n\n| section | rule | mistake | proved with |\n\
         | --- | --- | --- | --- |\n",
    );
    let section = |name: &str| rules::all().iter().find(|rule: &&Rule| rule.name == name).map(|rule| rule.section);
    for (rule, kind, mutation) in TABLE {
        let section = section(rule).unwrap_or_default();
        let _ = writeln!(page, "| {section} | `{rule}` | `{mutation:?}` | {} |", kind.name);
    }
    page
}
