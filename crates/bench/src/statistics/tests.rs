//! Medians, and figures per object.

use super::*;
use crate::figures::{Bodies, Cpu, Generator, LoadFigures, Process};

/// A phase of this many seconds with four objects of two kinds. They are ready after 1, 2, 3 and 4 times `latency`.
pub(crate) fn phase(name: &str, seconds: f64, latency: f64) -> PhaseFigures {
    let sample = |(index, kind): (u32, &str)| SampleFigures {
        kind: kind.to_owned(),
        at: f64::from(index) / 10.0,
        latency: f64::from(index) * latency,
    };
    let requests = |verb: &str, resource: &str, count, conflicts| RequestFigures {
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        count,
        conflicts,
        failures: 0,
    };
    PhaseFigures {
        name: name.to_owned(),
        objects: 4,
        seconds,
        samples: (1..).zip(["Infrastructure", "Worker", "Infrastructure", "Worker"]).map(sample).collect(),
        requests: vec![
            requests("patch", "workers/status", 2, 0),
            requests("patch", "infrastructures/status", 3, 1),
            requests("get", "clusters", 1, 0),
            requests("watch", "workers", 7, 0),
        ],
        bodies: vec![
            Bodies { verb: "patch".to_owned(), resource: "workers".to_owned(), bytes: 1000 },
            Bodies { verb: "patch".to_owned(), resource: "infrastructures".to_owned(), bytes: 2000 },
        ],
        watch_events: 10,
        watch_bytes: 40_000,
        cpu: Cpu { controllers: 0.002, api_server: seconds / 10.0, etcd: 0.008, generator: 0.004 },
        generator: Generator { sent_after: seconds / 2.0, lag: 0.5, delay: 3.0 },
    }
}

pub(crate) fn contestant(name: &str, rounds: Vec<Vec<PhaseFigures>>) -> ContestantFigures {
    let round = |phases| Round { phases, ..Round::default() };
    ContestantFigures {
        name: name.to_owned(),
        command: None,
        rounds: rounds.into_iter().map(round).collect(),
        standing: None,
    }
}

pub(crate) fn report(contestants: Vec<ContestantFigures>) -> Report {
    let load = LoadFigures { shoots: 1, objects: 4, rounds: 1, writers: 2, ..LoadFigures::default() };
    Report { load, contestants, ..Report::default() }
}

#[test]
fn object_that_is_ready_at_the_second_poll_needs_no_further_poll() {
    let table = [
        ("Worker", 5_000.0, 0),
        ("Worker", 5_000.1, 1),
        ("Network", 9_000.0, 1),
        ("Infrastructure", 9_000.0, 0),
        ("Infrastructure", 10_000.0, 0),
        ("Infrastructure", 10_000.1, 1),
    ];
    for (kind, latency, expected) in table {
        let samples = vec![SampleFigures { kind: kind.to_owned(), at: 0.0, latency }];
        let phase = PhaseFigures { samples, ..PhaseFigures::default() };
        assert_eq!(further_polls(&phase), expected, "{kind} after {latency} ms");
    }
}

#[test]
fn figures_of_a_phase_are_per_object() {
    let contestant = contestant("mock", vec![vec![phase("create", 0.5, 10.0)]]);
    let expected = Summary {
        throughput: 8.0,
        latency: Some(Latency { p50: 20.0, p90: 40.0, p99: 40.0, max: 40.0 }),
        further_polls: 0.0,
        writes: 1.25,
        reads: 0.25,
        conflicts: 1.0,
        failures: 0.0,
        body_bytes: 750.0,
        watch_events: 2.5,
        watch_bytes: 10_000.0,
        cpu: CpuPerObject { controllers: 0.5, api_server: 12.5, etcd: 2.0, generator: 1.0 },
        sent_after: 0.25,
        lag: 0.5,
        delay: 3.0,
    };
    assert_eq!(Summary::of(&contestant, "create"), Some(expected));
    assert_eq!(Summary::of(&contestant, "delete"), None);
}

#[test]
fn figure_is_the_median_of_the_rounds() {
    let round = |seconds, latency| vec![phase("create", seconds, latency)];
    let contestant = contestant("mock", vec![round(0.5, 30.0), round(2.0, 10.0), round(1.0, 20.0)]);
    let summary = Summary::of(&contestant, "create").unwrap();
    assert_eq!((summary.throughput, summary.cpu.api_server), (4.0, 25.0));
    assert_eq!(summary.latency, Some(Latency { p50: 40.0, p90: 80.0, p99: 80.0, max: 80.0 }));
    let worker = contestant.latency_of("create", "Worker");
    assert_eq!(worker, Some(Latency { p50: 40.0, p90: 80.0, p99: 80.0, max: 80.0 }));
    let infrastructure = contestant.latency_of("create", "Infrastructure");
    assert_eq!(infrastructure, Some(Latency { p50: 20.0, p90: 60.0, p99: 60.0, max: 60.0 }));
    assert_eq!(contestant.latency_of("create", "Network"), None);
}

#[test]
fn round_without_a_ready_object_does_not_count() {
    let failed = PhaseFigures { objects: 0, ..phase("create", 0.5, 10.0) };
    let contestant = contestant("mock", vec![vec![failed], vec![phase("create", 1.0, 10.0)]]);
    let throughput = Summary::of(&contestant, "create").map(|summary| summary.throughput);
    assert_eq!(throughput, Some(4.0));
}

#[test]
fn requests_for_a_kind_are_per_object_of_that_kind() {
    let contestant = contestant("mock", vec![vec![phase("create", 1.0, 10.0)]]);
    let requests = contestant.requests("create");
    let of = |verb: &str, resource: &str| requests.get(&(verb.to_owned(), resource.to_owned())).copied();
    assert_eq!(of("patch", "infrastructures/status"), Some(1.5));
    assert_eq!(of("patch", "workers/status"), Some(1.0));
    assert_eq!(of("get", "clusters"), Some(0.25));
    assert_eq!(contestant.bodies("create"), BTreeMap::from([("patch".to_owned(), 750.0)]));
}

#[test]
fn figure_that_only_some_rounds_have_is_their_median() {
    let process = |ready_after| Process { ready_after, ..Process::default() };
    let round = |ready_after, idle_latencies| Round {
        processes: BTreeMap::from([("mock-worker".to_owned(), process(ready_after))]),
        idle_latencies,
        ..Round::default()
    };
    let rounds = vec![round(Some(0.1), vec![3.0, 1.0, 2.0]), round(None, Vec::new()), round(Some(0.3), vec![4.0])];
    let contestant = ContestantFigures { rounds, ..ContestantFigures::default() };
    assert_eq!(contestant.median(|round| round.processes.get("mock-worker")?.ready_after), Some(0.2));
    assert_eq!(contestant.idle(), Some(Latency { p50: 3.0, p90: 3.5, p99: 3.5, max: 3.5 }));
    assert_eq!(contestant.processes(), BTreeSet::from(["mock-worker"]));
}
