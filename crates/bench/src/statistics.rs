//! The arithmetic of a benchmark: medians, percentiles, and figures per object.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use extension_contract::kinds;
use mock_view::statistics::{Latency, count, float, median};

use crate::figures::{ContestantFigures, PhaseFigures, Report, RequestFigures, Round, SampleFigures};

/// The pause between two of gardenlet's polls, in ms. gardenlet polls for the first time at once.
fn polling_interval(kind: &str) -> f64 {
    kinds::find(kind).map_or(Duration::ZERO, |kind| kind.interval).as_secs_f64() * 1000.0
}

/// The figures of a contestant in a phase: medians over its rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Objects that became ready per second.
    pub(crate) throughput: f64,
    /// Latency of objects of all kinds.
    pub(crate) latency: Option<Latency>,
    /// Number of objects for which gardenlet would need a further poll.
    pub(crate) further_polls: f64,
    /// Writing requests of the controllers, per object.
    pub(crate) writes: f64,
    /// Gets and lists of the controllers, per object.
    pub(crate) reads: f64,
    /// Requests refused as a conflict, for all objects.
    pub(crate) conflicts: f64,
    /// Other failed requests, for all objects.
    pub(crate) failures: f64,
    /// Bodies of the controllers' requests, in bytes per object.
    pub(crate) body_bytes: f64,
    /// Events of all watches, per object.
    pub(crate) watch_events: f64,
    /// Size of these events, in bytes per object.
    pub(crate) watch_bytes: f64,
    /// CPU time, in ms per object.
    pub(crate) cpu: CpuPerObject,
    /// When the load generator had sent its last request, in seconds since the phase began.
    pub(crate) sent_after: f64,
    /// How late the load generator's timers fired, in ms: p99.
    pub(crate) lag: f64,
    /// How late requests were sent, at a given rate, in ms: the maximum.
    pub(crate) delay: f64,
}

/// CPU time, in ms per object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CpuPerObject {
    pub(crate) controllers: f64,
    pub(crate) api_server: f64,
    pub(crate) etcd: f64,
    pub(crate) generator: f64,
}

impl Summary {
    /// Returns `None` if no object became ready in that phase in any round.
    pub(crate) fn of(contestant: &ContestantFigures, phase: &str) -> Option<Self> {
        let phases: Vec<_> = contestant.played(phase).collect();
        if phases.is_empty() {
            return None;
        }
        let median =
            |figure: &dyn Fn(&PhaseFigures) -> f64| median(phases.iter().copied().map(figure)).unwrap_or_default();
        let an_object = |sum: &dyn Fn(&PhaseFigures) -> f64| median(&|phase| sum(phase) / count(phase.objects));
        let requests =
            |phase: &PhaseFigures, which: fn(&RequestFigures) -> u64| float(phase.requests.iter().map(which).sum());
        Some(Self {
            throughput: median(&|phase| count(phase.objects) / phase.seconds),
            latency: Latency::median(&latencies(&phases, |_| true)),
            further_polls: median(&|phase| count(further_polls(phase))),
            writes: an_object(&|phase| requests(phase, |of| if of.writes() { of.count } else { 0 })),
            reads: an_object(&|phase| requests(phase, |of| if of.reads() { of.count } else { 0 })),
            conflicts: median(&|phase| requests(phase, |of| of.conflicts)),
            failures: median(&|phase| requests(phase, |of| of.failures)),
            body_bytes: an_object(&|phase| float(phase.bodies.iter().map(|bodies| bodies.bytes).sum())),
            watch_events: an_object(&|phase| float(phase.watch_events)),
            watch_bytes: an_object(&|phase| float(phase.watch_bytes)),
            cpu: CpuPerObject {
                controllers: an_object(&|phase| phase.cpu.controllers * 1000.0),
                api_server: an_object(&|phase| phase.cpu.api_server * 1000.0),
                etcd: an_object(&|phase| phase.cpu.etcd * 1000.0),
                generator: an_object(&|phase| phase.cpu.generator * 1000.0),
            },
            sent_after: median(&|phase| phase.generator.sent_after),
            lag: median(&|phase| phase.generator.lag),
            delay: median(&|phase| phase.generator.delay),
        })
    }
}

/// The number of objects that were not ready at gardenlet's second poll.
fn further_polls(phase: &PhaseFigures) -> usize {
    phase.samples.iter().filter(|sample| sample.latency > polling_interval(&sample.kind)).count()
}

/// The distribution in each phase that has samples of such a kind.
fn latencies(phases: &[&PhaseFigures], kind: impl Fn(&str) -> bool) -> Vec<Latency> {
    let of_kind = |phase: &&PhaseFigures| {
        Latency::of(phase.samples.iter().filter(|sample| kind(&sample.kind)).map(|sample| sample.latency))
    };
    phases.iter().filter_map(of_kind).collect()
}

impl RequestFigures {
    /// Whether these requests read objects. A watch is neither a read nor a write.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    /// Whether these requests write objects.
    pub(crate) fn writes(&self) -> bool {
        !self.reads() && self.verb != "watch"
    }
}

impl ContestantFigures {
    /// The figures of a phase in each round in which an object became ready.
    fn played<'a>(&'a self, phase: &'a str) -> impl Iterator<Item = &'a PhaseFigures> {
        let phases = self.rounds.iter().flat_map(|round| &round.phases);
        phases.filter(move |of| of.name == phase && of.objects > 0 && of.seconds > 0.0)
    }

    /// All samples of a phase, in the order of the rounds.
    pub(crate) fn samples<'a>(&'a self, phase: &'a str) -> impl Iterator<Item = &'a SampleFigures> {
        self.played(phase).flat_map(|phase| &phase.samples)
    }

    /// The distribution of latencies of a kind in a phase: medians over the rounds.
    pub(crate) fn latency_of(&self, phase: &str, kind: &str) -> Option<Latency> {
        let phases: Vec<_> = self.played(phase).collect();
        Latency::median(&latencies(&phases, |of| of == kind))
    }

    /// The distribution of latencies at rest: medians over the rounds.
    pub(crate) fn idle(&self) -> Option<Latency> {
        let rounds = self.rounds.iter().filter_map(|round| Latency::of(round.idle_latencies.iter().copied()));
        Latency::median(&rounds.collect::<Vec<_>>())
    }

    /// The requests of a phase by verb and resource, per object: medians over the rounds. Requests for a kind that has
    /// samples are per object of that kind.
    pub(crate) fn requests(&self, phase: &str) -> BTreeMap<(String, String), f64> {
        let rounds = self.played(phase).map(|phase| {
            let mut forms = BTreeMap::new();
            for RequestFigures { verb, resource, count: requests, .. } in &phase.requests {
                let objects = phase.objects_of(resource).unwrap_or(phase.objects);
                *forms.entry((verb.clone(), resource.clone())).or_default() += float(*requests) / count(objects);
            }
            forms
        });
        medians(&rounds.collect::<Vec<_>>())
    }

    /// The bodies of a phase by verb, in bytes per object: medians over the rounds.
    pub(crate) fn bodies(&self, phase: &str) -> BTreeMap<String, f64> {
        let rounds = self.played(phase).map(|phase| {
            let mut verbs = BTreeMap::new();
            for bodies in &phase.bodies {
                *verbs.entry(bodies.verb.clone()).or_default() += float(bodies.bytes) / count(phase.objects);
            }
            verbs
        });
        medians(&rounds.collect::<Vec<_>>())
    }

    /// The names of all processes, in alphabetical order.
    pub(crate) fn processes(&self) -> BTreeSet<&str> {
        self.rounds.iter().flat_map(|round| round.processes.keys()).map(String::as_str).collect()
    }

    /// The median of a figure over the rounds that have this figure.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(figure))
    }
}

/// The median of each key. A key that a round does not have counts as 0.
fn medians<K: Clone + Ord>(rounds: &[BTreeMap<K, f64>]) -> BTreeMap<K, f64> {
    let keys: BTreeSet<_> = rounds.iter().flat_map(BTreeMap::keys).cloned().collect();
    let of = |key: &K| median(rounds.iter().map(|round| round.get(key).copied().unwrap_or_default()));
    keys.into_iter().filter_map(|key| of(&key).map(|median| (key, median))).collect()
}

impl PhaseFigures {
    /// The number of objects of the kind of a resource, with or without subresource. Returns `None` if there are none.
    fn objects_of(&self, resource: &str) -> Option<usize> {
        let resource = resource.split('/').next().unwrap_or(resource);
        let of_resource =
            |sample: &&SampleFigures| kinds::find(&sample.kind).is_some_and(|kind| kind.plural == resource);
        let objects = self.samples.iter().filter(of_resource).count();
        (objects > 0).then_some(objects)
    }
}

impl Report {
    /// The names of all phases in the order in which they were played.
    pub(crate) fn phases(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let rounds = self.contestants.iter().flat_map(|contestant| &contestant.rounds);
        for phase in rounds.flat_map(|round| &round.phases) {
            if !names.contains(&phase.name.as_str()) {
                names.push(&phase.name);
            }
        }
        names
    }

    /// The kinds that have samples in a phase, in alphabetical order.
    pub(crate) fn kinds<'a>(&'a self, phase: &'a str) -> BTreeSet<&'a str> {
        let samples = self.contestants.iter().flat_map(|contestant| contestant.samples(phase));
        samples.map(|sample| sample.kind.as_str()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
