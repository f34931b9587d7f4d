//! The cost of each operation for the API server, in requests and bytes. It does not depend on a clock, so a slow or
//! busy machine cannot disturb it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options as BedOptions, TestBed};
use gardener_testbed::requests::{Counters, Tally};
use mock_fleet::kinds::Package;
use mock_fleet::signals::Interrupts;
use mock_fleet::{Fleet, cargo};
use mock_view::say;

use crate::args::Action;
use crate::load::{Answer, Load, Options, Phase};
use crate::setup::{assist, landscape, packages, unless_ended};

const PHASES: [Phase; 5] = [Phase::Create, Phase::Reconcile, Phase::Migrate, Phase::Restore, Phase::Delete];

/// Counts requests and bytes, and compares the counts with `cost.txt` or writes them there.
pub(crate) async fn run(action: Action) -> Result<ExitCode> {
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let programs = cargo::build(&packages(&landscape(&[])?), false, env!("CARGO_PKG_NAME"))?;
    let mut interrupts = Interrupts::listen()?;
    let counted = tokio::select! {
        counted = both(&assets, &programs) => counted?,
        () = interrupts.next() => bail!("interrupted"),
    };

    let file = expected_file();
    if action == Action::Keep {
        fs::write(&file, counted).with_context(|| format!("cannot write {}", file.display()))?;
        say!("{}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let expected = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let differences = differences(&expected, &counted);
    if differences.is_empty() {
        say!("all {} counts are as expected", sections(&counted).len());
        return Ok(ExitCode::SUCCESS);
    }
    say!("{differences}");
    eprintln!("the cost of an operation changed; run `cargo xtask bench --cost keep` if this is intended");
    Ok(ExitCode::FAILURE)
}

/// Counts without and with admission policies, on two separate API servers.
async fn both(assets: &Assets, programs: &[(Package, PathBuf)]) -> Result<String> {
    let mut text = String::new();
    for assisted in [false, true] {
        let bed = TestBed::start(assets, BedOptions { audit: false, janitor: false, ..BedOptions::default() }).await?;
        text += &count(&bed, programs, assisted).await?;
        bed.stop().await.context("cannot end the test bed")?;
    }
    Ok(text)
}

fn expected_file() -> PathBuf {
    cargo::root().join("crates/bench/src/cost.txt")
}

/// Plays all phases of one Shoot, with one request of the generator at a time.
async fn count(bed: &TestBed, programs: &[(Package, PathBuf)], assisted: bool) -> Result<String> {
    let client = bed.client();
    let landscape = landscape(&[])?;
    if assisted {
        assist(&landscape, &client).await?;
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
        let played = unless_ended(Some(&fleet), async { Ok(load.play(phase).await?) }).await?;
        let counted = settled(&client).await?.since(&before).of_others(&played.own);
        let assisted = if assisted { "assisted " } else { "" };
        describe(&format!("{assisted}{}", phase.as_str()), &counted, &mut text);
    }
    let now = revision(&client).await?;
    ensure!(
        now.to_string().len() == digits,
        "the resource versions of the API server got a digit more ({now}), so requests with one have another size: run this \
         again"
    );
    fleet.stop().await?;
    Ok(text)
}

/// Reads the counters until they do not change any more: the API server sends an event before it counts the write.
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

/// The newest resource version. Requests contain one, so its number of digits is part of their size.
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

/// The lines that differ, as in a diff. Lines about the same requests or bodies follow each other.
fn differences(expected: &str, counted: &str) -> String {
    let (expected, counted) = (sections(expected), sections(counted));
    let gone = expected.iter().filter(|line| !counted.contains(line)).map(|line| (line, '-'));
    let new = counted.iter().filter(|line| !expected.contains(line)).map(|line| (line, '+'));
    let mut different: Vec<_> = gone.chain(new).collect();
    // A line is a number and the name of what was counted.
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
    fn changed_number_is_a_difference() {
        let (old, new) = ("create\n  1 × patch a\n  7 bytes: patch a\n", "create\n  1 × patch a\n  8 bytes: patch a\n");
        assert_eq!(differences(old, old), "");
        assert_eq!(differences(old, new), "create: - 7 bytes: patch a\ncreate: + 8 bytes: patch a\n");
    }

    #[test]
    fn missing_request_is_a_difference() {
        assert_eq!(differences("create\n  1 × patch a\ndelete\n", "create\ndelete\n"), "create: - 1 × patch a\n");
    }
}
