//! The commands of the steps: their output is shown at once, and sums up what came of them.

use std::env;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use mock_fleet::cargo;
use mock_view::say;
use mock_view::words::duration;

use super::steps::Outcome::{self, Failed, Passed};

/// The file of this program. [`remember_program`] looks it up before a step builds anything: if a build replaces the file,
/// the system names the deleted one.
static PROGRAM: LazyLock<io::Result<PathBuf>> = LazyLock::new(env::current_exe);

/// Must be called before any step.
pub(super) fn remember_program() {
    LazyLock::force(&PROGRAM);
}

pub(super) fn cargo_step(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
    say!("$ cargo {}", arguments.join(" "));
    let mut command = cargo::command();
    let status = command.args(arguments).envs(variables.iter().copied()).status().context("cannot start cargo")?;
    Ok(if status.success() { Passed(String::new()) } else { Failed(format!("cargo ended with {status}")) })
}

/// The command in a network that has nothing but a loopback.
pub(super) fn in_own_network(inner: &Command) -> Command {
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
pub(super) fn cargo_test(arguments: &[&str], variables: &[(&str, &Path)]) -> Result<Outcome> {
    say!("$ cargo test {}", arguments.join(" "));
    counted_tests(cargo::command().arg("test").args(arguments).envs(variables.iter().copied()))
}

/// Counts tests by the summary line of each test program: libtest's output for machines is unstable.
pub(super) fn counted_tests(command: &mut Command) -> Result<Outcome> {
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
pub(super) fn counted(line: &str, what: &str) -> u64 {
    let words: Vec<_> = line.split([' ', ';']).collect();
    let position = words.iter().position(|word| *word == what).and_then(|position| position.checked_sub(1));
    position.and_then(|position| words.get(position)).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Runs another command of this program, with its output in a pipe. The last line that `keep` accepts is its summary.
pub(super) fn xtask(arguments: &[&str], keep: fn(&str) -> bool) -> Result<Outcome> {
    say!("$ cargo xtask {}", arguments.join(" "));
    let (ended_well, lines) = shown(program()?.args(arguments), keep)?;
    Ok(summed_up(ended_well, lines))
}

/// This program, for another command of it.
fn program() -> Result<Command> {
    let program = PROGRAM.as_ref().map_err(|error| anyhow!("cannot find the file of this program: {error}"))?;
    Ok(Command::new(program))
}

fn summed_up(ended_well: bool, kept: Vec<String>) -> Outcome {
    let summary = kept.into_iter().next_back().unwrap_or_default();
    if ended_well { Passed(summary) } else { Failed("see its output above".to_owned()) }
}

/// Starts another command of this program, beside which other steps run. Returns what waits for its end, shows its output
/// and sums it up. A Ctrl-C at the terminal ends the command as well.
pub(super) fn begin_xtask(
    arguments: &[&str],
    keep: fn(&str) -> bool,
) -> Result<impl FnOnce() -> Result<Outcome> + use<>> {
    let mut program = program()?;
    program.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = program.spawn().with_context(|| format!("cannot start {}", program.get_program().display()))?;
    let command = arguments.join(" ");
    say!("$ cargo xtask {command}   # beside the next steps, which its output follows");
    // A full pipe would stop the command.
    let output = thread::spawn(move || {
        let begun = Instant::now();
        child.wait_with_output().map(|output| (output, begun.elapsed()))
    });
    Ok(move || {
        let (output, took) =
            output.join().map_err(|_| anyhow!("the thread that reads the output of {command} has panicked"))??;
        let [lines, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        say!("{}{}", errors, lines.trim_end());
        let kept = lines.lines().filter(|line| keep(line)).map(str::to_owned).collect();
        Ok(match summed_up(output.status.success(), kept) {
            // The step's own time is that of the wait for its end.
            Passed(summary) => Passed(format!("{summary}, {} in all", duration(took))),
            other => other,
        })
    })
}

/// Runs a command and shows its output at once. Returns whether it succeeded, and the lines that `keep` accepts.
pub(super) fn shown(command: &mut Command, keep: impl Fn(&str) -> bool) -> Result<(bool, Vec<String>)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut kept = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|output| output.split(b'\n')) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        say!("{line}");
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
}
