//! What the measurements come to: pure arithmetic.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::percentile;

use super::figures::{Contestant, Phase, Report, Requests, Round};

/// How gardenlet polls, in ms: it looks at once and then each `DefaultInterval`, which stands beside each kind in
/// Gardener's pkg/component/extensions.
fn polling_interval(kind: &str) -> f64 {
    if kind == "Infrastructure" { 10_000.0 } else { 5_000.0 }
}

/// The value in the middle; of an even number of values the mean of those two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let (low, high) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// How many times as much as `base`; nothing where there is no base.
pub(crate) fn ratio(value: f64, base: f64) -> Option<f64> {
    (base != 0.0).then(|| value / base)
}

/// In ascending order.
pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// A number for arithmetic.
#[expect(clippy::cast_precision_loss, reason = "nothing of which a benchmark has 2^53 is shown to the last digit")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// See [`float`].
pub(crate) fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

/// A distribution of latencies, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    /// Of single latencies, if there are any.
    pub(crate) fn of(latencies: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(latencies);
        let of = |percent| percentile(&sorted, percent);
        Some(Self { p50: of(50)?, p90: of(90)?, p99: of(99)?, max: of(100)? })
    }

    /// Of each figure by itself.
    fn median(rounds: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Some(Self {
            p50: of(|latency| latency.p50)?,
            p90: of(|latency| latency.p90)?,
            p99: of(|latency| latency.p99)?,
            max: of(|latency| latency.max)?,
        })
    }
}

/// What a phase of a contestant came to: medians over its rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Objects that became ready in a second.
    pub(crate) throughput: f64,
    /// Of all kinds.
    pub(crate) latency: Option<Latency>,
    /// How many objects would cost gardenlet a further poll.
    pub(crate) further_polls: f64,
    /// Requests of the controllers that change something, an object.
    pub(crate) writes: f64,
    /// Gets and lists of the controllers, an object.
    pub(crate) reads: f64,
    /// Of all objects together.
    pub(crate) conflicts: f64,
    /// Of all objects together.
    pub(crate) failures: f64,
    /// Bodies of the controllers' requests, in bytes an object.
    pub(crate) body_bytes: f64,
    /// Watch events to everybody, an object.
    pub(crate) watch_events: f64,
    /// Their size, in bytes an object.
    pub(crate) watch_bytes: f64,
    /// CPU time in ms an object.
    pub(crate) cpu: Cpu,
    /// When the load generator had sent all, in seconds since the phase began.
    pub(crate) sent_after: f64,
    /// Of the load generator's timers, in ms: p99.
    pub(crate) lag: f64,
    /// Of requests behind the plan of an open loop, in ms: the worst.
    pub(crate) delay: f64,
}

/// CPU time in ms an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cpu {
    pub(crate) controllers: f64,
    pub(crate) api_server: f64,
    pub(crate) etcd: f64,
    pub(crate) generator: f64,
}

impl Summary {
    /// Nothing if in no round an object became ready in that phase.
    pub(crate) fn of(contestant: &Contestant, phase: &str) -> Option<Self> {
        let phases: Vec<_> = contestant.played(phase).collect();
        if phases.is_empty() {
            return None;
        }
        let median = |figure: &dyn Fn(&Phase) -> f64| median(phases.iter().copied().map(figure)).unwrap_or_default();
        let an_object = |sum: &dyn Fn(&Phase) -> f64| median(&|phase| sum(phase) / count(phase.objects));
        let requests = |phase: &Phase, which: fn(&Requests) -> u64| float(phase.requests.iter().map(which).sum());
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
            cpu: Cpu {
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

/// How many objects gardenlet would have found unready when it looked for the second time.
fn further_polls(phase: &Phase) -> usize {
    phase.samples.iter().filter(|sample| sample.latency > polling_interval(&sample.kind)).count()
}

/// A distribution for each phase that has samples of such a kind.
fn latencies(phases: &[&Phase], kind: impl Fn(&str) -> bool) -> Vec<Latency> {
    let of_kind = |phase: &&Phase| {
        Latency::of(phase.samples.iter().filter(|sample| kind(&sample.kind)).map(|sample| sample.latency))
    };
    phases.iter().filter_map(of_kind).collect()
}

impl Requests {
    /// Whether it asks for objects and leaves them as they are. A watch is neither a read nor a write.
    pub(crate) fn reads(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    /// Whether it changes something.
    pub(crate) fn writes(&self) -> bool {
        !self.reads() && self.verb != "watch"
    }
}

impl Contestant {
    /// A phase in each round in which an object became ready.
    fn played<'a>(&'a self, phase: &'a str) -> impl Iterator<Item = &'a Phase> {
        let phases = self.rounds.iter().flat_map(|round| &round.phases);
        phases.filter(move |of| of.name == phase && of.objects > 0 && of.seconds > 0.0)
    }

    /// All samples of a phase, in the order of the rounds.
    pub(crate) fn samples<'a>(&'a self, phase: &'a str) -> impl Iterator<Item = &'a super::figures::Sample> {
        self.played(phase).flat_map(|phase| &phase.samples)
    }

    /// How latencies of a kind are distributed in a phase: medians over the rounds.
    pub(crate) fn latency_of(&self, phase: &str, kind: &str) -> Option<Latency> {
        let phases: Vec<_> = self.played(phase).collect();
        Latency::median(&latencies(&phases, |of| of == kind))
    }

    /// How latencies at rest are distributed: medians over the rounds.
    pub(crate) fn idle(&self) -> Option<Latency> {
        let rounds = self.rounds.iter().filter_map(|round| Latency::of(round.idle_latencies.iter().copied()));
        Latency::median(&rounds.collect::<Vec<_>>())
    }

    /// The requests of a phase by their form, an object each: the median over the rounds. A request for objects of a
    /// kind that is among the samples counts for the objects of that kind.
    pub(crate) fn requests(&self, phase: &str) -> BTreeMap<(String, String), f64> {
        let rounds = self.played(phase).map(|phase| {
            let mut forms = BTreeMap::new();
            for Requests { verb, resource, count: requests, .. } in &phase.requests {
                let objects = phase.objects_of(resource).unwrap_or(phase.objects);
                *forms.entry((verb.clone(), resource.clone())).or_default() += float(*requests) / count(objects);
            }
            forms
        });
        medians(&rounds.collect::<Vec<_>>())
    }

    /// The bodies of a phase by verb, in bytes an object: the median over the rounds.
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

    /// The names of all processes, in order.
    pub(crate) fn processes(&self) -> BTreeSet<&str> {
        self.rounds.iter().flat_map(|round| round.processes.keys()).map(String::as_str).collect()
    }

    /// The median of a figure over the rounds that have it.
    pub(crate) fn median(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(figure))
    }
}

/// The median of each key; where a round has none, it is 0.
fn medians<K: Clone + Ord>(rounds: &[BTreeMap<K, f64>]) -> BTreeMap<K, f64> {
    let keys: BTreeSet<_> = rounds.iter().flat_map(BTreeMap::keys).cloned().collect();
    let of = |key: &K| median(rounds.iter().map(|round| round.get(key).copied().unwrap_or_default()));
    keys.into_iter().filter_map(|key| of(&key).map(|median| (key, median))).collect()
}

impl Phase {
    /// How many objects there are of the kind that is behind a resource, its subresource or not.
    fn objects_of(&self, resource: &str) -> Option<usize> {
        let resource = resource.split('/').next().unwrap_or(resource);
        let plural = |kind: &str| kind.to_lowercase() + "s";
        let objects = self.samples.iter().filter(|sample| plural(&sample.kind) == resource).count();
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

    /// The kinds of which there are samples in a phase, in order.
    pub(crate) fn kinds<'a>(&'a self, phase: &'a str) -> BTreeSet<&'a str> {
        let samples = self.contestants.iter().flat_map(|contestant| contestant.samples(phase));
        samples.map(|sample| sample.kind.as_str()).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
