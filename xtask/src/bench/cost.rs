//! What an operation costs the API server, to the last request and byte: the guard against a slower mock that no clock
//! and no noisy machine can disturb.

use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use mock_testbed::{
    assets::Assets,
    bed::{Options as BedOptions, TestBed},
    load::{Answer, Counters, Load, Options, Phase, Tally},
    shoot::Landscape,
};

use super::fleet::Fleet;
use crate::{cargo, kinds, signals::Interrupts};

const PHASES: [Phase; 5] = [Phase::Create, Phase::Reconcile, Phase::Migrate, Phase::Restore, Phase::Delete];

/// Counts, and compares with the file beside this one, or writes it.
pub(super) async fn run(keep: bool) -> Result<ExitCode> {
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let programs = cargo::build(kinds::ALL, false)?;
    let mut interrupts = Interrupts::listen()?;
    let bed = TestBed::start(&assets, BedOptions { audit: false, janitor: false, ..BedOptions::default() }).await?;
    let counted = tokio::select! {
        counted = count(&bed, &programs) => counted?,
        () = interrupts.next() => anyhow::bail!("interrupted"),
    };
    bed.stop().await.context("cannot end the test bed")?;

    let file = expected_file();
    if keep {
        fs::write(&file, counted).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let expected = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let differences = differences(&expected, &counted);
    if differences.is_empty() {
        println!("{} requests as expected, to the byte", counted.lines().filter(|line| line.contains(" × ")).count());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{differences}");
    eprintln!(
        "an operation costs something else than before: if that is meant, `cargo xtask bench --new-cost` keeps it"
    );
    Ok(ExitCode::FAILURE)
}

fn expected_file() -> PathBuf {
    cargo::root().join("xtask/src/bench/cost.txt")
}

/// One Shoot through all phases, one request of gardenlet's at a time.
async fn count(bed: &TestBed, programs: &[(kinds::Kind, PathBuf)]) -> Result<String> {
    let client = bed.client();
    let (fleet, _) = Fleet::ours(programs, &[], bed.kubeconfig(), bed.dir()).await?;
    let landscape = Landscape::load(&cargo::root().join("example/55-shoot.yaml"), None, None)?;
    let options = Options { first: 0, shoots: 1, writers: 1, rate: None, answer: Answer::Controllers };
    let load = Load::start(client.clone(), landscape, options).await?;
    let mut text = String::new();
    let digits = revision(&client).await?.to_string().len();
    for phase in PHASES {
        load.prepare(phase).await?;
        let before = Counters::read(&client).await?;
        let played = load.play(phase).await?;
        // A controller may still be waiting for the answer to its last write, but the API server has counted it.
        let counted = Counters::read(&client).await?.since(&before).of_others(&played.own);
        describe(phase, &counted, &mut text);
    }
    let now = revision(&client).await?;
    ensure!(
        now.to_string().len() == digits,
        "the API server's revision grew to {now}, and with it the size of every request that names one: start over"
    );
    fleet.stop().await?;
    Ok(text)
}

/// The newest revision of the API server's store, which requests name and whose digits are part of their size.
async fn revision(client: &kube::Client) -> Result<u64> {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
    let list = namespaces.list_metadata(&kube::api::ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default().parse()?)
}

fn describe(phase: Phase, counted: &Tally, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", phase.as_str());
    for ((verb, resource), requests) in &counted.requests {
        let _ = write!(text, "  {} × {verb} {resource}", requests.count);
        for (number, what) in [(requests.conflicts, "conflicts"), (requests.failures, "failures")] {
            if number > 0 {
                let _ = write!(text, ", {number} {what}");
            }
        }
        text.push('\n');
    }
    for ((verb, resource), bytes) in &counted.bodies {
        let _ = writeln!(text, "  {bytes} bytes: {verb} {resource}");
    }
}

/// The lines that are not the same, as a diff shows them; the phase before them.
fn differences(expected: &str, counted: &str) -> String {
    let (expected, counted) = (sections(expected), sections(counted));
    let mut text = String::new();
    for (phase, line) in expected.iter().filter(|line| !counted.contains(line)) {
        let _ = writeln!(text, "{phase}: -{line}");
    }
    for (phase, line) in counted.iter().filter(|line| !expected.contains(line)) {
        let _ = writeln!(text, "{phase}: +{line}");
    }
    text
}

fn sections(text: &str) -> Vec<(&str, &str)> {
    let mut phase = "";
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("  ") {
            Some(line) => lines.push((phase, line)),
            None => phase = line,
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_byte_is_a_difference() {
        let (old, new) = ("create\n  1 × patch a\n  7 bytes: patch a\n", "create\n  1 × patch a\n  8 bytes: patch a\n");
        assert_eq!(differences(old, old), "");
        assert_eq!(differences(old, new), "create: -7 bytes: patch a\ncreate: +8 bytes: patch a\n");
    }

    #[test]
    fn a_request_that_is_no_longer_made_is_a_difference() {
        assert_eq!(differences("create\n  1 × patch a\ndelete\n", "create\ndelete\n"), "create: -1 × patch a\n");
    }
}
