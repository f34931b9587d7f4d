//! `cargo xtask test`: all checks and tests. It also builds the programs that they need.

mod commands;
mod steps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use gardener_testbed::assets::{self, Assets, AssetsError, GardenPrograms};
use gardener_testbed::container;
use mock_fleet::cargo;
use mock_garden::isolation::Isolation;
use mock_view::say;
use mock_view::words::duration;
use serde_json::Value;

use self::commands::{begin_xtask, cargo_step, cargo_test, counted_tests, in_own_network, xtask};
use self::steps::Outcome::{self, Failed, LeftOut, NotRun, Passed};
use self::steps::Steps;
use crate::images;

/// Test targets that need more than the test bed. They have separate steps.
const STEPS_OF_THEIR_OWN: [&str; 4] = ["chart", "garden", "images", "new_kind"];

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Leave out the steps that need the test bed
    #[arg(long)]
    fast: bool,
    /// Run the whole suite of every kind, also admission-assisted and installed, instead of samples for most kinds
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Run only the faults: all of them, instead of a sample
    #[arg(long, conflicts_with_all = ["fast", "full"])]
    faults: bool,
    /// Fail also if a step cannot run because this machine lacks something
    #[arg(long)]
    require_all: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let started = Instant::now();
    commands::remember_program();
    let mut steps = Steps::default();
    if args.faults {
        faults_alone(&mut steps);
    } else {
        every_step(&mut steps, args);
    }

    let (verdict, code) = steps.verdict(args.require_all);
    say!("\n{}\n{verdict}, in {}", steps.table(), duration(started.elapsed()));
    code
}

/// Runs all steps, the cheapest first.
fn every_step(steps: &mut Steps, args: &Args) {
    steps.run("formatting", || component("fmt", "rustfmt", || cargo_step(&["fmt", "--all", "--check"], &[])));
    steps.run("one TLS provider", one_tls_provider);
    steps.run("one set of features", one_set_of_features);
    steps.run("licences and sources of dependencies", dependencies);
    steps.run("clippy", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        component("clippy", "clippy", || cargo_step(&arguments, &[]))
    });
    let built = steps.run("building", || cargo_step(&["test", "--workspace", "--no-run"], &[]));
    if !built {
        // Every further step would report the same errors.
        return;
    }
    steps.run("unit and property tests", || tests(&["--lib", "--bins"]));
    steps.run("documentation examples", || tests(&["--doc"]));
    steps.run("documentation", || cargo_step(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-Dwarnings")]));
    steps.run("manifests", || xtask(&["manifests", "--check"], |_| false));
    if args.fast {
        return;
    }
    let progress: &dyn Fn(&str) = &|step| say!("{step}");
    let bed = steps
        .run("etcd and kube-apiserver", || Ok(located(Assets::locate(progress).map(|assets| assets.kube_apiserver))));
    let garden = steps.run("gardener and helm", || {
        let others = assets::further_crds(progress).and_then(|_| assets::helm(progress));
        let gardener = others.and_then(|_| assets::gardener_apiserver(progress));
        // The step of a whole Gardener runs these programs, and is not to build them.
        let whole = gardener.and_then(|program| GardenPrograms::locate(None, progress).map(|_| program));
        Ok(located(whole))
    });
    let full = args.full;
    let missing = || Ok(NotRun("a program that it needs is missing: see above".to_owned()));
    let unless_missing =
        |there: bool, step: fn(bool) -> Result<Outcome>| move || if there { step(full) } else { missing() };
    steps.run("test-bed tests", unless_missing(bed, test_bed_tests));
    steps.run("admission-assisted", unless_missing(bed, admission_assisted));
    steps.run("garden tests", unless_missing(bed && garden, |_| tests(&["--test", "chart", "--test", "garden"])));
    steps.run("requests and bytes per operation", unless_missing(bed, |_| costs()));
    steps.run("demo", unless_missing(bed, |_| xtask(&["demo", "--full"], |line| line.contains(" phases: "))));
    let images = steps.run("images", images);
    let all_there = bed && garden && images;
    // gardenlet sleeps for half of the time, so that the steps beside it take little longer.
    let whole_gardener = all_there.then(|| whole_gardener(full));
    steps.run("new kind", unless_missing(bed, |_| tests(&["--test", "new_kind"])));
    steps.run("installed controllers", unless_missing(all_there, installed_controllers));
    steps.run("whole Gardener", || whole_gardener.map_or_else(missing, |ended| ended()));
}

/// Runs all faults.
fn faults_alone(steps: &mut Steps) {
    let progress: &dyn Fn(&str) = &|step| say!("{step}");
    let built = steps.run("building", || cargo_step(&["test", "--workspace", "--no-run"], &[]));
    let bed = steps
        .run("etcd and kube-apiserver", || Ok(located(Assets::locate(progress).map(|assets| assets.kube_apiserver))));
    if built && bed {
        steps.run("faults", faults);
    }
}

fn located(program: Result<PathBuf, AssetsError>) -> Outcome {
    match program {
        Ok(program) => Passed(program.display().to_string()),
        // These errors are about the machine, and end with the remedy.
        Err(error) => NotRun(error.to_string()),
    }
}

/// Runs all test targets that have no step of their own. The suites of most kinds run a sample of the tests about
/// processes unless `full`.
fn test_bed_tests(full: bool) -> Result<Outcome> {
    let mut targets = test_targets()?;
    targets.retain(|target| !STEPS_OF_THEIR_OWN.contains(&target.as_str()));
    let targets: Vec<_> = targets.iter().flat_map(|target| ["--test", target]).collect();
    let variables: &[(&str, &Path)] = if full { &[("MOCK_FULL", Path::new("1"))] } else { &[] };
    cargo_test(&[&["--workspace", "--no-fail-fast"], &*targets].concat(), variables)
}

/// Checks the cost of each operation.
fn costs() -> Result<Outcome> {
    if cfg!(target_os = "linux") {
        xtask(&["bench", "--cost", "check"], |_| true)
    } else {
        Ok(NotRun("the benchmark reads /proc: run this step on Linux".to_owned()))
    }
}

/// Runs the suite of each kind that can have an admission policy, with the policy in force: whole for one kind, for the
/// others a sample unless `full`.
fn admission_assisted(full: bool) -> Result<Outcome> {
    let variables: &[(&str, &Path)] = &[("MOCK_ASSISTED", Path::new("1")), ("MOCK_FULL", Path::new("1"))];
    let variables = variables.get(..if full { 2 } else { 1 }).unwrap_or(variables);
    cargo_test(&["--workspace", "--no-fail-fast", "--test", "conformance"], variables)
}

/// The names of the test targets of all packages.
fn test_targets() -> Result<BTreeSet<String>> {
    let packages = cargo::packages()?;
    let targets = packages.iter().filter_map(|package| package.get("targets")?.as_array()).flatten();
    let is_test = |target: &&Value| target.pointer("/kind/0").and_then(Value::as_str) == Some("test");
    let names = targets.filter(is_test).filter_map(|target| target.get("name")?.as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Runs a step that needs a component of the toolchain. The component may be missing.
fn component(subcommand: &str, component: &str, step: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    let probe = cargo::command().args([subcommand, "--version"]).output().context("cannot start cargo")?;
    if probe.status.success() {
        step()
    } else {
        Ok(NotRun(format!("cargo {subcommand} is missing: run `rustup component add {component}`")))
    }
}

/// Checks that only one TLS provider is linked. With two, rustls panics at the first connection; no compiler finds
/// that.
fn one_tls_provider() -> Result<Outcome> {
    let arguments = ["tree", "--workspace", "--target", "all", "--invert", "aws-lc-sys"];
    say!("$ cargo {}", arguments.join(" "));
    let output = cargo::command().args(arguments).output().context("cannot start cargo")?;
    let tree = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !tree.trim().is_empty() {
        say!("{}", tree.trim_end());
        return Ok(Failed("aws-lc-rs is linked in addition to ring: remove the feature that requires it".to_owned()));
    }
    if output.status.success() || errors.contains("did not match any packages") {
        return Ok(Passed(String::new()));
    }
    Ok(Failed(errors.trim().to_owned()))
}

/// Checks that a build of all members has the features that `cargo xtask` was built with. Otherwise the build compiles
/// most dependencies and this program once more.
fn one_set_of_features() -> Result<Outcome> {
    let packages = |arguments: &[&str]| -> Result<BTreeSet<String>> {
        let form = ["--prefix", "none", "--no-dedupe", "--format", "{p} {f}"];
        let tree = cargo::command().arg("tree").args(arguments).args(form).output();
        let output = tree.context("cannot start cargo")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    };
    let all = packages(&["--workspace", "--edges", "normal,build,dev"])?;
    let own = packages(&["--package", env!("CARGO_PKG_NAME"), "--edges", "normal,build"])?;
    let others: Vec<_> = own.difference(&all).map(String::as_str).collect();
    Ok(if others.is_empty() {
        Passed(String::new())
    } else {
        let packages = others.join(", ");
        Failed(format!("in a build of all members, other features: {packages}: make them equal in Cargo.toml"))
    })
}

/// Checks what `.deny.toml` demands of dependencies, and the advisories if cargo-deny has fetched their database before.
fn dependencies() -> Result<Outcome> {
    let probe = cargo::command().args(["deny", "--version"]).output().context("cannot start cargo")?;
    if !probe.status.success() {
        // Building it takes longer than all other checks of the sources.
        return Ok(LeftOut("cargo deny is missing: run `cargo install --locked cargo-deny`".to_owned()));
    }
    let outcome = cargo_step(&["deny", "check", "bans", "licenses", "sources"], &[])?;
    if !matches!(outcome, Passed(_)) {
        return Ok(outcome);
    }
    let known = cargo::home().join("advisory-dbs").is_dir();
    let advisories = || cargo_step(&["deny", "--offline", "check", "advisories"], &[]);
    if known { advisories() } else { Ok(Passed("without advisories: run `cargo deny fetch`".to_owned())) }
}

/// Runs tests of the whole workspace.
fn tests(which: &[&str]) -> Result<Outcome> {
    cargo_test(&[&["--workspace", "--no-fail-fast"], which].concat(), &[])
}

/// Builds the images, and runs the tests for them.
fn images() -> Result<Outcome> {
    say!("$ cargo xtask images");
    images::build_twice()?;
    let variables: &[(&str, &Path)] = &[("MOCK_IMAGES", &images::folder()?)];
    let outcome = cargo_test(&["--package", "mock-promises", "--test", "images"], variables)?;
    let missing = match container::available() {
        Err(error) => Some(error.to_string()),
        Ok(()) if !images::on_path("skopeo") => Some("skopeo is not on PATH: run `apt-get install skopeo`".to_owned()),
        Ok(()) => None,
    };
    Ok(match (outcome, missing) {
        (Passed(text), Some(why)) => NotRun(format!("{why} ({text} without it)")),
        (outcome, _) => outcome,
    })
}

/// Runs the conformance suite of each kind with its controller as gardenlet installs it: in its image, with the chart's
/// permissions, and with no network but a loopback.
fn installed_controllers(full: bool) -> Result<Outcome> {
    if let Err(error) = container::available() {
        return Ok(NotRun(error.to_string()));
    }
    if !images::on_path("ip") {
        return Ok(NotRun("ip is not on PATH: run `apt-get install iproute2`".to_owned()));
    }
    let arguments = ["--workspace", "--no-fail-fast", "--test", "conformance"];
    say!("$ unshare --net cargo test {}", arguments.join(" "));
    let mut cargo = cargo::command();
    cargo.arg("test").args(arguments).env("MOCK_IMAGES", images::folder()?);
    if full {
        cargo.env("MOCK_FULL", "1");
    }
    counted_tests(&mut in_own_network(&cargo))
}

/// Begins to let a real gardenlet drive Shoots: all scenes if `full`, and those of a few minutes otherwise. Returns what
/// waits for the end.
fn whole_gardener(full: bool) -> Box<dyn FnOnce() -> Result<Outcome>> {
    if let Err(error) = Isolation::find() {
        return Box::new(move || Ok(NotRun(error.to_string())));
    }
    let arguments = ["garden", "test", "--name", "test", "--full"];
    let arguments = arguments.get(..if full { 5 } else { 4 }).unwrap_or(&arguments);
    let begun = begin_xtask(arguments, |line| line.ends_with(" steps passed"));
    Box::new(|| begun?())
}

/// Runs all faults: in a network of their own, if this machine allows one.
fn faults() -> Result<Outcome> {
    let arguments = ["--package", "mock-promises", "--test", "faults"];
    let mut cargo = cargo::command();
    cargo.arg("test").args(arguments);
    let probe = Command::new("unshare").args(["--net", "iptables", "--list"]).output();
    if images::on_path("ip") && probe.is_ok_and(|output| output.status.success()) {
        say!("$ unshare --net cargo test {}", arguments.join(" "));
        return counted_tests(&mut in_own_network(cargo.env("MOCK_FAULTS", "network")));
    }
    say!("$ cargo test {}", arguments.join(" "));
    Ok(match counted_tests(cargo.env("MOCK_FAULTS", "1"))? {
        Passed(text) => Passed(format!("{text}; packets that vanish need root, iproute2 and iptables")),
        outcome => outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_test_targets_are_found() {
        let targets = test_targets().unwrap();
        for target in ["bed", "conformance"].iter().chain(&STEPS_OF_THEIR_OWN) {
            assert!(targets.contains(*target), "{target} in {targets:?}");
        }
    }
}
