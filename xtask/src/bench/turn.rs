//! One contestant's turn: the same load on an API server of its own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use mock_core::contract::{OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION};
use mock_testbed::{
    admission,
    bed::{Options as BedOptions, TestBed},
    load::{self, Answer, Counters, Load, Options, Played, raw_watches},
    shoot::{Landscape, Planned},
};
use serde_json::{Value, json};

use super::{
    Bench, Entrant,
    figures::{Bodies, Cpu, Generator, Phase, Process, Requests, Round, Sample},
    fleet::{Fleet, Start},
    usage,
};
use crate::kinds;

/// The first Shoot of those that only warm everything up.
const WARM_UP: usize = 1_000_000;
/// How many there are: enough for every path to be taken and every connection to be opened.
const WARM_UP_SHOOTS: usize = 16;
/// How long CPU at rest is measured, after as long a pause.
const REST: Duration = Duration::from_secs(5);
/// etcd's largest supported quota, for tens of thousands of objects.
const ETCD_QUOTA: u64 = 8 << 30;

/// An API server with nothing beside it but what belongs to the contestant.
pub(super) async fn bed(bench: &Bench, entrant: &Entrant) -> Result<TestBed> {
    let options = BedOptions {
        etcd_quota_bytes: Some(ETCD_QUOTA),
        apiserver_flags: bench.apiserver_flags.clone(),
        audit: false,
        janitor: false,
        ..BedOptions::default()
    };
    let bed = TestBed::start(&bench.assets, options).await?;
    if matches!(entrant, Entrant::Assisted) {
        assist(&bench.landscape, &bed.client()).await?;
    }
    Ok(bed)
}

/// Plays everything for one contestant.
pub(super) async fn play(bench: &Bench, entrant: &Entrant) -> Result<Round> {
    let bed = bed(bench, entrant).await?;
    let mut round = Round::default();
    let fleet = start(bench, entrant, &bed).await?.map(|(fleet, ready)| {
        for (name, start) in ready {
            start.note(round.processes.entry(name).or_default());
        }
        fleet
    });
    let answer = entrant.answer();
    unless_ended(fleet.as_ref(), phases(bench, &bed, answer, fleet.as_ref(), &mut round)).await?;
    if let Some(fleet) = fleet {
        fleet.stop().await?;
    }
    bed.stop().await.context("cannot end the test bed")?;
    Ok(round)
}

/// What comes of something that needs all controllers to run: without them it would only wait.
pub(super) async fn unless_ended<T>(fleet: Option<&Fleet>, done: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(fleet) = fleet else { return done.await };
    tokio::select! {
        done = done => done,
        error = fleet.ended() => Err(error),
    }
}

/// Everything that is measured.
async fn phases(bench: &Bench, bed: &TestBed, answer: Answer, fleet: Option<&Fleet>, round: &mut Round) -> Result<()> {
    let client = bed.client();
    let raw = if answer == Answer::Raw { raw_watches(&client).await? } else { Vec::new() };
    note_memory(&mut round.processes, fleet, |process, (now, _)| process.memory_empty = now)?;

    let options = Options { answer, ..bench.options };
    let warm_up = Options { first: WARM_UP, shoots: WARM_UP_SHOOTS, rate: None, ..options };
    let warm_up = Load::start(client.clone(), bench.landscape.clone(), warm_up).await?;
    for phase in [load::Phase::Create, load::Phase::Reconcile, load::Phase::Delete] {
        warm_up.play(phase).await.with_context(|| format!("while everything warmed up ({})", phase.as_str()))?;
    }
    drop(warm_up);

    let load = Load::start(client.clone(), bench.landscape.clone(), options).await?;
    let (last, others) = bench.phases.split_last().context("there is no phase")?;
    for phase in others {
        round.phases.push(measure(bed, &client, fleet, &load, *phase).await?);
        if *phase == load::Phase::Reconcile && answer != Answer::Nobody {
            let samples = load.one_by_one(bench.idle).await?;
            round.idle_latencies = samples.iter().map(|sample| sample.latency().as_secs_f64() * 1000.0).collect();
        }
    }
    if let Some(fleet) = fleet {
        rest(&mut round.processes, fleet, REST).await?;
    }
    round.phases.push(measure(bed, &client, fleet, &load, *last).await?);
    note_memory(&mut round.processes, fleet, |process, (_, peak)| process.memory_peak = peak)?;
    ensure!(raw.iter().all(|watch| !watch.is_finished()), "the API server closed a watch that the raw limit needs");
    Ok(())
}

/// Puts the admission policies of all kinds in force.
pub(super) async fn assist(landscape: &Landscape, client: &Client) -> Result<()> {
    let policies: Vec<Value> = kinds::ALL.iter().filter_map(|kind| kind.policy()).flatten().collect();
    let annotations = json!({
        OPERATION_ANNOTATION: OperationAnnotation::Reconcile.as_str(),
        TIMESTAMP_ANNOTATION: "2026-01-02T03:04:05Z",
    });
    let probe = |planned: Planned| {
        let mut object = planned.object;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata
                .extend([("namespace".to_owned(), json!("default")), ("annotations".to_owned(), annotations.clone())]);
        }
        object
    };
    let probes: Vec<Value> = landscape.plan(Some(WARM_UP)).objects().into_iter().map(probe).collect();
    Ok(admission::install(client, &policies, &probes).await?)
}

/// The contestant's controllers, and how long those took that say when they are ready.
pub(super) async fn start(
    bench: &Bench,
    entrant: &Entrant,
    bed: &TestBed,
) -> Result<Option<(Fleet, Vec<(String, Start)>)>> {
    Ok(match entrant {
        Entrant::Alone | Entrant::Raw => None,
        Entrant::Ours | Entrant::Assisted => {
            Some(Fleet::ours(&bench.programs, &bench.arguments, bed.kubeconfig(), bed.dir()).await?)
        }
        Entrant::Other { name, command } => {
            Some((Fleet::other(name, command, bed.kubeconfig(), bed.dir())?, Vec::new()))
        }
    })
}

/// Memory and CPU of a fleet that has nothing to do.
pub(super) async fn rest(processes: &mut BTreeMap<String, Process>, fleet: &Fleet, during: Duration) -> Result<()> {
    tokio::time::sleep(during).await;
    let members = fleet.processes()?;
    let cpu = |(_, ids): &(String, Vec<i32>)| usage::cpu_of(ids);
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
        // The kernel counts the peak a little behind.
        process.memory_peak = peak.max(now);
    })
}

fn note_memory(
    processes: &mut BTreeMap<String, Process>,
    fleet: Option<&Fleet>,
    note: impl Fn(&mut Process, (u64, u64)),
) -> Result<()> {
    for (name, ids) in fleet.map(Fleet::processes).transpose()?.into_iter().flatten() {
        let (now, peak) =
            ids.iter().map(|id| usage::memory(*id)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        note(processes.entry(name).or_default(), (now, peak));
    }
    Ok(())
}

/// One phase, between two looks at everything that counts.
async fn measure(
    bed: &TestBed,
    client: &Client,
    fleet: Option<&Fleet>,
    load: &Load,
    phase: load::Phase,
) -> Result<Phase> {
    load.prepare(phase).await?;
    let counters = Counters::read(client).await?;
    let before = cpu(bed, fleet)?;
    let played = load.play(phase).await.with_context(|| format!("in phase {}", phase.as_str()))?;
    let after = cpu(bed, fleet)?;
    let counted = Counters::read(client).await?.since(&counters);
    let theirs = counted.of_others(&played.own);
    let requests = theirs.requests.iter().map(|((verb, resource), requests)| Requests {
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
    Ok(Phase {
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
    let of = |id: Option<u32>| id.and_then(|id| i32::try_from(id).ok()).map_or(0.0, usage::cpu);
    Ok(Cpu {
        controllers: fleet.map(Fleet::cpu).transpose()?.unwrap_or_default(),
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

fn samples(played: &Played) -> Vec<Sample> {
    let sample = |sample: &load::Sample| Sample {
        kind: sample.kind.clone(),
        at: sample.acknowledged.saturating_duration_since(played.began).as_secs_f64(),
        latency: sample.latency().as_secs_f64() * 1000.0,
    };
    played.samples.iter().map(sample).collect()
}
