//! A load of three Shoots, of which one fails.

use mock_garden::load::records::Gardenlet;

use super::*;

fn record(at: f64, what: What) -> Record {
    Record { at: 1000.0 + at, what }
}

fn usage(used: f64, all: f64, processes: &[(&str, f64, u64)]) -> What {
    What::Usage(Usage {
        used,
        all,
        cpu: processes.iter().map(|(name, cpu, _)| ((*name).to_owned(), *cpu)).collect(),
        memory: processes.iter().map(|(name, _, memory)| ((*name).to_owned(), *memory)).collect(),
    })
}

fn gardenlet(waiting: f64, working: f64, sent: f64) -> What {
    What::Gardenlet(Gardenlet { waiting, working, workers: 20.0, sent: [("seed".to_owned(), sent)].into() })
}

fn requests(count: u64, watches: u64) -> What {
    let counts = [("get secrets".to_owned(), count), ("watch pods".to_owned(), 5)];
    What::Requests(Requests { server: "seed".to_owned(), counts: counts.into(), watches })
}

fn memory(bytes: u64) -> What {
    What::Memory([("gardenlet".to_owned(), bytes)].into())
}

fn step(shoot: &str, name: &str, began: f64, ended: f64) -> Step {
    Step { shoot: shoot.to_owned(), name: name.to_owned(), began: 1000.0 + began, ended: 1000.0 + ended }
}

/// A load whose figures are easy to follow.
pub(in super::super) fn report() -> Report {
    let name = |number: u32| format!("load-{number}");
    let mut records = vec![
        record(-1.0, usage(10.0, 20.0, &[("gardenlet", 5.0, 100), ("mock-worker", 1.0, 50)])),
        record(-1.0, gardenlet(0.0, 0.0, 100.0)),
        record(-1.0, memory(70)),
        record(-1.0, requests(0, 3)),
        record(0.0, What::Begins),
    ];
    for (number, begins) in (1..).zip([0.0, 1.0, 2.0]) {
        records.push(record(begins, What::Asked(name(number))));
        records.push(record(begins + 0.1, What::Created(name(number))));
        records.push(record(begins + 0.2, What::Scheduled(name(number))));
        records.push(record(begins + 1.2, What::Begun(name(number))));
    }
    records.push(record(1.0, usage(13.0, 24.0, &[("gardenlet", 6.0, 300), ("mock-worker", 1.5, 60), ("new", 0.5, 1)])));
    records.push(record(1.0, gardenlet(1.0, 2.0, 140.0)));
    records.push(record(11.2, What::Succeeded(name(1))));
    records.push(record(22.2, What::Succeeded(name(2))));
    records.push(record(25.0, What::Erred { shoot: name(3), why: "timeout".to_owned() }));
    records.push(record(30.0, What::Failed { shoot: name(3), why: "quota".to_owned() }));
    records.push(record(31.0, usage(53.0, 84.0, &[("gardenlet", 26.0, 200), ("mock-worker", 2.5, 70)])));
    records.push(record(31.0, gardenlet(0.0, 0.0, 740.0)));
    records.push(record(31.0, memory(170)));
    records.push(record(31.0, requests(400, 7)));
    let steps = vec![
        step("load-1", "Deploying", 1.2, 2.2),
        step("load-1", "Waiting", 2.2, 11.2),
        step("load-2", "Deploying", 2.2, 4.2),
        step("load-2", "Beside", 2.2, 3.2),
        step("load-2", "Waiting", 4.2, 22.2),
        // Neither a Shoot that failed nor another object counts.
        step("load-3", "Deploying", 3.2, 29.2),
        step("mock", "Deploying", 0.0, 9.0),
    ];
    Report { wanted: 3, rate: 1.0, ..Report::default() }.analysed(&records, &Told { steps, throttled: 2 }).unwrap()
}

fn assert_close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
}

#[test]
fn load_that_has_not_begun_has_no_report() {
    let records = [record(0.0, usage(1.0, 2.0, &[]))];
    assert!(Report::default().analysed(&records, &Told::default()).is_none());
}

#[test]
fn times_of_a_shoot_add_up_and_a_failed_one_counts_as_far_as_it_came() {
    let report = report();
    let whole: Vec<_> = report.shoots.iter().map(|shoot| shoot.succeeded.map(|at| at - shoot.asked)).collect();
    assert_eq!((report.succeeded(), report.failed(), whole[2]), (2, 1, None));
    assert_close(whole[0].unwrap(), 11.2);
    assert_eq!(report.shoots[2].errors, ["timeout"]);
    let p50: Vec<_> = report.times.iter().map(|time| time.all.p50).collect();
    for (value, expected) in p50.into_iter().zip([0.1, 0.1, 1.0, 10.0, 11.2]) {
        assert_close(value, expected);
    }
    assert_close(report.pace().unwrap(), 2.0 * 60.0 / 22.2);
}

#[test]
fn steps_are_in_the_order_of_what_they_take_of_a_shoots_time() {
    let report = report();
    let steps: Vec<_> = report.steps.iter().map(|step| (step.name.as_str(), step.count)).collect();
    assert_eq!(steps, [("Waiting", 2), ("Deploying", 2), ("Beside", 1)]);
    for (step, expected) in report.steps.iter().zip([13.5, 1.5, 0.0]) {
        assert_close(step.critical, expected);
    }
}

#[test]
fn moment_has_what_was_used_since_the_one_before() {
    let report = report();
    let [first, last] = report.moments.as_slice() else { panic!("{:?}", report.moments) };
    assert_eq!((first.waiting, first.working, first.memory[&Owner::Gardener]), (1.0, 2.0, 300.0));
    for (value, expected) in [
        (first.at, 1.0),
        (first.cpu, 0.75),
        // A process that is new has used all of its time since then.
        (first.garden, 0.5),
        (first.gardenlet, 0.25),
        (first.ours, 0.125),
        (first.requests["seed"], 20.0),
        (last.cpu, 40.0 / 60.0),
        (last.garden, 21.0 / 60.0),
        (last.requests["seed"], 20.0),
    ] {
        assert_close(value, expected);
    }
}

#[test]
fn processes_and_servers_have_the_difference_that_the_load_made() {
    let report = report();
    let gardenlet = &report.processes[0];
    assert_eq!((gardenlet.name.as_str(), gardenlet.owner), ("gardenlet", Owner::Gardener));
    let sizes = [gardenlet.resident_before, gardenlet.resident_peak, gardenlet.proportional_after];
    assert_eq!((gardenlet.cpu, sizes), (21.0, [100.0, 300.0, 170.0]));
    let [server] = report.servers.as_slice() else { panic!("{:?}", report.servers) };
    assert_eq!((server.requests["get secrets"], server.watches_before, server.watches_after), (400, 3, 7));
}

#[test]
fn thirds_are_the_first_and_the_last_of_all() {
    let list: Vec<u32> = (0..8).collect();
    assert_eq!(thirds(&list), ([0, 1].as_slice(), [6, 7].as_slice()));
    let few = distribution(&[3.0, 5.0]).unwrap();
    assert_eq!((few.1, few.2), (3.0, 3.0));
    assert!(distribution(&[]).is_none());
}

#[test]
fn owner_follows_from_the_name() {
    for (name, expected) in [
        ("mock-worker", Owner::Mock),
        ("players", Owner::Mock),
        ("gardenlet", Owner::Gardener),
        ("gardener-resource-manager", Owner::Gardener),
        ("seed-kube-apiserver", Owner::Kubernetes),
        ("garden-etcd", Owner::Kubernetes),
        ("this command", Owner::Others),
    ] {
        assert_eq!(owner(name), expected, "{name}");
    }
}
