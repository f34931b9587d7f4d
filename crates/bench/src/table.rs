//! The figures of a benchmark as tables for the terminal.

use std::collections::{BTreeMap, BTreeSet};

use mock_view::Section;
use mock_view::statistics::{Latency, float, ratio};
use mock_view::words::{brief, bytes, counted, memory, number, whole};

use crate::figures::{ContestantFigures, Process, Report};
use crate::format::{duration, durations};
use crate::statistics::Summary;

/// Smaller values would be shown as 0.00.
const NOTHING: f64 = 0.005;

/// Renders all figures of a benchmark: medians over its rounds. Tables without figures are left out.
pub(crate) fn render(report: &Report) -> String {
    let requests = |of: &ContestantFigures, phase: &str| {
        let forms = of.requests(phase).into_iter();
        forms.map(|((verb, resource), requests)| (format!("{verb} {resource}"), requests)).collect()
    };
    let sections = [
        speed(report),
        writes(report),
        cpu(report),
        kinds(report),
        forms(report, "Requests per object, or per object of their kind", requests, brief),
        forms(report, "Bodies of requests per object", ContestantFigures::bodies, bytes),
        idle(report),
        processes(report),
        standing(report),
        compared(report),
    ];
    let heads = [report.load.describe(), report.machine.describe()].into_iter().filter(|line| !line.is_empty());
    let commands = report.contestants.iter().filter_map(|of| Some(format!("{}: {}", of.name, of.command.as_ref()?)));
    let fewer = report.contestants.iter().filter(|of| of.rounds.len() < report.load.rounds);
    let fewer = fewer.map(|of| format!("{}: only {}", of.name, counted(of.rounds.len(), "round")));
    let head = heads.chain(commands).chain(fewer).collect::<Vec<_>>().join("\n");
    let sections = sections.into_iter().flatten().collect::<Vec<_>>().join("\n");
    format!("{head}\n\n{sections}")
}

/// The figures of each contestant in each phase, with those of the raw limit in the same phase.
fn summaries(report: &Report) -> impl Iterator<Item = (&str, &ContestantFigures, Summary, Option<Summary>)> {
    summaries_of(report, report.contestants.iter())
}

fn summaries_of<'a>(
    report: &'a Report,
    all: impl Iterator<Item = &'a ContestantFigures> + Clone,
) -> impl Iterator<Item = (&'a str, &'a ContestantFigures, Summary, Option<Summary>)> {
    report.phases().into_iter().flat_map(move |phase| {
        let raw = report.contestants.first().and_then(|raw| Summary::of(raw, phase));
        all.clone().filter_map(move |of| Summary::of(of, phase).map(|summary| (phase, of, summary, raw)))
    })
}

fn times(value: f64, base: Option<f64>) -> String {
    base.and_then(|base| ratio(value, base)).map(number).unwrap_or_default()
}

fn speed(report: &Report) -> Option<String> {
    let header = ["phase", "contestant", "objects/s", "× raw", "p50", "p90", "p99", "max", "further polls"];
    let title =
        format!("Speed, and latency from request to ready; medians of {}", counted(report.load.rounds, "round"));
    let mut section = Section::new(title, 2, header);
    for (phase, of, summary, raw) in summaries(report) {
        let latency = |figure: fn(Latency) -> f64| summary.latency.map(figure).map(duration).unwrap_or_default();
        section.row([
            phase.to_owned(),
            of.name.clone(),
            number(summary.throughput),
            times(summary.throughput, raw.map(|raw| raw.throughput)),
            latency(|latency| latency.p50),
            latency(|latency| latency.p90),
            latency(|latency| latency.p99),
            latency(|latency| latency.max),
            whole(summary.further_polls),
        ]);
    }
    section.render()
}

/// The throughput of each contestant divided by that of each other one.
fn compared(report: &Report) -> Option<String> {
    let [_, _, ..] = report.contestants.as_slice() else { return None };
    let phases = report.phases();
    let header = [String::new()].into_iter().chain(report.contestants.iter().map(|of| format!("× {}", of.name)));
    let mut section = Section::new(format!("Objects/s compared: {}", order(&phases)), 1, header);
    let throughput = |of: &ContestantFigures, phase: &str| Summary::of(of, phase).map(|summary| summary.throughput);
    for of in &report.contestants {
        let against = |other: &ContestantFigures| {
            let times = |phase: &&str| Some(ratio(throughput(of, phase)?, throughput(other, phase)?).map(number));
            joined(phases.iter().map(|phase| times(phase).flatten()))
        };
        let others = report.contestants.iter();
        let cells = others.map(|other| if std::ptr::eq(other, of) { String::new() } else { against(other) });
        section.row([of.name.clone()].into_iter().chain(cells));
    }
    section.render()
}

fn writes(report: &Report) -> Option<String> {
    let header = ["phase", "contestant", "writes", "reads", "conflicts", "failures", "bodies", "events", "event bytes"];
    let title =
        "Requests of the controllers and events of all watches, per object; conflicts and failures of all objects";
    let mut section = Section::new(title, 2, header);
    for (phase, of, summary, _) in summaries(report) {
        section.row([
            phase.to_owned(),
            of.name.clone(),
            number(summary.writes),
            number(summary.reads),
            whole(summary.conflicts),
            whole(summary.failures),
            bytes(summary.body_bytes),
            number(summary.watch_events),
            bytes(summary.watch_bytes),
        ]);
    }
    section.render()
}

fn cpu(report: &Report) -> Option<String> {
    let open_loop = report.load.rate.is_some();
    let delay = open_loop.then_some("delay");
    let header =
        ["phase", "contestant", "controllers", "API server", "× raw", "net", "etcd", "generator", "sent", "lag"];
    let title = "CPU time in ms per object (net: beyond the load alone); time until all was sent; p99 lag of timers";
    let title = title.to_owned() + if open_loop { "; maximum delay of requests" } else { "" };
    let mut section = Section::new(title, 2, header.into_iter().chain(delay));
    let all = [&report.alone].into_iter().chain(&report.contestants);
    for (phase, of, summary, raw) in summaries_of(report, all) {
        let delay = open_loop.then(|| duration(summary.delay));
        let alone = Summary::of(&report.alone, phase).filter(|_| !std::ptr::eq(of, &raw const report.alone));
        let net = alone.map(|alone| summary.cpu.api_server - alone.cpu.api_server);
        let cells = [
            phase.to_owned(),
            of.name.clone(),
            number(summary.cpu.controllers),
            number(summary.cpu.api_server),
            times(summary.cpu.api_server, raw.map(|raw| raw.cpu.api_server)),
            net.map(number).unwrap_or_default(),
            number(summary.cpu.etcd),
            number(summary.cpu.generator),
            duration(summary.sent_after * 1000.0),
            duration(summary.lag),
        ];
        section.row(cells.into_iter().chain(delay));
    }
    section.render()
}

fn idle(report: &Report) -> Option<String> {
    let mut section = Section::new("Latency at rest", 1, ["contestant", "p50", "× raw", "p99", "× raw"]);
    let raw = report.contestants.first().and_then(ContestantFigures::idle);
    for of in &report.contestants {
        let Some(idle) = of.idle() else { continue };
        section.row([
            of.name.clone(),
            duration(idle.p50),
            times(idle.p50, raw.map(|raw| raw.p50)),
            duration(idle.p99),
            times(idle.p99, raw.map(|raw| raw.p99)),
        ]);
    }
    section.render()
}

fn processes(report: &Report) -> Option<String> {
    let header = ["contestant", "process", "ready", "empty", "at rest", "peak", "CPU"];
    let mut section = Section::new(
        "Processes: time to ready; resident memory without objects, at rest with all objects, and at its peak; CPU at rest",
        2,
        header,
    );
    for of in &report.contestants {
        for name in of.processes() {
            let median =
                |figure: &dyn Fn(&Process) -> Option<f64>| of.median(|round| figure(round.processes.get(name)?));
            let resident = |figure: fn(&Process) -> u64| median(&|of| Some(float(figure(of)))).map(memory);
            section.row([
                of.name.clone(),
                name.to_owned(),
                median(&|of| of.ready_after).map(|seconds| duration(seconds * 1000.0)).unwrap_or_default(),
                resident(|of| of.memory_empty).unwrap_or_default(),
                resident(|of| of.memory_rest).unwrap_or_default(),
                resident(|of| of.memory_peak).unwrap_or_default(),
                median(&|of| Some(of.cpu_rest)).map(|percent| format!("{percent:.2} %")).unwrap_or_default(),
            ]);
        }
    }
    section.render()
}

/// How controllers started when objects existed already.
fn standing(report: &Report) -> Option<String> {
    let measured = report.contestants.iter().filter_map(|of| Some((of, of.standing.as_ref()?)));
    let objects = measured.clone().map(|(_, standing)| standing.objects).max()?;
    let header = ["contestant", "process", "objects", "listed", "ready", "at rest", "peak", "CPU"];
    let title = format!("Started with {} in place", counted(objects, "object"));
    let mut section = Section::new(title, 3, header);
    let after = |seconds: Option<f64>| seconds.map(|seconds| duration(seconds * 1000.0)).unwrap_or_default();
    for (of, standing) in measured {
        let unserved = standing.processes.iter().map(|process| (process, "unserved"));
        for ((name, process), state) in unserved.chain(standing.again.iter().map(|process| (process, "served"))) {
            section.row([
                of.name.clone(),
                name.clone(),
                state.to_owned(),
                after(process.listed_after),
                after(process.ready_after),
                memory(float(process.memory_rest)),
                memory(float(process.memory_peak)),
                format!("{:.2} %", process.cpu_rest),
            ]);
        }
        let all = after(Some(standing.all_ready_after));
        section.row([of.name.clone(), "all objects ready".to_owned(), "unserved".to_owned(), String::new(), all]);
    }
    section.render()
}

/// A figure by form, such as verb and resource. Each contestant has a column, and each cell has a value for each phase.
/// Forms without values are left out.
fn forms(
    report: &Report,
    title: &str,
    forms: impl Fn(&ContestantFigures, &str) -> BTreeMap<String, f64>,
    words: fn(f64) -> String,
) -> Option<String> {
    let phases = report.phases();
    let header = [""].into_iter().chain(report.contestants.iter().map(|of| of.name.as_str()));
    let mut section = Section::new(format!("{title}: {}", order(&phases)), 1, header).unbroken();
    let of_phases = |of| phases.iter().map(|phase| forms(of, phase)).collect();
    let all: Vec<Vec<_>> = report.contestants.iter().map(of_phases).collect();
    let used = all.iter().flatten().flatten().filter(|(_, value)| **value >= NOTHING).map(|(form, _)| form);
    for form in used.collect::<BTreeSet<_>>() {
        let cell = |of: &Vec<BTreeMap<_, _>>| {
            let values = of.iter().map(|forms| forms.get(form).copied().filter(|value| *value >= NOTHING).map(words));
            joined(values)
        };
        section.row([form.clone()].into_iter().chain(all.iter().map(cell)));
    }
    section.render()
}

/// A cell with the values of all phases; empty if there are none.
fn joined(values: impl Iterator<Item = Option<String>>) -> String {
    let values: Vec<_> = values.collect();
    match values.split_first() {
        Some((first, others)) if others.iter().all(|other| other == first) => first.clone().unwrap_or_default(),
        _ => values.iter().map(|value| value.as_deref().unwrap_or("–")).collect::<Vec<_>>().join("/"),
    }
}

/// The explanation of such a cell.
fn order(phases: &[&str]) -> String {
    phases.join("/") + if phases.len() > 1 { ", or one value for all" } else { "" }
}

/// A table of latencies by kind for each phase.
fn kinds(report: &Report) -> Option<String> {
    let of_phase = |phase| {
        let title = format!("Latency by kind, {phase}: p50/p90/p99/max in ms or the given unit");
        let header = ["kind"].into_iter().chain(report.contestants.iter().map(|of| of.name.as_str()));
        let mut section = Section::new(title, 1, header).unbroken();
        for kind in report.kinds(phase) {
            let cell = |of: &ContestantFigures| {
                let latency = of.latency_of(phase, kind);
                latency.map(|Latency { p50, p90, p99, max }| durations(&[p50, p90, p99, max])).unwrap_or_default()
            };
            section.row([kind.to_owned()].into_iter().chain(report.contestants.iter().map(cell)));
        }
        section.render()
    };
    let tables: Vec<_> = report.phases().into_iter().filter_map(of_phase).collect();
    (!tables.is_empty()).then(|| tables.join("\n"))
}

#[cfg(test)]
mod tests;
