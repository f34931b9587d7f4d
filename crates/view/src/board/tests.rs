//! Rows, sums and tables of reported objects.

use mock_core::script::MOCK_SCRIPT;

use super::*;

fn report(phase: Phase, namespace: &str, kind: &'static str, what: Progress) -> Report {
    let (namespace, name, spec_type) = (namespace.to_owned(), "foo".to_owned(), "mock".to_owned());
    Report { phase, namespace, kind, name, spec_type, conditions: Vec::new(), what }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn object_has_a_row_for_each_phase() {
    let mut board = Board::new(1);
    assert_eq!(board.add(report(Phase::Create, "ns", "Worker", Progress::Requested)), None);
    assert_eq!(board.stuck(), ["Worker"]);
    let line = board.add(report(Phase::Create, "ns", "Worker", Progress::Ready(millis(12)))).unwrap();
    assert_eq!(line, "create    Worker                  Succeeded   12 ms  ns/foo (mock)");
    board.add(report(Phase::Delete, "ns", "Worker", Progress::Requested));
    board.add(report(Phase::Delete, "ns", "Worker", Progress::Gone(millis(40))));
    assert_eq!(board.summary(), "1 object, 2 phases: 2 of 2 ready, p50 12 ms, max 40 ms");
    assert!(board.stuck().is_empty());

    let picture = board.picture(Size { columns: 100, rows: 30 }, false);
    let rows: Vec<_> = picture.lines().filter(|line| line.contains("Worker")).collect();
    assert_eq!(rows.len(), 2, "{picture}");
    assert!(rows[0].contains("create") && rows[0].contains("foo") && rows[1].contains("gone"), "{picture}");
}

#[test]
fn objects_are_summed_up_where_their_rows_do_not_fit() {
    let mut board = Board::new(100);
    for shoot in 0..100 {
        for kind in ["Infrastructure", "Network"] {
            board.add(report(Phase::Create, &format!("ns-{shoot}"), kind, Progress::Ready(millis(shoot + 1))));
        }
    }
    board.add(report(Phase::Reconcile, "ns-1", "Network", Progress::Stuck("a rule".to_owned())));
    let picture = board.picture(Size { columns: 100, rows: 30 }, false);
    let create: Vec<_> = picture.lines().filter(|line| line.contains("create")).collect();
    assert_eq!(create.len(), 2, "{picture}");
    for cell in ["100", "50 ms", "99 ms", "100 ms"] {
        assert!(create[0].contains(cell), "{picture}");
    }
    let small = board.picture(Size { columns: 100, rows: 6 }, false);
    assert!(small.lines().count() <= 6 && small.contains("all"), "{small}");
    assert!(board.picture(Size { columns: 100, rows: 3 }, false).lines().count() <= 3);
    assert_eq!(board.stuck(), ["Network"]);
}

#[test]
fn scripted_object_shows_attempt_rule_and_time_left() {
    let now: Timestamp = "2026-08-20T10:00:00Z".parse().unwrap();
    let record = |phase: &str, due: Option<&str>| -> Record {
        let rule = serde_json::json!({ "number": 1, "name": "quota", "action": "succeed" });
        serde_json::from_value(serde_json::json!({ "phase": phase, "operation": "Create", "attempt": 2, "seed": 7,
            "rule": rule, "start": now, "due": due }))
        .unwrap()
    };
    let due = Some("2026-08-20T10:00:12.3Z");
    assert_eq!(scripted(&record("Running", due), now), "attempt 2, rule 1 (quota), 12.3 s left");
    assert_eq!(scripted(&record("Failed", due), now), "attempt 2, rule 1 (quota), again in 12.3 s");
    assert_eq!(scripted(&record("Running", None), now), "attempt 2, rule 1 (quota), for ever");
    assert_eq!(scripted(&record("Done", None), now), "attempt 2, rule 1 (quota)");

    let mut board = Board::new(1);
    let report = report(Phase::Create, "ns", "Worker", Progress::State("Create Error 50%".to_owned()));
    let message = serde_json::to_string(&record("Failed", due)).unwrap();
    let condition = serde_json::json!({ "type": MOCK_SCRIPT, "message": message });
    board.add(Report { conditions: vec![condition], ..report });
    let picture = board.picture(Size { columns: 150, rows: 30 }, false);
    assert!(picture.contains("script") && picture.contains("attempt 2, rule 1 (quota)"), "{picture}");
}
