//! A table of the outcomes of a script, from the same random draws that the controllers make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use comfy_table::{Cell, CellAlignment, Table, modifiers, presets};
use extension_contract::OperationType;
use extension_contract::kinds::{self, Kind};
use extension_contract::readiness::state_of_shoot;
use mock_core::script::simulate::{MOST_ATTEMPTS, Simulated, simulate};
use mock_core::script::{Operation, Subject};
use mock_fleet::cargo;
use mock_gardenlet::shoot::{Landscape, Manifests, Planned};
use mock_view::words::{duration, percentile};
use serde_json::Value;

use super::story::Story;
use crate::landscape;

/// An outcome that many objects share.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    kind: &'static str,
    ends: &'static str,
    rule: String,
    gardenlet: &'static str,
}

/// The attempts and times of the objects that share an outcome.
#[derive(Default)]
struct Numbers {
    attempts: Vec<u32>,
    /// The times of objects that succeed.
    times: Vec<Duration>,
}

/// The Shoot that a script is simulated for, and its file.
pub(super) async fn landscape(story: &Story, shoot: Option<PathBuf>) -> Result<(Landscape, PathBuf)> {
    let example = cargo::root().join("example");
    let own = || if story.is_shoot { story.file.clone() } else { example.join(landscape::DEFAULT_SHOOT) };
    let shoot = shoot.unwrap_or_else(own);
    let manifests = Manifests::read(&shoot, None, None, Some(&example))?;
    Ok((landscape::admitted(manifests).await?, shoot))
}

/// Simulates a script for all objects of a number of Shoots, and sums the outcomes up.
pub(super) fn table(
    story: &Story,
    landscape: &Landscape,
    file: &Path,
    shoots: u32,
    operation: Operation,
    seed: Option<u64>,
) -> Result<String> {
    let seed = match (story.script.seed, seed) {
        (Some(own), Some(_)) => {
            bail!("--seed is for a script without a seed, but this one has {own}: leave --seed out")
        }
        (own, given) => own.or(given).unwrap_or(1),
    };
    let operation = as_type(operation);
    let mut outcomes = BTreeMap::<Outcome, Numbers>::new();
    for index in 0..usize::try_from(shoots)? {
        let plan = landscape.plan((shoots > 1).then_some(index));
        let of_seed = if index == 0 { landscape.seed(None).objects() } else { Vec::new() };
        for planned in of_seed.into_iter().chain(plan.objects()).filter(|planned| story.reaches(planned)) {
            let kind = kinds::find(planned.kind).with_context(|| format!("Gardener has no kind {}", planned.kind))?;
            let subject = subject(&planned, &plan.namespace);
            let foreseen = simulate(&story.script, seed, &subject, operation, kind.timeout.try_into()?);
            let numbers = outcomes.entry(Outcome::of(kind, operation, &foreseen)).or_default();
            numbers.attempts.push(foreseen.attempts);
            numbers.times.extend(foreseen.takes.and_then(|takes| Duration::try_from(takes).ok()));
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).apply_modifier(modifiers::UTF8_ROUND_CORNERS).force_no_tty();
    table.set_header(["kind", "outcome", "last rule", "gardenlet", "objects", "attempts", "p50", "max"]);
    for (outcome, Numbers { mut attempts, mut times }) in outcomes {
        attempts.sort_unstable();
        times.sort_unstable();
        let attempt = |number: Option<&u32>| match number {
            Some(&MOST_ATTEMPTS) => "no end".to_owned(),
            number => number.copied().unwrap_or_default().to_string(),
        };
        let range = match (attempt(attempts.first()), attempt(attempts.last())) {
            (from, to) if from == to => from,
            (from, to) => format!("{from} to {to}"),
        };
        let time = |percent| match percentile(&times, percent) {
            None => "never".to_owned(),
            Some(Duration::ZERO) => "at once".to_owned(),
            Some(time) => duration(time),
        };
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(outcome.kind),
            Cell::new(outcome.ends),
            Cell::new(outcome.rule),
            Cell::new(outcome.gardenlet),
            right(attempts.len().to_string()),
            right(range),
            right(time(50)),
            right(time(100)),
        ]);
    }
    let shoots = format!("{shoots} Shoot{}", if shoots == 1 { "" } else { "s" });
    let file = file.file_name().unwrap_or_default().display();
    Ok(format!("{table}\n{} of {shoots} like the one in {file}, seed {seed}\n", operation.as_str()))
}

fn subject<'a>(planned: &'a Planned, namespace: &'a str) -> Subject<'a> {
    let spec = planned.object.get("spec");
    let of_object = planned.object.pointer("/metadata/namespace").and_then(Value::as_str);
    let pools = spec.and_then(|spec| spec.get("pools")).and_then(Value::as_array);
    Subject {
        kind: planned.kind,
        namespace: of_object.unwrap_or_default(),
        name: &planned.name,
        shoot: namespace,
        purpose: spec.and_then(|spec| spec.get("purpose")).and_then(Value::as_str),
        pools: pools.into_iter().flatten().filter_map(|pool| pool.get("name")?.as_str()).collect(),
    }
}

impl Outcome {
    fn of(kind: &'static Kind, operation: OperationType, foreseen: &Simulated) -> Self {
        let rule = match &foreseen.rule {
            Some(rule) => {
                format!("{}{}", rule.number, rule.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default())
            }
            None => "none".to_owned(),
        };
        let ends = if foreseen.takes.is_some() { "succeeds" } else { "never ends" };
        Self { kind: kind.name, ends, rule, gardenlet: verdict(kind, operation, foreseen) }
    }
}

/// gardenlet's reaction. It gives up on an error after the kind's threshold for errors, unless the operation is a
/// deletion or a migration. It always gives up after the kind's timeout (`pkg/extensions/customresources.go`).
fn verdict(kind: &Kind, operation: OperationType, foreseen: &Simulated) -> &'static str {
    let takes = foreseen.takes.and_then(|takes| Duration::try_from(takes).ok()).unwrap_or(Duration::MAX);
    let looks_at_errors = !matches!(operation, OperationType::Delete | OperationType::Migrate);
    if let Some((at, codes)) = foreseen.fails.as_ref().filter(|_| looks_at_errors) {
        let seen = Duration::try_from(*at).unwrap_or(Duration::MAX).max(kind.severe);
        if seen < takes.min(kind.timeout) {
            let codes: Vec<_> = codes.iter().filter_map(|code| serde_json::to_value(code).ok()).collect();
            let codes: Vec<_> = codes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            return if state_of_shoot(&codes) == "Failed" { "gives up, Failed" } else { "gives up, Error" };
        }
    }
    if takes <= kind.timeout { "goes on" } else { "times out" }
}

const fn as_type(operation: Operation) -> OperationType {
    match operation {
        Operation::Create => OperationType::Create,
        Operation::Reconcile => OperationType::Reconcile,
        Operation::Delete => OperationType::Delete,
        Operation::Migrate => OperationType::Migrate,
        Operation::Restore => OperationType::Restore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outcome_follows_the_script_and_is_the_same_each_time() {
        let story = Story::find("quota-exceeded").unwrap();
        let (landscape, file) = landscape(&story, None).await.unwrap();
        let table = |seed| table(&story, &landscape, &file, 20, Operation::Create, seed);
        let first = table(None).unwrap();
        assert_eq!(first, table(None).unwrap());
        assert!(table(Some(7)).is_err(), "the story has a seed");
        let row = first.lines().find(|line| line.contains("Infrastructure")).unwrap_or_default();
        for cell in ["succeeds", " 3 ", "goes on", " 20 ", "20.0 s"] {
            assert!(row.contains(cell), "{cell} is missing in\n{first}");
        }
    }

    #[test]
    fn gardenlet_gives_up_on_an_error_before_its_timeout() {
        let foreseen = |takes: Option<i64>, fails: Option<i64>| Simulated {
            attempts: 1,
            rule: None,
            takes: takes.map(k8s_openapi::jiff::SignedDuration::from_secs),
            fails: fails.map(|at| (k8s_openapi::jiff::SignedDuration::from_secs(at), Vec::new())),
        };
        assert_eq!(verdict(&kinds::NETWORK, OperationType::Create, &foreseen(Some(29), Some(1))), "goes on");
        assert_eq!(verdict(&kinds::NETWORK, OperationType::Create, &foreseen(Some(31), Some(1))), "gives up, Error");
        assert_eq!(verdict(&kinds::INFRASTRUCTURE, OperationType::Create, &foreseen(Some(31), Some(1))), "goes on");
        assert_eq!(verdict(&kinds::NETWORK, OperationType::Create, &foreseen(Some(179), None)), "goes on");
        assert_eq!(verdict(&kinds::NETWORK, OperationType::Create, &foreseen(None, None)), "times out");
        assert_eq!(verdict(&kinds::NETWORK, OperationType::Delete, &foreseen(Some(31), Some(1))), "goes on");
    }
}
