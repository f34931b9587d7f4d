//! Rows and titles of tables.

use super::*;
use crate::figures::PhaseFigures;
use crate::statistics::tests::{contestant, phase, report};

fn two() -> Report {
    let mock = vec![phase("create", 0.5, 10.0), phase("delete", 1.0, 2_000.0)];
    let raw = vec![phase("create", 0.4, 5.0), phase("delete", 1.0, 5.0)];
    report(vec![contestant("raw writes", vec![raw]), contestant("mock", vec![mock])])
}

/// The other cells of the row that begins with these words, in the table with this title.
fn row(text: &str, title: &str, words: &[&str]) -> Vec<String> {
    let section = text.lines().skip_while(|line| !line.starts_with(title)).take_while(|line| !line.is_empty());
    let cells = section.map(|line| line.trim_matches('│').split('┆').map(|cell| cell.trim().to_owned()).collect());
    let mut found = cells.filter(|cells: &Vec<String>| cells.iter().zip(words).all(|(cell, word)| cell == word));
    let row = found.find(|cells| cells.len() > words.len());
    row.unwrap_or_else(|| panic!("no row {words:?} below {title:?}:\n{text}")).split_off(words.len())
}

#[test]
fn each_figure_is_in_its_table() {
    let text = render(&two());
    let speed = |words| row(&text, "Speed", words);
    assert_eq!(speed(&["create", "raw writes"]), ["10.0", "1.00", "10 ms", "20 ms", "20 ms", "20 ms", "0"]);
    assert_eq!(speed(&["create", "mock"]), ["8.00", "0.80", "20 ms", "40 ms", "40 ms", "40 ms", "0"]);
    assert_eq!(speed(&["delete", "mock"]), ["4.00", "1.00", "4.0 s", "8.0 s", "8.0 s", "8.0 s", "1"]);
    let requests = row(&text, "Requests of the controllers", &["create", "mock"]);
    assert_eq!(requests, ["1.25", "0.25", "1", "0", "750 B", "2.50", "10 kB"]);
    let cpu = row(&text, "CPU", &["create", "mock"]);
    assert_eq!(cpu, ["0.50", "12.5", "1.25", "", "2.00", "1.00", "250 ms", "0.5 ms"]);
    assert_eq!(row(&text, "Latency by kind, create", &["Worker"]), ["10/20/20/20", "20/40/40/40"]);
    assert_eq!(row(&text, "Latency by kind, delete", &["Worker"]), ["10/20/20/20", "4.0/8.0/8.0/8.0 s"]);
    assert_eq!(row(&text, "Requests per object", &["patch infrastructures/status"]), ["1.5", "1.5"]);
    assert_eq!(row(&text, "Bodies", &["patch"]), ["750 B", "750 B"]);
    assert_eq!(row(&text, "Objects/s compared", &["mock"]), ["0.80/1.00", ""]);
    assert_eq!(row(&text, "Objects/s compared", &["raw writes"]), ["", "1.25/1.00"]);
}

#[test]
fn phases_with_different_values_are_shown_in_one_cell() {
    let mut report = two();
    let delete = report.contestants[1].rounds[0].phases.last_mut().unwrap();
    delete.requests.retain(|requests| requests.resource != "clusters");
    assert_eq!(row(&render(&report), "Requests per object", &["get clusters"]), ["0.25", "0.25/–"]);
}

#[test]
fn processes_and_latencies_at_rest_are_shown_if_measured() {
    let mut report = two();
    for (contestant, latency) in report.contestants.iter_mut().zip([2.0, 5.0]) {
        contestant.rounds[0].idle_latencies = vec![latency; 3];
    }
    let memory = |mebibytes: u64| mebibytes << 20;
    let process = Process {
        listed_after: Some(0.1),
        ready_after: Some(0.12),
        memory_empty: memory(9),
        memory_peak: memory(40),
        memory_rest: memory(30),
        cpu_rest: 0.05,
    };
    report.contestants[1].rounds[0].processes.insert("mock-worker".to_owned(), process);
    let text = render(&report);
    assert_eq!(row(&text, "Latency at rest", &["mock"]), ["5.0 ms", "2.50", "5.0 ms", "2.50"]);
    let process = row(&text, "Processes", &["mock", "mock-worker"]);
    assert_eq!(process, ["120 ms", "9.0 MiB", "30.0 MiB", "40.0 MiB", "0.05 %"]);
}

#[test]
fn cost_of_the_load_alone_is_a_row_and_is_subtracted() {
    let mut report = two();
    report.alone = contestant("load alone", vec![vec![phase("create", 0.2, 1.0)]]);
    let text = render(&report);
    let api_server = |who| row(&text, "CPU", &["create", who])[1..4].to_vec();
    assert_eq!(api_server("load alone"), ["5.00", "0.50", ""]);
    assert_eq!(api_server("mock"), ["12.5", "1.25", "7.50"]);
    assert_eq!(text.matches("load alone").count(), 2, "only the title and one row, since it is not a contestant");
}

#[test]
fn table_without_figures_is_left_out() {
    let text = render(&two());
    assert!(!text.contains("at rest") && !text.contains("delay"), "{text}");
    let alone = contestant("raw writes", vec![vec![PhaseFigures { samples: Vec::new(), ..phase("create", 1.0, 1.0) }]]);
    let text = render(&report(vec![alone]));
    assert!(!text.contains("by kind") && !text.contains("compared"), "{text}");
    assert!(!render(&Report::default()).contains('│'));
}

#[test]
fn delay_is_shown_for_a_rate() {
    let mut report = two();
    report.load.rate = Some(50.0);
    assert_eq!(row(&render(&report), "CPU", &["create", "mock"]).last().unwrap(), "3.0 ms");
}

#[test]
fn tables_of_five_contestants_and_phases_fit() {
    let phases =
        || ["create", "reconcile", "migrate", "restore", "delete"].map(|name| phase(name, 0.7, 123.0)).to_vec();
    let names = ["raw writes", "mock", "mock, assisted by admission", "a set of Stages", "a library for controllers"];
    let report = report(names.iter().map(|name| contestant(name, vec![phases()])).collect());
    let text = render(&report);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(usize::from(mock_view::Section::WIDTH)), "{text}");
    assert_eq!(row(&text, "Speed", &["migrate", "mock, assisted by admission"]).len(), 7);
}
