//! The tables of a load of three Shoots.

use super::super::analysis::tests::report;
use super::*;

#[test]
fn all_figures_are_shown() {
    let text = render(&report());
    for shown in [
        "3 hibernated Shoots, created at 1 a second: 2 succeeded, 1 failed",
        "gardenlet begins → Succeeded",
        "Waiting",
        "get secrets",
        "load-3: quota",
        "load-3: timeout",
        "gardenlet's own limit of requests a second limits the speed: it logs 2 lines",
    ] {
        assert!(text.contains(shown), "{shown:?} is missing in\n{text}");
    }
    assert!(!text.contains("watch pods"), "{text}");
    assert!(text.lines().filter(|line| line.contains('│')).all(|line| line.chars().count() <= 118), "{text}");
}

#[test]
fn interrupted_load_says_how_many_shoots_were_wanted() {
    let report = Report { wanted: 50, ..report() };
    assert!(describe(&report).starts_with("3 hibernated Shoots of 50, created"), "{}", describe(&report));
}

#[test]
fn load_without_figures_has_no_tables() {
    assert_eq!(render(&Report::default()).lines().filter(|line| line.contains('│')).count(), 0);
}

#[test]
fn each_limit_is_a_sentence() {
    let of = |found| limit(&Report { limit: Some(found), workers: 20.0, ..Report::default() }).unwrap();
    let cpu = of(Limit::Cpu { moments: 0.8, garden: 0.95, working: 7.0 });
    assert!(cpu.starts_with("CPU limits the speed: 80 % of the moments") && cpu.contains("7 Shoots in work"), "{cpu}");
    assert!(of(Limit::Workers { moments: 0.6 }).starts_with("gardenlet's 20 workers limit the speed: in 60 %"));
    assert!(of(Limit::Nothing).starts_with("Nothing is saturated"));
}
