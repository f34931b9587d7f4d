//! One run: the load, for one contestant, on a separate API server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use gardener_testbed::bed::TestBed;
use gardener_testbed::requests::Counters;
use gardener_testbed::usage::{cpu as cpu_of_one, cpu_of, memory};
use kube::Client;
use mock_fleet::{Fleet, StartTimes};

use crate::contestants::Contestant;
use crate::figures::{Bodies, Cpu, Generator, PhaseFigures, Process, RequestFigures, Round, SampleFigures};
use crate::load::{self, Answer, Load, Options, Played, baseline_watches};
use crate::setup::{self, Setup, unless_ended};
use crate::usage;

/// How many Shoots warm everything up: enough to run all code and open all connections.
const WARM_UP_SHOOTS: usize = 16;
/// How long CPU at rest is measured, after a pause of the same length.
const REST: Duration = Duration::from_secs(5);

/// Runs all phases for one contestant.
pub(crate) async fn one(setup: &Setup, contestant: &Contestant) -> Result<Round> {
    let bed = setup.bed(contestant).await?;
    let mut round = Round::default();
    let fleet = setup.start(contestant, &bed).await?.map(|(fleet, times)| {
        note_starts(&mut round.processes, times);
        fleet
    });
    unless_ended(fleet.as_ref(), phases(setup, &bed, contestant.answer(), fleet.as_ref(), &mut round)).await?;
    if let Some(fleet) = fleet {
        fleet.stop().await?;
    }
    bed.stop().await.context("cannot end the test bed")?;
    Ok(round)
}

/// Notes how long each controller took to start.
pub(crate) fn note_starts(processes: &mut BTreeMap<String, Process>, starts: Vec<(String, StartTimes)>) {
    for (name, times) in starts {
        let process = processes.entry(name).or_default();
        process.listed_after = Some(times.listed.as_secs_f64());
        process.ready_after = Some(times.ready.as_secs_f64());
    }
}

/// Measures everything.
async fn phases(setup: &Setup, bed: &TestBed, answer: Answer, fleet: Option<&Fleet>, round: &mut Round) -> Result<()> {
    let client = bed.client();
    let watches =
        if answer == Answer::Baseline { baseline_watches(&client, &setup.landscape).await? } else { Vec::new() };
    note_memory(&mut round.processes, fleet, |process, (now, _)| process.memory_empty = now)?;

    let options = Options { answer, ..setup.options };
    let warm_up = Options { first: setup::WARM_UP, shoots: WARM_UP_SHOOTS, rate: None, ..options };
    let warm_up = Load::start(client.clone(), setup.landscape.clone(), warm_up).await?;
    for phase in [load::Phase::Create, load::Phase::Reconcile, load::Phase::Delete] {
        warm_up.play(phase).await.with_context(|| format!("in phase {} of the warm-up", phase.as_str()))?;
    }
    drop(warm_up);

    let load = Load::start(client.clone(), setup.landscape.clone(), options).await?;
    let (last, others) = setup.phases.split_last().context("there is no phase")?;
    for phase in others {
        round.phases.push(measure(bed, &client, fleet, &load, *phase).await?);
        if *phase == load::Phase::Reconcile && answer != Answer::None {
            let samples = load.one_by_one(setup.idle).await?;
            round.idle_latencies = samples.iter().map(|sample| sample.latency().as_secs_f64() * 1000.0).collect();
        }
    }
    if let Some(fleet) = fleet {
        rest(&mut round.processes, fleet, REST).await?;
    }
    round.phases.push(measure(bed, &client, fleet, &load, *last).await?);
    note_memory(&mut round.processes, fleet, |process, (_, peak)| process.memory_peak = peak)?;
    ensure!(
        watches.iter().all(|watch| !watch.is_finished()),
        "the API server closed a watch of the raw limit, which then had less work than controllers have"
    );
    Ok(())
}

/// Measures memory and CPU of idle controllers, for as long as `during` after a pause of the same length.
pub(crate) async fn rest(processes: &mut BTreeMap<String, Process>, fleet: &Fleet, during: Duration) -> Result<()> {
    tokio::time::sleep(during).await;
    let members = usage::members(fleet)?;
    let cpu = |(_, ids): &(String, Vec<i32>)| cpu_of(ids);
    let before: Vec<f64> = members.iter().map(cpu).collect();
    let began = Instant::now();
    tokio::time::sleep(during).await;
    let elapsed = began.elapsed().as_secs_f64();
    for (member, before) in members.iter().zip(before) {
        let process = processes.entry(member.0.clone()).or_default();
        process.cpu_rest = (cpu(member) - before) / elapsed * 100.0;
    }
    note_memory(processes, Some(fleet), |process, (now, peak)| {
        process.memory_rest = now;
        // The kernel updates the peak later than the current value.
        process.memory_peak = peak.max(now);
    })
}

/// Calls `note` for each controller with its memory now and its peak, in bytes.
fn note_memory(
    processes: &mut BTreeMap<String, Process>,
    fleet: Option<&Fleet>,
    note: impl Fn(&mut Process, (u64, u64)),
) -> Result<()> {
    for (name, ids) in fleet.map(usage::members).transpose()?.into_iter().flatten() {
        let (now, peak) = ids.iter().map(|id| memory(*id)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        note(processes.entry(name).or_default(), (now, peak));
    }
    Ok(())
}

/// Measures one phase. All counters are read before and after it.
async fn measure(
    bed: &TestBed,
    client: &Client,
    fleet: Option<&Fleet>,
    load: &Load,
    phase: load::Phase,
) -> Result<PhaseFigures> {
    load.prepare(phase).await?;
    let counters = Counters::read(client).await?;
    let before = cpu(bed, fleet)?;
    let played = load.play(phase).await.with_context(|| format!("in phase {}", phase.as_str()))?;
    let after = cpu(bed, fleet)?;
    let counted = Counters::read(client).await?.since(&counters);
    let theirs = counted.of_others(&played.own);
    let requests = theirs.requests.iter().map(|((verb, resource), requests)| RequestFigures {
        verb: verb.clone(),
        resource: resource.clone(),
        count: requests.count,
        conflicts: requests.conflicts,
        failures: requests.failures,
    });
    let bodies = theirs.bodies.iter().map(|((verb, resource), bytes)| Bodies {
        verb: verb.clone(),
        resource: resource.clone(),
        bytes: *bytes,
    });
    Ok(PhaseFigures {
        name: phase.as_str().to_owned(),
        objects: played.samples.len(),
        seconds: played.took.as_secs_f64(),
        requests: requests.collect(),
        bodies: bodies.collect(),
        watch_events: counted.watch_events,
        watch_bytes: counted.watch_bytes,
        cpu: Cpu {
            controllers: after.controllers - before.controllers,
            api_server: after.api_server - before.api_server,
            etcd: after.etcd - before.etcd,
            generator: after.generator - before.generator,
        },
        generator: generator(&played),
        samples: samples(&played),
    })
}

fn cpu(bed: &TestBed, fleet: Option<&Fleet>) -> Result<Cpu> {
    let of = |id: Option<u32>| id.and_then(|id| i32::try_from(id).ok()).map_or(0.0, cpu_of_one);
    let members = fleet.map(usage::members).transpose()?.unwrap_or_default();
    Ok(Cpu {
        controllers: members.iter().map(|(_, ids)| cpu_of(ids)).sum(),
        api_server: of(bed.kube_apiserver_id()),
        etcd: of(bed.etcd_id()),
        generator: of(Some(std::process::id())),
    })
}

fn generator(played: &Played) -> Generator {
    Generator {
        sent_after: played.sent_after.as_secs_f64(),
        lag: played.lag.as_secs_f64() * 1000.0,
        delay: played.delay.as_secs_f64() * 1000.0,
    }
}

fn samples(played: &Played) -> Vec<SampleFigures> {
    let sample = |sample: &load::Sample| SampleFigures {
        kind: sample.kind.clone(),
        at: sample.acknowledged.saturating_duration_since(played.began).as_secs_f64(),
        latency: sample.latency().as_secs_f64() * 1000.0,
    };
    played.samples.iter().map(sample).collect()
}
