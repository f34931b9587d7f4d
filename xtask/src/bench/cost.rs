//! What an operation costs the API server, to the last request and byte: the guard against a slower mock that no clock
//! and no noisy machine can disturb.

use std::{fmt::Write as _, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, ensure};
use mock_testbed::{
    assets::Assets,
    bed::{Options as BedOptions, TestBed},
    load::{Answer, Counters, Load, Options, Phase, Tally},
    shoot::Landscape,
};

use super::{fleet::Fleet, turn};
use crate::{cargo, kinds, signals::Interrupts};

const PHASES: [Phase; 5] = [Phase::Create, Phase::Reconcile, Phase::Migrate, Phase::Restore, Phase::Delete];

/// What is done with what was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Then {
    /// It is compared with what is expected.
    Check,
    /// It is what is expected from now on.
    Keep,
}

/// Counts, and compares with the file beside this one, or writes it.
pub(super) async fn run(then: Then) -> Result<ExitCode> {
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let programs = cargo::build(kinds::ALL, false)?;
    let mut interrupts = Interrupts::listen()?;
    let counted = tokio::select! {
        counted = both(&assets, &programs) => counted?,
        () = interrupts.next() => anyhow::bail!("interrupted"),
    };

    let file = expected_file();
    if then == Then::Keep {
        fs::write(&file, counted).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let expected = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let differences = differences(&expected, &counted);
    if differences.is_empty() {
        println!("{} figures, each as expected", sections(&counted).len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("{differences}");
    eprintln!("an operation costs something else than before; `cargo xtask bench --cost keep` if that is meant");
    Ok(ExitCode::FAILURE)
}

/// Counts without and with admission policies, each on an API server of its own.
async fn both(assets: &Assets, programs: &[(kinds::Kind, PathBuf)]) -> Result<String> {
    let mut text = String::new();
    for assisted in [false, true] {
        let bed = TestBed::start(assets, BedOptions { audit: false, janitor: false, ..BedOptions::default() }).await?;
        text += &count(&bed, programs, assisted).await?;
        bed.stop().await.context("cannot end the test bed")?;
    }
    Ok(text)
}

fn expected_file() -> PathBuf {
    cargo::root().join("xtask/src/bench/cost.txt")
}

/// One Shoot through all phases, one request of gardenlet's at a time.
async fn count(bed: &TestBed, programs: &[(kinds::Kind, PathBuf)], assisted: bool) -> Result<String> {
    let client = bed.client();
    let landscape = Landscape::load(&cargo::root().join("example/55-shoot.yaml"), None, None)?;
    if assisted {
        turn::assist(&landscape, &client).await?;
    }
    let (fleet, _) = Fleet::ours(programs, &[], bed.kubeconfig(), bed.dir()).await?;
    let options =
        Options { first: 0, shoots: 1, writers: 1, rate: None, lead: Duration::ZERO, answer: Answer::Controllers };
    let load = Load::start(client.clone(), landscape, options).await?;
    let mut text = String::new();
    let digits = revision(&client).await?.to_string().len();
    for phase in PHASES {
        load.prepare(phase).await?;
        let before = Counters::read(&client).await?;
        let played = turn::unless_ended(Some(&fleet), async { Ok(load.play(phase).await?) }).await?;
        let counted = settled(&client).await?.since(&before).of_others(&played.own);
        let assisted = if assisted { "assisted " } else { "" };
        describe(&format!("{assisted}{}", phase.as_str()), &counted, &mut text);
    }
    let now = revision(&client).await?;
    ensure!(
        now.to_string().len() == digits,
        "the API server's revision grew to {now}, and with it the size of every request that names one: start over"
    );
    fleet.stop().await?;
    Ok(text)
}

/// What the API server counts once it counts nothing more: it sends an event before it has counted the write.
async fn settled(client: &kube::Client) -> Result<Counters> {
    let mut last = Counters::read(client).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = Counters::read(client).await?;
        if now.since(&last).is_empty() {
            return Ok(now);
        }
        last = now;
    }
}

/// The newest revision of the API server's store, which requests name and whose digits are part of their size.
async fn revision(client: &kube::Client) -> Result<u64> {
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
    let list = namespaces.list_metadata(&kube::api::ListParams::default().limit(1)).await?;
    Ok(list.metadata.resource_version.unwrap_or_default().parse()?)
}

fn describe(phase: &str, counted: &Tally, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{phase}");
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

/// The lines that are not the same, as a diff shows them; what is about the same stands together.
fn differences(expected: &str, counted: &str) -> String {
    let (expected, counted) = (sections(expected), sections(counted));
    let gone = expected.iter().filter(|line| !counted.contains(line)).map(|line| (line, '-'));
    let new = counted.iter().filter(|line| !expected.contains(line)).map(|line| (line, '+'));
    let mut different: Vec<_> = gone.chain(new).collect();
    // Behind the number stands what there is so much of.
    different.sort_by_key(|((phase, line), sign)| (*phase, line.split_once(' ').map(|(_, what)| what), *sign == '+'));
    different.into_iter().fold(String::new(), |text, ((phase, line), sign)| format!("{text}{phase}: {sign} {line}\n"))
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
        assert_eq!(differences(old, new), "create: - 7 bytes: patch a\ncreate: + 8 bytes: patch a\n");
    }

    #[test]
    fn a_request_that_is_no_longer_made_is_a_difference() {
        assert_eq!(differences("create\n  1 × patch a\ndelete\n", "create\ndelete\n"), "create: - 1 × patch a\n");
    }
}
