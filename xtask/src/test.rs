//! `cargo xtask test`: all checks and tests. It also builds the programs that they need.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use comfy_table::{Cell, Color, Table, presets};
use gardener_testbed::assets::{self, Assets, AssetsError};
use gardener_testbed::{causes, container};
use mock_fleet::cargo;
use mock_view::words::duration;
use serde_json::Value;

use crate::images;

/// Test targets that need more than the test bed. They have separate steps.
const STEPS_OF_THEIR_OWN: [&str; 4] = ["chart", "garden", "images", "new_kind"];

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Leave out the steps that need the test bed
    #[arg(long)]
    fast: bool,
    /// Repeat the whole suite of every kind, admission-assisted and installed, instead of a sample for most kinds
    #[arg(long, conflicts_with = "fast")]
    full: bool,
    /// Run only the faults: all of them, instead of a sample
    #[arg(long, conflicts_with_all = ["fast", "full"])]
    faults: bool,
    /// Fail also if a step cannot run because this machine lacks something
    #[arg(long)]
    require_all: bool,
}

/// How a step ended.
enum Outcome {
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
struct Steps(Vec<(&'static str, Outcome, Duration)>);

impl Steps {
    /// Runs a step. Returns whether it passed.
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<Outcome>) -> bool {
        println!("\n── {name}");
        let started = Instant::now();
        let outcome = step().unwrap_or_else(|error| Failed(causes(error.as_ref())));
        let took = started.elapsed();
        match &outcome {
            Passed(_) => println!("── {name}: passed in {}", duration(took)),
            Failed(why) => println!("── {name}: FAILED after {}: {why}", duration(took)),
            NotRun(why) | LeftOut(why) => println!("── {name}: not run: {why}"),
        }
        let passed = matches!(outcome, Passed(_));
        self.0.push((name, outcome, took));
        passed
    }

    fn any(&self, which: impl Fn(&Outcome) -> bool) -> bool {
        self.0.iter().any(|(_, outcome, _)| which(outcome))
    }

    fn table(&self) -> Table {
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

pub(crate) fn run(args: &Args) -> ExitCode {
    let started = Instant::now();
    let mut steps = Steps(Vec::new());
    if args.faults {
        faults_alone(&mut steps);
    } else {
        every_step(&mut steps, args);
    }

    let failed = steps.any(|outcome| matches!(outcome, Failed(_)));
    let incomplete = steps.any(|outcome| matches!(outcome, NotRun(_)));
    let verdict = match (failed, incomplete) {
        (true, _) => "FAILED",
        (false, true) if args.require_all => "FAILED: some steps could not run, and --require-all requires them",
        (false, true) => "passed, except for steps that could not run",
        (false, false) => "passed",
    };
    println!("\n{}\n{verdict}, in {}", steps.table(), duration(started.elapsed()));
    if failed || (incomplete && args.require_all) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs all steps, the cheapest first.
fn every_step(steps: &mut Steps, args: &Args) {
    steps.run("formatting", || component("fmt", "rustfmt", || cargo_step(&["fmt", "--all", "--check"], &[])));
    steps.run("one TLS provider", one_tls_provider);
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
    let progress: &dyn Fn(&str) = &|step| println!("{step}");
    let bed = steps
        .run("etcd and kube-apiserver", || Ok(located(Assets::locate(progress).map(|assets| assets.kube_apiserver))));
    let garden = steps.run("gardener and helm", || {
        let others = assets::further_crds(progress).and_then(|_| assets::helm(progress));
        let gardener = others.and_then(|_| assets::gardener_apiserver(progress));
        Ok(located(gardener.and_then(|_| assets::gardener_controller_manager(progress))))
    });
    let full = args.full;
    let unless_missing = |there: bool, step: fn(bool) -> Result<Outcome>| {
        move || if there { step(full) } else { Ok(NotRun("a program that it needs is missing: see above".to_owned())) }
    };
    steps.run("test-bed tests", unless_missing(bed, |_| test_bed_tests()));
    steps.run("admission-assisted", unless_missing(bed, admission_assisted));
    steps.run("garden tests", unless_missing(bed && garden, |_| tests(&["--test", "chart", "--test", "garden"])));
    steps.run("requests and bytes per operation", unless_missing(bed, |_| costs()));
    steps.run("demo", unless_missing(bed, |_| xtask(&["demo", "--full"], |line| line.contains(" phases: "))));
    steps.run("new kind", unless_missing(bed, |_| tests(&["--test", "new_kind"])));
    let images = steps.run("images", images);
    steps.run("installed controllers", unless_missing(bed && garden && images, installed_controllers));
}

/// Runs all faults.
fn faults_alone(steps: &mut Steps) {
    let progress: &dyn Fn(&str) = &|step| println!("{step}");
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

/// Runs all test targets that have no step of their own.
fn test_bed_tests() -> Result<Outcome> {
    let mut targets = test_targets()?;
    targets.retain(|target| !STEPS_OF_THEIR_OWN.contains(&target.as_str()));
    tests(&targets.iter().flat_map(|target| ["--test", target]).collect::<Vec<_>>())
}

/// Checks the cost of each operation.
fn costs() -> Result<Outcome> {
    if cfg!(target_os = "linux") {
        xtask(&["bench", "--cost", "check"], |_| true)
    } else {
        Ok(NotRun("the benchmark reads /proc: run this step on Linux".to_owned()))
    }
}

/// Runs the suite of each kind with its admission policy in force: whole for two kinds, for the others a sample unless
/// `full`.
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

fn cargo_step(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
    println!("$ cargo {}", arguments.join(" "));
    let mut command = cargo::command();
    let status = command.args(arguments).envs(variables.iter().copied()).status().context("cannot start cargo")?;
    Ok(if status.success() { Passed(String::new()) } else { Failed(format!("cargo ended with {status}")) })
}

/// Checks that only one TLS provider is linked. With two, rustls panics at the first connection; no compiler finds
/// that.
fn one_tls_provider() -> Result<Outcome> {
    let arguments = ["tree", "--workspace", "--target", "all", "--invert", "aws-lc-sys"];
    println!("$ cargo {}", arguments.join(" "));
    let output = cargo::command().args(arguments).output().context("cannot start cargo")?;
    let tree = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !tree.trim().is_empty() {
        print!("{tree}");
        return Ok(Failed("aws-lc-rs is linked in addition to ring: remove the feature that requires it".to_owned()));
    }
    if output.status.success() || errors.contains("did not match any packages") {
        return Ok(Passed(String::new()));
    }
    Ok(Failed(errors.trim().to_owned()))
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
    println!("$ cargo xtask images");
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
    println!("$ unshare --net cargo test {}", arguments.join(" "));
    let mut cargo = cargo::command();
    cargo.arg("test").args(arguments).env("MOCK_IMAGES", images::folder()?);
    if full {
        cargo.env("MOCK_FULL", "1");
    }
    counted_tests(&mut in_own_network(&cargo))
}

/// Runs all faults: in a network of their own, if this machine allows one.
fn faults() -> Result<Outcome> {
    let arguments = ["--package", "mock-promises", "--test", "faults"];
    let mut cargo = cargo::command();
    cargo.arg("test").args(arguments);
    let probe = Command::new("unshare").args(["--net", "iptables", "--list"]).output();
    if images::on_path("ip") && probe.is_ok_and(|output| output.status.success()) {
        println!("$ unshare --net cargo test {}", arguments.join(" "));
        return counted_tests(&mut in_own_network(cargo.env("MOCK_FAULTS", "network")));
    }
    println!("$ cargo test {}", arguments.join(" "));
    Ok(match counted_tests(cargo.env("MOCK_FAULTS", "1"))? {
        Passed(text) => Passed(format!("{text}; packets that vanish need root, iproute2 and iptables")),
        outcome => outcome,
    })
}

/// The command in a network that has nothing but a loopback.
fn in_own_network(inner: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", r#"ip link set lo up && exec "$@""#, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(cargo::root());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Runs `cargo test` and counts the tests.
fn cargo_test(arguments: &[&str], variables: &[(&str, &Path)]) -> Result<Outcome> {
    println!("$ cargo test {}", arguments.join(" "));
    counted_tests(cargo::command().arg("test").args(arguments).envs(variables.iter().copied()))
}

/// Counts tests by the summary line of each test program: libtest's output for machines is unstable.
fn counted_tests(command: &mut Command) -> Result<Outcome> {
    let (ended_well, lines) = shown(command, |line| line.starts_with("test result:"))?;
    let count = |what: &str| -> u64 { lines.iter().map(|line| counted(line, what)).sum() };
    let (passed, failed) = (count("passed"), count("failed"));
    Ok(if ended_well {
        Passed(format!("{passed} passed"))
    } else {
        Failed(format!("{failed} failed, {passed} passed"))
    })
}

/// The number before a word in a summary line such as `test result: ok. 3 passed; 0 failed; …`.
fn counted(line: &str, what: &str) -> u64 {
    let words: Vec<_> = line.split([' ', ';']).collect();
    let position = words.iter().position(|word| *word == what).and_then(|position| position.checked_sub(1));
    position.and_then(|position| words.get(position)).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Runs another command of this program, with its output in a pipe. The last line that `keep` accepts is its summary.
fn xtask(arguments: &[&str], keep: fn(&str) -> bool) -> Result<Outcome> {
    println!("$ cargo xtask {}", arguments.join(" "));
    let mut command = Command::new(env::current_exe()?);
    let (ended_well, lines) = shown(command.args(arguments), keep)?;
    let summary = lines.into_iter().next_back().unwrap_or_default();
    Ok(if ended_well { Passed(summary) } else { Failed("see its output above".to_owned()) })
}

/// Runs a command and shows its output at once. Returns whether it succeeded, and the lines that `keep` accepts.
fn shown(command: &mut Command, keep: impl Fn(&str) -> bool) -> Result<(bool, Vec<String>)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut kept = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|output| output.split(b'\n')) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if keep(&line) {
            kept.push(line.into_owned());
        }
    }
    Ok((child.wait()?.success(), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_the_summary_line() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!((counted(line, "passed"), counted(line, "failed"), counted(line, "wished")), (12, 3, 0));
    }

    #[test]
    fn all_test_targets_are_found() {
        let targets = test_targets().unwrap();
        for target in ["bed", "conformance"].iter().chain(&STEPS_OF_THEIR_OWN) {
            assert!(targets.contains(*target), "{target} in {targets:?}");
        }
    }

    #[test]
    fn step_that_did_not_run_is_listed_with_the_reason() {
        let mut steps = Steps(Vec::new());
        assert!(!steps.run("a step", || Ok(NotRun("no tool: install it".to_owned()))));
        assert!(!steps.run("another", || anyhow::bail!("broken")));
        let table = steps.table().to_string();
        assert!(
            table.contains("not run") && table.contains("no tool: install it") && table.contains("broken"),
            "{table}"
        );
    }
}
