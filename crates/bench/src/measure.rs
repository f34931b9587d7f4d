//! All runs of all contestants, one after the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use gardener_testbed::{causes, usage};
use mock_view::Machine;

use crate::args::Args;
use crate::contestants::Contestant;
use crate::figures::{ContestantFigures, LoadFigures, Report};
use crate::load::objects_of;
use crate::setup::Setup;
use crate::{run, standing};

/// A report without figures.
pub(crate) fn empty_report(setup: &Setup, contestants: &[Contestant]) -> Result<Report> {
    let plan = setup.landscape.plan(Some(0));
    Ok(Report {
        machine: machine(setup)?,
        load: LoadFigures {
            shoots: setup.options.shoots,
            objects: setup.options.shoots * objects_of(&setup.landscape, 0).len(),
            cluster_bytes: plan.cluster().to_string().len(),
            writers: setup.options.writers,
            rate: setup.options.rate,
            lead: setup.options.lead.as_secs_f64(),
            rounds: 0,
        },
        alone: Contestant::Alone.without_figures(),
        contestants: contestants.iter().map(Contestant::without_figures).collect(),
    })
}

/// Measures all contestants and adds their figures to the report, whose contestants are in the order of `contestants`.
pub(crate) async fn all(setup: &Setup, contestants: &[Contestant], args: &Args, report: &mut Report) -> Result<()> {
    let all: Vec<&Contestant> = [&Contestant::Alone].into_iter().chain(contestants).collect();
    for round in 1..=args.rounds {
        // Each round begins with another contestant: a machine gets warm, and its other work comes and goes.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.rotate_left(usize::from(round - 1) % all.len());
        for index in order {
            let figures = match index.checked_sub(1) {
                None => Some(&mut report.alone),
                Some(index) => report.contestants.get_mut(index),
            };
            let (Some(contestant), Some(figures)) = (all.get(index), figures) else { continue };
            eprintln!("round {round} of {}: {}", args.rounds, figures.name);
            let result = run::one(setup, contestant).await;
            figures.rounds.extend(unless_other(contestant, figures, result)?);
        }
    }
    for (contestant, figures) in contestants.iter().zip(&mut report.contestants) {
        if let Some(shoots) = args.standing.filter(|_| !matches!(contestant, Contestant::RawLimit)) {
            eprintln!("start with the objects of {shoots} Shoots: {}", figures.name);
            let result = standing::one(setup, contestant, usize::try_from(shoots)?).await;
            figures.standing = unless_other(contestant, figures, result)?;
        }
    }
    Ok(())
}

/// Reports an error of other controllers and returns `None`: the figures of all other contestants are kept.
fn unless_other<T>(contestant: &Contestant, of: &ContestantFigures, result: Result<T>) -> Result<Option<T>> {
    match result.with_context(|| of.name.clone()) {
        Ok(measured) => Ok(Some(measured)),
        Err(error) if matches!(contestant, Contestant::Other { .. }) => {
            eprintln!("left out: {}", causes(error.as_ref()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn machine(setup: &Setup) -> Result<Machine> {
    let (cpu, cores, memory, system) = usage::machine().context("cannot read the facts of this machine")?;
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
