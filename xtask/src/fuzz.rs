//! `cargo xtask fuzz`: builds the fuzz target and runs it for a bounded time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use gardener_testbed::assets;
use mock_fleet::cargo;
use mock_fleet::kinds::Package;
use mock_view::say;

/// Inputs that are kept: together, they reach what was reached so far.
const CORPUS: &str = "crates/fuzz/corpus";
/// Longest input, in bytes. Longer ones reach nothing more.
const LONGEST: u32 = 4096;
/// How long one input may take, in seconds, and how much memory the target may use, in MiB.
const SLOWEST: u32 = 10;
const LARGEST: u32 = 1024;

/// What libFuzzer needs to see of the program. These flags work with a stable compiler, so no nightly one and no cargo-fuzz is
/// needed. Addresses are not sanitized: the workspace forbids unsafe code.
const COVERAGE: [&str; 7] = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_080))]
    minutes: u32,
    /// Feed only the controller of this kind [default: those of all kinds]
    #[arg(long, value_parser = Package::parse)]
    kind: Option<Package>,
    /// Reduce the corpus in crates/fuzz/corpus to the inputs that reach more than the others, instead of fuzzing
    #[arg(long, conflicts_with_all = ["minutes", "kind"])]
    minimize: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // The target does not download: it may run many times at once.
    assets::extension_crds(&|step| say!("{step}"))?;
    let program = build()?;
    let corpus = cargo::root().join(CORPUS);
    let findings = cargo::target()?.join("fuzz-findings");
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if args.minimize {
        return minimize(&program, &corpus);
    }
    let mut command = fuzzer(&program);
    command.arg(format!("-max_total_time={}", args.minutes.saturating_mul(60)));
    command.arg(format!("-artifact_prefix={}/", findings.display())).arg(&corpus);
    if let Some(kind) = args.kind {
        command.env("MOCK_FUZZ_KIND", kind.name);
    }
    let ended = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    if !ended.success() {
        bail!(
            "an input breaks a promise, as described above; it is in {}: write a test with its object",
            findings.display()
        );
    }
    say!("nothing was found; {CORPUS} has {} inputs", fs::read_dir(&corpus)?.count());
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<PathBuf> {
    let target = host()?;
    let mut command = cargo::command();
    // With a named target, build scripts and macros get no flags. They could not be linked with these.
    command.args(["build", "--profile", "fuzz", "--package", "mock-fuzz", "--features", "libfuzzer"]);
    command.args(["--bin", "fuzz-rounds", "--target", &target]);
    command.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    let built = command.status().context("cannot start cargo")?;
    ensure!(built.success(), "the fuzz target cannot be built: see above; it needs a C++ compiler as `c++`");
    Ok(cargo::target()?.join(target).join("fuzz/fuzz-rounds"))
}

/// The target of this machine's compiler.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let told = String::from_utf8_lossy(&output.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` does not name the host: install Rust by rustup")
}

fn fuzzer(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(format!("-max_len={LONGEST}"));
    command.arg(format!("-timeout={SLOWEST}"));
    command.arg(format!("-rss_limit_mb={LARGEST}"));
    command.args(["-print_final_stats=1", "-verbosity=1"]);
    command
}

/// Replaces the corpus by a smaller one that reaches the same.
fn minimize(program: &Path, corpus: &Path) -> Result<ExitCode> {
    let smaller = corpus.with_extension("smaller");
    fs::create_dir_all(&smaller).with_context(|| format!("cannot create {}", smaller.display()))?;
    let mut command = fuzzer(program);
    let merged =
        command.arg("-set_cover_merge=1").args([&smaller, corpus]).status().context("cannot start the fuzz target")?;
    ensure!(merged.success(), "the corpus cannot be reduced: see above");
    fs::remove_dir_all(corpus).with_context(|| format!("cannot remove {}", corpus.display()))?;
    fs::rename(&smaller, corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    say!("{CORPUS} has {} inputs", fs::read_dir(corpus)?.count());
    Ok(ExitCode::SUCCESS)
}
