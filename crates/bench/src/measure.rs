//! All runs of all entrants, one after the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use mock_view::words::causes;

use crate::args::Args;
use crate::entrants::Entrant;
use crate::figures::{Contestant, LoadFigures, Machine, Report};
use crate::setup::Setup;
use crate::{run, standing, usage};

/// A report without figures.
pub(crate) fn empty_report(setup: &Setup, entrants: &[Entrant]) -> Result<Report> {
    let plan = setup.landscape.plan(Some(0));
    Ok(Report {
        machine: machine(setup)?,
        load: LoadFigures {
            shoots: setup.options.shoots,
            objects: setup.options.shoots * plan.objects().len(),
            cluster_bytes: plan.cluster().to_string().len(),
            writers: setup.options.writers,
            rate: setup.options.rate,
            lead: setup.options.lead.as_secs_f64(),
            rounds: 0,
        },
        alone: Entrant::Alone.contestant(),
        contestants: entrants.iter().map(Entrant::contestant).collect(),
    })
}

/// Measures all entrants and adds their figures to the report, whose contestants are in the order of `entrants`.
pub(crate) async fn all(setup: &Setup, entrants: &[Entrant], args: &Args, report: &mut Report) -> Result<()> {
    let all: Vec<&Entrant> = [&Entrant::Alone].into_iter().chain(entrants).collect();
    for round in 1..=args.rounds {
        // Each round begins with another entrant: a machine gets warm, and its other work comes and goes.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.rotate_left(usize::from(round - 1) % all.len());
        for index in order {
            let contestant = match index.checked_sub(1) {
                None => Some(&mut report.alone),
                Some(index) => report.contestants.get_mut(index),
            };
            let (Some(entrant), Some(contestant)) = (all.get(index), contestant) else { continue };
            eprintln!("round {round} of {}: {}", args.rounds, contestant.name);
            let result = run::one(setup, entrant).await;
            contestant.rounds.extend(unless_other(entrant, contestant, result)?);
        }
    }
    for (entrant, contestant) in entrants.iter().zip(&mut report.contestants) {
        if let Some(shoots) = args.standing.filter(|_| !matches!(entrant, Entrant::RawLimit)) {
            eprintln!("start with the objects of {shoots} Shoots: {}", contestant.name);
            let result = standing::one(setup, entrant, usize::try_from(shoots)?).await;
            contestant.standing = unless_other(entrant, contestant, result)?;
        }
    }
    Ok(())
}

/// Reports an error of other controllers and returns `None`: the figures of all other contestants are kept.
fn unless_other<T>(entrant: &Entrant, contestant: &Contestant, result: Result<T>) -> Result<Option<T>> {
    match result.with_context(|| contestant.name.clone()) {
        Ok(figures) => Ok(Some(figures)),
        Err(error) if matches!(entrant, Entrant::Other { .. }) => {
            eprintln!("left out: {}", causes(error.as_ref()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn machine(setup: &Setup) -> Result<Machine> {
    let (cpu, cores, memory, system) = usage::machine()?;
    Ok(Machine {
        date: k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        cpu,
        cores,
        memory,
        system,
        kube_apiserver: version(&setup.assets.kube_apiserver)?,
        etcd: version(&setup.assets.etcd)?,
    })
}

/// The version of a server: the last word in the first line of `--version`.
fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(output.status.success(), "{} --version failed ({})", program.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().unwrap_or_default();
    Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
}
