//! What a terminal shows of a garden, as text.

use extension_contract::json::set;
use mock_explain::{Found, History, Seed, explain};
use mock_garden::News;
use serde_json::json;

use super::*;

const NOW: &str = "2026-01-01T00:01:40Z";
const WIDE: Size = Size { columns: 100, rows: 40 };

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn shoot(name: &str, state: &str, progress: u8, description: &str) -> Value {
    json!({
        "kind": "Shoot",
        "metadata": {"namespace": "garden-dev", "name": name, "generation": 1},
        "status": {"observedGeneration": 1, "technicalID": name, "lastOperation": {
            "type": "Create", "state": state, "progress": progress, "description": description,
            "lastUpdateTime": "2026-01-01T00:01:10Z",
        }},
    })
}

fn known(objects: &[Value]) -> Known {
    let mut known = Known::default();
    known.see(objects.iter().cloned());
    known
}

fn object(kind: &str, name: &str, status: &Value) -> Explanation {
    let object = json!({
        "metadata": {"name": name, "namespace": "a", "creationTimestamp": "2026-01-01T00:01:30Z", "generation": 1},
        "spec": {"type": "mock"},
        "status": status,
    });
    let found = Found { kind: kinds::find(kind).unwrap(), object };
    explain(&found, &Seed::default(), &History::default(), &[], now())
}

fn lines(known: &Known, size: Size) -> Vec<String> {
    picture(known, size, false, now()).lines().map(|line| line.replace('\u{a0}', " ")).collect()
}

#[test]
fn shoot_in_work_shows_steps_errors_and_objects() {
    let mut shoot = shoot("a", "Processing", 47, "Deploying x, Waiting until y");
    set(&mut shoot, "status.lastErrors", json!([{"description": "quota\nexceeded"}]));
    let mut known = known(&[shoot]);
    let succeeded = json!({"observedGeneration": 1, "lastOperation": {"type": "Create", "state": "Succeeded"}});
    let failed = json!({
        "observedGeneration": 1,
        "lastError": {"description": "too many", "codes": ["ERR_INFRA_QUOTA_EXCEEDED"]},
        "lastOperation": {"type": "Create", "state": "Error"},
    });
    let retried = json!({
        "observedGeneration": 1,
        "lastError": {"description": "too many"},
        "lastOperation": {"type": "Create", "state": "Processing"},
    });
    known.explain(BTreeMap::from([(
        "a".to_owned(),
        vec![
            object("Network", "a", &json!({"observedGeneration": 1})),
            object("ControlPlane", "a", &failed),
            object("Infrastructure", "a", &retried),
            object("DNSRecord", "a-external", &succeeded),
            object("DNSRecord", "a-internal", &succeeded),
        ],
    )]));
    assert_eq!(
        lines(&known, WIDE),
        [
            "… garden-dev/a  Create Processing   47 %  █████████░░░░░░░░░░░",
            "  Deploying x (30 s), Waiting until y (30 s)",
            "  ✗ quota exceeded",
            "  ✗ ControlPlane  ✓ DNSRecord × 2  ✗ Infrastructure  … Network",
            "    … Network a: status.lastOperation must be present (10 s)",
            "    ✗ ControlPlane a: status.lastError must be absent, but is \"too many\" with codes",
            "      [\"ERR_INFRA_QUOTA_EXCEEDED\"] (10 s)",
            "    ✗ Infrastructure a: status.lastError must be absent, but is \"too many\" with codes [] (10 s)",
        ]
    );
}

#[test]
fn shoot_that_has_failed_shows_its_error_once() {
    let why = "task \"Waiting until x\" failed: the credentials have expired";
    let mut failed = shoot("a", "Failed", 47, why);
    set(&mut failed, "status.lastErrors", json!([{"description": why}]));
    let lines = lines(&known(&[failed]), WIDE);
    assert_eq!(lines[1..], [format!("  ✗ {why}")]);
}

#[test]
fn shoot_takes_a_line_before_gardenlet_begins_and_when_it_is_done() {
    let mut hibernated = shoot("a", "Succeeded", 100, "done");
    set(&mut hibernated, "status.hibernated", true);
    let new = json!({"kind": "Shoot", "metadata": {"namespace": "garden-dev", "name": "b"}});
    let failed = shoot("c", "Failed", 10, "");
    let seed = |state: &str| {
        let mut seed = shoot("mock", state, 20, "Deploying x");
        set(&mut seed, "kind", "Seed");
        seed
    };
    let rest = [
        "✓ garden-dev/a  Create Succeeded at 00:01:10 UTC (hibernated)",
        "… garden-dev/b  gardenlet has not begun",
        "✗ garden-dev/c  Create Failed   10 %  ██░░░░░░░░░░░░░░░░░░",
    ];
    assert_eq!(lines(&known(&[hibernated.clone(), new.clone(), failed.clone(), seed("Succeeded")]), WIDE), rest);
    let in_work = lines(&known(&[hibernated, new, failed, seed("Processing")]), WIDE);
    assert!(in_work[0].starts_with("… Seed mock  Create Processing"), "{in_work:?}");
    assert_eq!(in_work[1], "  Deploying x (30 s)");
}

#[test]
fn step_that_goes_on_has_its_time_and_that_of_all_steps() {
    let mut known = Known::default();
    known.hear(News::Begun("the first".to_owned()), "2026-01-01T00:00:00Z".parse().unwrap());
    known.hear(News::Ended { step: "the first".to_owned(), line: String::new() }, now());
    assert!(lines(&known, WIDE).is_empty());
    known.hear(News::Begun("the Seed is ready".to_owned()), "2026-01-01T00:01:33Z".parse().unwrap());
    assert_eq!(lines(&known, WIDE), ["[   100 s] … next: the Seed is ready (7 s)"]);
}

#[test]
fn a_small_terminal_shows_less_of_each_shoot_and_then_fewer_shoots() {
    let states = ["Succeeded", "Processing", "Processing", "Failed", "Succeeded"];
    let shoots =
        states.iter().zip("abcde".chars()).map(|(state, name)| shoot(&name.to_string(), state, 1, "Deploying x"));
    let mut known = known(&shoots.collect::<Vec<_>>());
    known.explain(BTreeMap::from([("b".to_owned(), vec![object("Network", "b", &json!({}))])]));
    let of = |rows: usize| lines(&known, Size { rows, ..WIDE });
    assert_eq!((of(40).len(), of(10).len(), of(9).len()), (10, 10, 8));
    assert_eq!((of(8).len(), of(7).len(), of(5).len()), (8, 5, 5));
    let few = of(3);
    assert!(few[0].starts_with("✗ garden-dev/d") && few[1].starts_with("… garden-dev/b"), "{few:?}");
    assert_eq!(few[2..], ["and 3 more: 1 in work, 2 done"]);
    for columns in 10..60 {
        let lines = lines(&known, Size { columns, rows: 40 });
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(columns)), "{lines:?}");
    }
}

#[test]
fn colours_come_only_if_they_are_wanted() {
    // Whatever NO_COLOR says.
    crossterm::style::force_color_output(true);
    let known = known(&[shoot("a", "Failed", 1, "")]);
    assert!(picture(&known, WIDE, true, now()).contains('\u{1b}'));
    assert!(!picture(&known, WIDE, false, now()).contains('\u{1b}'));
}
