//! From what the inside recorded to figures. Nothing here reads or writes anything outside.

use std::collections::{BTreeMap, BTreeSet};

use mock_garden::load::records::{Record, Requests, Usage, What};
use mock_garden::load::steps::{Step, Told};
use mock_view::statistics::{Latency, count, float, median, ratio};

use super::figures::{Moment, Owner, ProcessFigures, Report, ServerFigures, ShootFigures, StepFigures, Time};
use super::{limit, path};

impl Report {
    /// Adds everything that the inside and gardenlet tell. Returns `None` if the load had not begun.
    pub(super) fn analysed(self, records: &[Record], told: &Told) -> Option<Self> {
        let start = records.iter().find(|record| record.what == What::Begins)?.at;
        let shoots = shoots(records, start);
        let moments = moments(records, start);
        let workers = records.iter().rev().find_map(|record| match &record.what {
            What::Gardenlet(gardenlet) => Some(gardenlet.workers),
            _ => None,
        });
        let workers = workers.unwrap_or_default();
        Some(Self {
            workers,
            times: times(&shoots),
            steps: steps(&shoots, &told.steps),
            processes: processes(records),
            servers: servers(records),
            throttled: told.throttled,
            limit: limit::find(&moments, workers, told.throttled),
            shoots,
            moments,
            ..self
        })
    }
}

/// The life of each Shoot, in the order of the requests.
fn shoots(records: &[Record], start: f64) -> Vec<ShootFigures> {
    let mut all: Vec<ShootFigures> = Vec::new();
    for Record { at, what } in records {
        let at = at - start;
        let mut note = |name: &str, set: &dyn Fn(&mut ShootFigures)| {
            all.iter_mut().filter(|shoot| shoot.name == name).for_each(set);
        };
        match what {
            What::Asked(name) => all.push(ShootFigures { name: name.clone(), asked: at, ..ShootFigures::default() }),
            What::Created(name) => note(name, &|shoot| shoot.created = Some(at)),
            What::Scheduled(name) => note(name, &|shoot| shoot.scheduled = Some(at)),
            What::Begun(name) => note(name, &|shoot| shoot.begun = Some(at)),
            What::Succeeded(name) => note(name, &|shoot| shoot.succeeded = Some(at)),
            What::Erred { shoot, why } => note(shoot, &|shoot| shoot.errors.push(why.clone())),
            What::Failed { shoot, why } => note(shoot, &|shoot| shoot.failure = Some(why.clone())),
            _ => {}
        }
    }
    all
}

/// The first third of a list, and the last. Both are empty if the list has less than three entries.
fn thirds<T>(list: &[T]) -> (&[T], &[T]) {
    let third = list.len() / 3;
    (list.get(..third).unwrap_or_default(), list.get(list.len() - third..).unwrap_or_default())
}

/// A distribution in seconds, with the medians of the first third and of the last. Returns `None` without values.
fn distribution(values: &[f64]) -> Option<(Latency, f64, f64)> {
    let all = Latency::of(values.iter().copied())?;
    let (early, late) = thirds(values);
    let of = |third: &[f64]| median(third.iter().copied()).unwrap_or(all.p50);
    Some((all, of(early), of(late)))
}

/// How long each part of a Shoot's life took.
fn times(shoots: &[ShootFigures]) -> Vec<Time> {
    type Part = (&'static str, fn(&ShootFigures) -> Option<f64>);
    let parts: [Part; 5] = [
        ("request → accepted by the API server", |of| Some(of.created? - of.asked)),
        // The event of the Seed can arrive before the answer to the request.
        ("accepted → Seed chosen", |of| Some((of.scheduled? - of.created?).max(0.0))),
        ("Seed chosen → gardenlet begins", |of| Some(of.begun? - of.scheduled?)),
        ("gardenlet begins → Succeeded", |of| Some(of.succeeded? - of.begun?)),
        ("request → Succeeded", |of| Some(of.succeeded? - of.asked)),
    ];
    let time = |(what, part): Part| {
        let values: Vec<_> = shoots.iter().filter_map(part).collect();
        distribution(&values).map(|(all, early, late)| Time { what, all, early, late })
    };
    parts.into_iter().filter_map(time).collect()
}

/// gardenlet's steps of the Shoots that succeeded; those first that take most of a Shoot's time.
fn steps(shoots: &[ShootFigures], steps: &[Step]) -> Vec<StepFigures> {
    let mut critical: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut durations: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let succeeded: Vec<_> = shoots.iter().filter(|shoot| shoot.succeeded.is_some()).collect();
    for shoot in &succeeded {
        let of_shoot: Vec<_> = steps.iter().filter(|step| step.shoot == shoot.name).collect();
        for step in &of_shoot {
            durations.entry(&step.name).or_default().push(step.ended - step.began);
        }
        for step in path::critical(&of_shoot) {
            let (took, asleep) = critical.entry(&step.name).or_default();
            *took += step.ended - step.began;
            *asleep += path::asleep(step);
        }
    }
    let mean = |sum: f64| ratio(sum, count(succeeded.len())).unwrap_or_default();
    let figures = |(name, durations): (&str, Vec<f64>)| {
        let (all, early, late) = distribution(&durations)?;
        let (took, asleep) = critical.get(name).copied().unwrap_or_default();
        let (critical, asleep) = (mean(took), mean(asleep));
        Some(StepFigures { name: name.to_owned(), count: durations.len(), all, early, late, critical, asleep })
    };
    let mut figures: Vec<_> = durations.into_iter().filter_map(figures).collect();
    figures.sort_by(|a, b| b.critical.total_cmp(&a.critical).then(b.all.p50.total_cmp(&a.all.p50)));
    figures
}

/// The CPU time that each process used between two measurements, in seconds. A process that has ended used nothing.
fn used(before: &Usage, after: &Usage, of: impl Fn(&str) -> bool) -> f64 {
    let processes = after.cpu.iter().filter(|(name, _)| of(name));
    processes.map(|(name, cpu)| (cpu - before.cpu.get(name).copied().unwrap_or_default()).max(0.0)).sum()
}

/// The machine and gardenlet between each measurement and the next.
fn moments(records: &[Record], start: f64) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    let mut before: Option<&Usage> = None;
    let mut sent: Option<(f64, &BTreeMap<String, f64>)> = None;
    for Record { at, what } in records {
        match what {
            What::Usage(now) => {
                if let Some(before) = before.replace(now)
                    && let all @ 0.01.. = now.all - before.all
                {
                    let part = |of: &dyn Fn(&str) -> bool| used(before, now, of) / all;
                    moments.push(Moment {
                        at: at - start,
                        cpu: (now.used - before.used) / all,
                        garden: part(&|_| true),
                        ours: part(&|name| owner(name) == Owner::Mock),
                        gardenlet: part(&|name| name == "gardenlet"),
                        memory: by_owner(&now.memory),
                        ..Moment::default()
                    });
                }
            }
            // It follows the usage of the same moment.
            What::Gardenlet(now) => {
                let before = sent.replace((*at, &now.sent));
                if let Some(moment) = moments.last_mut() {
                    (moment.waiting, moment.working) = (now.waiting, now.working);
                    moment.requests =
                        before.map(|(then, before)| rates(before, &now.sent, at - then)).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    moments
}

/// The memory of all processes, in bytes, by whose they are.
fn by_owner(memory: &BTreeMap<String, u64>) -> BTreeMap<Owner, f64> {
    let mut all = BTreeMap::new();
    for (name, bytes) in memory {
        *all.entry(owner(name)).or_default() += float(*bytes);
    }
    all
}

/// How much each count has grown in a second.
fn rates(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, seconds: f64) -> BTreeMap<String, f64> {
    let grown = |name: &String, count: &f64| count - before.get(name).copied().unwrap_or_default();
    let rate = |(name, count)| Some((String::clone(name), ratio(grown(name, count), seconds)?));
    after.iter().filter_map(rate).collect()
}

/// Whose a process is.
pub(super) fn owner(name: &str) -> Owner {
    match name {
        _ if name.starts_with("mock-") || name.starts_with("players") => Owner::Mock,
        _ if name.starts_with("gardener-") || name.starts_with("gardenlet") => Owner::Gardener,
        _ if name.contains("kube-") || name.contains("etcd") => Owner::Kubernetes,
        _ => Owner::Others,
    }
}

/// What each process used and needed; those first that used most CPU time.
fn processes<'a>(records: &'a [Record]) -> Vec<ProcessFigures> {
    let usage = |record: &'a Record| if let What::Usage(usage) = &record.what { Some(usage) } else { None };
    let memory = |record: &'a Record| if let What::Memory(memory) = &record.what { Some(memory) } else { None };
    let usages: Vec<&Usage> = records.iter().filter_map(usage).collect();
    let memories: Vec<&BTreeMap<String, u64>> = records.iter().filter_map(memory).collect();
    let bytes =
        |of: Option<&BTreeMap<String, u64>>, name: &str| float(of.and_then(|of| of.get(name)).copied().unwrap_or(0));
    let figures = |name: &String| ProcessFigures {
        name: name.clone(),
        owner: owner(name),
        cpu: usages.windows(2).map(|pair| if let [a, b] = pair { used(a, b, |of| of == name) } else { 0.0 }).sum(),
        resident_before: bytes(usages.first().map(|usage| &usage.memory), name),
        resident_peak: usages.iter().map(|usage| bytes(Some(&usage.memory), name)).fold(0.0, f64::max),
        proportional_before: bytes(memories.first().copied(), name),
        proportional_after: bytes(memories.last().copied(), name),
    };
    let names: BTreeSet<_> = usages.iter().flat_map(|usage| usage.cpu.keys()).collect();
    let mut all: Vec<_> = names.into_iter().map(figures).collect();
    all.sort_by(|a, b| b.cpu.total_cmp(&a.cpu));
    all
}

/// What each API server was asked.
fn servers(records: &[Record]) -> Vec<ServerFigures> {
    let mut all: Vec<ServerFigures> = Vec::new();
    for record in records {
        let What::Requests(Requests { server, counts, watches }) = &record.what else { continue };
        match all.iter_mut().find(|of| of.name == *server) {
            Some(of) => (of.requests, of.watches_after) = (counts.clone(), *watches),
            None => all.push(ServerFigures {
                name: server.clone(),
                requests: counts.clone(),
                watches_before: *watches,
                watches_after: *watches,
            }),
        }
    }
    all
}

#[cfg(test)]
pub(super) mod tests;
