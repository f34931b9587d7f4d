//! The figures of a load as tables for the terminal.

use mock_view::Section;
use mock_view::statistics::{Latency, count, float, ratio};
use mock_view::words::{brief, counted, memory, number};

use super::figures::{Limit, Moment, Owner, ProcessFigures, Report, ServerFigures, StepFigures};
use super::limit::RULE;

/// How many rows the tables of steps, requests and failures have.
const ROWS: usize = 12;
/// Processes that used less CPU time than this, in seconds, and are not large are left out.
const LITTLE: f64 = 0.05;

/// Renders all figures. Tables without figures are left out.
pub(super) fn render(report: &Report) -> String {
    let sections = [
        times(report),
        steps(report),
        pace(report),
        owners(report),
        processes(report),
        servers(report),
        requests(report),
    ];
    let head = format!("{}\n{}", describe(report), report.machine.describe());
    let sections = sections.into_iter().flatten().collect::<Vec<_>>().join("\n");
    let end = [errors(report), failures(report), limit(report).map(|limit| format!("{limit}\n{RULE}"))];
    let end = end.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
    format!("{head}\n\n{sections}\n{end}\n")
}

/// Describes the load in one line.
pub(super) fn describe(report: &Report) -> String {
    let succeeded = report.succeeded();
    let shoots = counted(report.shoots.len(), "hibernated Shoot");
    let rate = brief(report.rate);
    let interrupted = if count(report.shoots.len()) < f64::from(report.wanted) {
        format!(" of {}", report.wanted)
    } else {
        String::new()
    };
    format!("{shoots}{interrupted}, created at {rate} a second: {succeeded} succeeded, {} failed", report.failed())
}

/// Formats a duration in seconds with three digits.
fn seconds(seconds: f64) -> String {
    format!("{} s", number(seconds))
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// The cells of a distribution, and of its thirds.
fn distribution(all: Latency, early: f64, late: f64) -> [String; 7] {
    let grown = ratio(late, early).filter(|_| early >= 0.05).map(|times| format!("× {}", number(times)));
    let [p50, p90, p99, max] = [all.p50, all.p90, all.p99, all.max].map(seconds);
    [p50, p90, p99, max, seconds(early), seconds(late), grown.unwrap_or_default()]
}

fn times(report: &Report) -> Option<String> {
    let title = "Time of a Shoot; medians of the third of the Shoots that were created first, and of the last third";
    let header = ["", "p50", "p90", "p99", "max", "first third", "last third", "growth"];
    let mut section = Section::new(title, 1, header);
    for time in &report.times {
        section.row([time.what.to_owned()].into_iter().chain(distribution(time.all, time.early, time.late)));
    }
    section.render()
}

fn steps(report: &Report) -> Option<String> {
    let title = "gardenlet's steps that take most of a Shoot's time: what of it they take and how much of that gardenlet \
                 sleeps\nbetween two looks, as means; and how long they last, as above";
    let header = ["step", "takes", "asleep", "p50", "max", "first third", "last third", "growth"];
    let mut section = Section::new(title, 1, header);
    for step in report.steps.iter().take(ROWS) {
        let [p50, _, _, max, early, late, growth] = distribution(step.all, step.early, step.late);
        let takes = seconds(step.critical);
        section.row([step.name.clone(), takes, asleep(step.asleep), p50, max, early, late, growth]);
    }
    let sum = |of: fn(&StepFigures) -> f64| report.steps.iter().map(of).sum::<f64>();
    if !report.steps.is_empty() {
        let all = counted(report.steps.len(), "step");
        section.row([format!("all {all}"), seconds(sum(|of| of.critical)), asleep(sum(|of| of.asleep))]);
    }
    section.render()
}

fn asleep(time: f64) -> String {
    if time > 0.0 { seconds(time) } else { String::new() }
}

/// How many Shoots at once, and how fast.
fn pace(report: &Report) -> Option<String> {
    let most = |of: fn(&Moment) -> f64| report.moments.iter().map(of).fold(0.0, f64::max);
    let working: Vec<_> = report.moments.iter().filter(|moment| moment.working > 0.0).collect();
    let mean = |of: fn(&Moment) -> f64| {
        ratio(working.iter().map(|moment| of(moment)).sum(), count(working.len())).unwrap_or_default()
    };
    let requests = |of: &Moment| -> f64 { of.requests.values().sum() };
    let resident = |of: &Moment| -> f64 { of.memory.values().sum() };
    let title = "Shoots at once, speed, and the machine while Shoots are in work";
    let mut section = Section::new(title, 1, ["", "mean", "most"]);
    if working.is_empty() {
        return None;
    }
    let workers = format!("Shoots in work, of {} workers", brief(report.workers));
    section.row([workers, brief(mean(|of| of.working)), brief(most(|of| of.working))]);
    section.row(["Shoots in gardenlet's queue".to_owned(), brief(mean(|of| of.waiting)), brief(most(|of| of.waiting))]);
    section.row(["Shoots a minute".to_owned(), report.pace().map(number).unwrap_or_default()]);
    section.row(["CPU of the machine".to_owned(), percent(mean(|of| of.cpu)), percent(most(|of| of.cpu))]);
    section.row(["CPU of all processes here".to_owned(), percent(mean(|of| of.garden)), percent(most(|of| of.garden))]);
    section.row(["gardenlet's requests a second".to_owned(), number(mean(requests)), number(most(requests))]);
    section.row(["resident memory".to_owned(), memory(mean(resident)), memory(most(resident))]);
    section.render()
}

/// The processes of each owner together.
fn owners(report: &Report) -> Option<String> {
    let header = ["whose", "CPU", "CPU a Shoot", "memory before", "after", "more a Shoot"];
    let title = "CPU time, and memory as proportional set size (shared pages are divided), by whose the processes are";
    let mut section = Section::new(title, 1, header);
    let all: f64 = report.processes.iter().map(|process| process.cpu).sum();
    for owner in [Owner::Mock, Owner::Gardener, Owner::Kubernetes, Owner::Others] {
        let of_owner = report.processes.iter().filter(|process| process.owner == owner);
        let sum = |of: fn(&ProcessFigures) -> f64| of_owner.clone().map(of).fold(0.0, |sum, one| sum + one);
        let (cpu, before, after) =
            (sum(|of| of.cpu), sum(|of| of.proportional_before), sum(|of| of.proportional_after));
        let part = ratio(cpu, all).map(percent).unwrap_or_default();
        section.row([
            words(owner).to_owned(),
            part,
            report.a_shoot(cpu).map(seconds).unwrap_or_default(),
            memory(before),
            memory(after),
            report.a_shoot(after - before).map(memory).unwrap_or_default(),
        ]);
    }
    section.render().filter(|_| !report.processes.is_empty())
}

fn words(owner: Owner) -> &'static str {
    match owner {
        Owner::Mock => "this project",
        Owner::Gardener => "Gardener",
        Owner::Kubernetes => "Kubernetes and etcd",
        Owner::Others => "measuring, shells",
    }
}

fn processes(report: &Report) -> Option<String> {
    let header = ["process", "CPU", "CPU a Shoot", "resident peak", "proportional before", "after", "more a Shoot"];
    let mut section = Section::new("Processes; those of one program in Pods together", 1, header);
    for process in report.processes.iter().filter(|process| process.cpu >= LITTLE) {
        let more = process.proportional_after - process.proportional_before;
        section.row([
            process.name.clone(),
            seconds(process.cpu),
            report.a_shoot(process.cpu).map(seconds).unwrap_or_default(),
            memory(process.resident_peak),
            memory(process.proportional_before),
            memory(process.proportional_after),
            report.a_shoot(more).map(memory).unwrap_or_default(),
        ]);
    }
    section.render()
}

fn servers(report: &Report) -> Option<String> {
    let header = ["API server", "requests", "a Shoot", "watches before", "after"];
    let mut section = Section::new("Requests of all clients, without watches, and open watches", 1, header);
    for server in &report.servers {
        let requests = float(asked(server).map(|(_, count)| count).sum());
        section.row([
            server.name.clone(),
            format!("{requests:.0}"),
            report.a_shoot(requests).map(number).unwrap_or_default(),
            server.watches_before.to_string(),
            server.watches_after.to_string(),
        ]);
    }
    section.render()
}

fn asked(server: &ServerFigures) -> impl Iterator<Item = (&str, u64)> {
    let all = server.requests.iter().map(|(what, count)| (what.as_str(), *count));
    all.filter(|(what, _)| !what.starts_with("watch "))
}

fn requests(report: &Report) -> Option<String> {
    let mut section = Section::new("The most frequent requests", 2, ["API server", "request", "requests", "a Shoot"]);
    let of_server = |server| asked(server).map(move |(what, count)| (&server.name, what, count));
    let mut all: Vec<_> = report.servers.iter().flat_map(of_server).collect();
    all.sort_by_key(|(.., count)| std::cmp::Reverse(*count));
    for (server, what, count) in all.into_iter().take(ROWS) {
        let each = report.a_shoot(float(count)).map(number).unwrap_or_default();
        section.row([server.clone(), what.to_owned(), count.to_string(), each]);
    }
    section.render()
}

/// Some lines below a title. Returns `None` without lines.
fn list<'a>(title: &str, all: impl Iterator<Item = (&'a String, &'a String)> + Clone) -> Option<String> {
    let lines: Vec<_> = all.clone().take(ROWS).map(|(name, why)| format!("  {name}: {why}")).collect();
    let others = all.count().saturating_sub(ROWS);
    let others = if others > 0 { format!("\n  and {others} others") } else { String::new() };
    (!lines.is_empty()).then(|| format!("{title}:\n{}{others}", lines.join("\n")))
}

/// What gardenlet failed with before it tried again.
fn errors(report: &Report) -> Option<String> {
    let all = report.shoots.iter().flat_map(|shoot| shoot.errors.iter().map(move |why| (&shoot.name, why)));
    list("gardenlet failed, and tried again", all)
}

/// The Shoots that failed, and why.
fn failures(report: &Report) -> Option<String> {
    list("Failed", report.shoots.iter().filter_map(|shoot| Some((&shoot.name, shoot.failure.as_ref()?))))
}

/// What limits the speed, in a sentence.
pub(super) fn limit(report: &Report) -> Option<String> {
    Some(match report.limit.as_ref()? {
        Limit::Cpu { moments, garden, working } => format!(
            "CPU limits the speed: {} of the moments use 90 % of the machine's CPU or more, first with {} Shoots in work; {} of the \
             used CPU is the garden's.",
            percent(*moments),
            brief(*working),
            percent(*garden)
        ),
        Limit::Throttling => format!(
            "gardenlet's own limit of requests a second limits the speed: it logs {} about waits of more than a second, and \
             no more than one in 10 s.",
            counted(report.throttled, "line")
        ),
        Limit::Workers { moments } => format!(
            "gardenlet's {} workers limit the speed: in {} of the moments all are busy, and further Shoots wait.",
            brief(report.workers),
            percent(*moments)
        ),
        Limit::Nothing => "Nothing is saturated: gardenlet waits for others, or sleeps between two looks.".to_owned(),
    })
}

#[cfg(test)]
mod tests;
