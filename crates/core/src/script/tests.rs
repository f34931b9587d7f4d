use extension_contract::OperationType;
use k8s_openapi::jiff::SignedDuration;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::conditions::with_record;
use super::delay::*;
use super::draw::backoff;
use super::record::{RequestId, TimedCondition};
use super::*;
use crate::invalid::Invalid;

const HEAD: &str = "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\nseed: 7\n";

fn parse(rules: &str) -> Result<Script, Invalid> {
    Script::parse(&format!("{HEAD}rules:\n{rules}"))
}

fn subject<'a>(name: &'a str, pools: &[&'a str]) -> Subject<'a> {
    Subject {
        kind: "Worker",
        namespace: "shoot--dev--a",
        name,
        shoot: "shoot--dev--a",
        purpose: Some("provision"),
        pools: pools.to_vec(),
    }
}

fn fired(rules: &str, name: &str, attempt: u32) -> Option<usize> {
    let script = parse(rules).unwrap();
    let choice = choose(&script, 7, &subject(name, &["a", "b1", "b2"]), OperationType::Create, attempt)?;
    Some(choice.fired.number)
}

#[test]
fn a_text_that_a_status_cannot_hold_is_an_error_that_says_so_and_the_longest_is_read() {
    let conditions = |count: usize, text: &str| {
        let all = (0..count).map(|index| format!("{{type: T{index}, status: Unknown, reason: R, message: {text}}}"));
        format!("- {{succeed: {{}}, conditions: [{}]}}", all.collect::<Vec<_>>().join(", "))
    };
    for (field, longest, rules) in [
        ("name", 253, "- {name: X, hang: {}}"),
        ("fail.message", 4096, "- {fail: {message: X}}"),
        ("progress[0].description", 4096, "- {succeed: {}, progress: [{percent: 50, description: X}]}"),
        ("conditions[0].type", 316, "- {hang: {}, conditions: [{type: X, status: Unknown, reason: R}]}"),
        ("conditions[0].reason", 1024, "- {hang: {}, conditions: [{type: T, status: Unknown, reason: X}]}"),
        (
            "conditions[0].message",
            4096,
            "- {hang: {}, conditions: [{type: T, status: Unknown, reason: R, message: X}]}",
        ),
    ] {
        let of = |length| parse(&rules.replace('X', &"x".repeat(length)));
        assert!(of(longest).is_ok(), "{field}");
        let invalid = of(longest + 1).unwrap_err();
        let problem = format!("has {} characters, expected at most {longest}", longest + 1);
        assert_eq!((invalid.field, invalid.problem), (format!("rule 1, {field}"), problem));
    }
    assert!(parse(&conditions(20, "ü")).is_ok());
    let invalid = parse(&conditions(21, "ü")).unwrap_err();
    assert_eq!(invalid.to_string(), "rule 1, conditions: has 21 conditions, expected at most 20");
}

#[test]
fn a_mistake_is_an_error_with_rule_field_and_what_was_expected() {
    for (rules, field, expected) in [
        ("- {}", "rule 1, succeed", "0 of succeed, fail, hang and misbehave, expected exactly one"),
        ("- {succeed: {}, hang: {}}", "rule 1, succeed", "has 2 of"),
        (
            "- succeed: {}\n- {name: quota, fail: {message: m, codes: [ERR_X]}}",
            "rule 2 (quota), fail.codes[0]",
            "expected one of `ERR_INFRA_UNAUTHENTICATED`",
        ),
        ("- {fail: {message: ''}}", "rule 1, fail.message", "expected the text of lastError"),
        ("- {fail: {}}", "rule 1, fail", "missing field `message`"),
        ("- {succeed: {after: soon}}", "rule 1, succeed.after", "\"soon\" is no duration such as \"20s\""),
        ("- {succeed: {after: -5s}}", "rule 1, succeed.after", "no duration"),
        ("- {succeed: {after: 8761h}}", "rule 1, succeed.after", "expected at most a year"),
        ("- 7", "rule 1", "expected a map with one of succeed, fail, hang and misbehave"),
        ("- {succeed: {after: 20}}", "rule 1, succeed.after", "expected a duration such as \"20s\", or one of uniform"),
        (
            "- {succeed: {after: {normal: {from: 1s}}}}",
            "rule 1, succeed.after.normal",
            "expected one of `uniform`, `triangular`, `longTailed`",
        ),
        (
            "- {succeed: {after: {uniform: {from: 2s, to: 1s}}}}",
            "rule 1, succeed.after.uniform",
            "expected from at most to",
        ),
        (
            "- {succeed: {after: {triangular: {from: 1s, peak: 9s, to: 2s}}}}",
            "rule 1, succeed.after.triangular",
            "expected from at most peak",
        ),
        (
            "- {fail: {message: m, retryAfter: {longTailed: {p50: 0s, p99: 1s}}}}",
            "rule 1, fail.retryAfter.longTailed",
            "expected p50 above zero",
        ),
        ("- {match: {operations: [Update]}, succeed: {}}", "rule 1, match.operations[0]", "expected one of `Create`"),
        ("- {match: {attempts: {from: 3, to: 2}}, succeed: {}}", "rule 1, match.attempts", "3 to 2 is no range"),
        ("- {match: {attempts: {from: 0}}, succeed: {}}", "rule 1, match.attempts", "expected `from` at least 1"),
        ("- {match: {percent: 0}, succeed: {}}", "rule 1, match.percent", "expected more than 0 and at most 100"),
        ("- {match: {percent: 101}, succeed: {}}", "rule 1, match.percent", "is 101"),
        ("- {match: {shoot: x}, succeed: {}}", "rule 1, match.shoot", "unknown field `shoot`, expected one of"),
        ("- {match: {names: ['']}, succeed: {}}", "rule 1, match.names", "expected text"),
        ("- {match: {kinds: ['']}, succeed: {}}", "rule 1, match.kinds", "expected text"),
        ("- {fail: {message: m, pools: ['']}}", "rule 1, fail.pools", "expected text"),
        ("- {misbehave: {fault: Explode}}", "rule 1, misbehave.fault", "expected one of `OldObservedGeneration`"),
        (
            "- {hang: {}, progress: [{percent: 1, description: d}]}",
            "rule 1, progress",
            "`progress` cannot be combined with `hang`",
        ),
        (
            "- {succeed: {}, progress: [{percent: 100, description: d}]}",
            "rule 1, progress[0].percent",
            "expected 2 to 99",
        ),
        (
            "- {succeed: {}, progress: [{percent: 9, description: d}, {percent: 9, description: d}]}",
            "rule 1, progress[1].percent",
            "is 9 after 9",
        ),
        (
            "- {succeed: {}, conditions: [{type: MockScript, status: 'True', reason: R}]}",
            "rule 1, conditions[0].type",
            "expected a type such as",
        ),
        (
            "- {succeed: {}, conditions: [{type: A, status: Maybe, reason: R}]}",
            "rule 1, conditions[0].status",
            "expected one of `True`",
        ),
        (
            "- {succeed: {}, conditions: [{type: A, status: 'True', reason: a b}]}",
            "rule 1, conditions[0].reason",
            "expected one word",
        ),
        (
            "- {succeed: {}, conditions: [{type: A, status: 'True', reason: R}, {type: A, status: 'True', reason: R}]}",
            "rule 1, conditions[1].type",
            "expected each type once",
        ),
    ] {
        let invalid = parse(rules).unwrap_err();
        assert_eq!(invalid.field, field, "{rules}: {invalid}");
        assert!(invalid.problem.contains(expected), "{rules}: {invalid}");
        assert_eq!(invalid.to_string().lines().count(), 1, "{invalid}");
    }
    let steps: Vec<_> = (1..=21).map(|percent| format!("{{percent: {percent}, description: d}}")).collect();
    let invalid = parse(&format!("- {{succeed: {{}}, progress: [{}]}}", steps.join(", "))).unwrap_err();
    assert_eq!(invalid.to_string(), "rule 1, progress: has 21 steps, expected at most 20");
}

#[test]
fn any_number_of_comments_is_skipped() {
    let comments = "# a comment\n".repeat(1000);
    let head = "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\n";
    assert!(Script::parse(&format!("{comments}{head}rules:\n{comments}- succeed: {{}}\n{comments}")).is_ok());
}

#[test]
fn a_document_that_is_no_script_is_an_error() {
    for (text, expected) in [
        ("", "script: invalid type: null, expected a map with apiVersion, kind and rules"),
        ("rules: [", "script: unclosed bracket '['"),
        ("seed: 1\nseed: 2", "script: duplicate mapping key `seed` is not allowed here at line 2"),
        ("a: 1\n---\nb: 2", "script: only single YAML document"),
        (
            "apiVersion: v1\nkind: Script\nrules: []",
            "apiVersion: unknown variant `v1`, expected `mock.extensions.gardener.cloud/v1alpha1`",
        ),
        (
            "apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Skript\nrules: []",
            "kind: unknown variant `Skript`, expected `Script`",
        ),
        ("apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script", "script: missing field `rules`"),
        ("apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\nseed: x\nrules: []", "seed: invalid type"),
    ] {
        let invalid = Script::parse(text).unwrap_err();
        assert!(invalid.to_string().starts_with(expected), "{text:?}: {invalid}");
    }
}

#[test]
fn durations_are_spelled_as_in_go_or_in_words() {
    for (text, millis) in [
        ("20s", 20_000),
        ("1m30s", 90_000),
        ("1m 30s", 90_000),
        ("1.5h", 5_400_000),
        ("100ms", 100),
        ("2h45m0s", 9_900_000),
        ("0s", 0),
    ] {
        let span: Span = text.parse().unwrap();
        assert_eq!(span.0.as_millis(), millis, "{text}");
        assert_eq!(span.to_string().parse(), Ok(span), "{text} as {span}");
    }
    for text in ["", "20", "-1s", "1 fortnight", "8761h"] {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }
}

#[test]
fn a_drawn_choice_survives_being_written_and_read() {
    let delay: Delay = serde_saphyr::from_str("{longTailed: {p50: 1h, p99: 8760h}}").unwrap();
    let longest = Span(delay.at(0.9999));
    assert_eq!(longest.to_string().parse(), Ok(longest));
}

#[test]
fn distributions_have_their_configured_quantiles() {
    let at = |delay: &str, chance: f64| {
        let delay: Delay = serde_saphyr::from_str(delay).unwrap();
        delay.at(chance).as_secs_f64()
    };
    for (delay, quantiles) in [
        ("4s", [(0.0, 4.0), (0.9, 4.0)]),
        ("{uniform: {from: 2s, to: 4s}}", [(0.0, 2.0), (0.5, 3.0)]),
        ("{triangular: {from: 0s, peak: 5s, to: 10s}}", [(0.0, 0.0), (0.5, 5.0)]),
        ("{triangular: {from: 0s, peak: 0s, to: 10s}}", [(0.0, 0.0), (0.75, 5.0)]),
        ("{longTailed: {p50: 2s, p99: 60s}}", [(0.5, 2.0), (0.99, 60.0)]),
    ] {
        for (chance, seconds) in quantiles {
            assert!((at(delay, chance) - seconds).abs() < 0.002, "{delay} at {chance} is {}", at(delay, chance));
        }
    }
    // Even the longest duration ends within minutes.
    let longest = at("{longTailed: {p50: 2s, p99: 60s}}", 1.0 - f64::EPSILON);
    assert!((200.0..400.0).contains(&longest), "{longest}");
}

#[test]
fn the_first_rule_that_matches_fires() {
    let rules = "
- match: {kinds: [Network]}
  hang: {}
- match: {operations: [Delete]}
  hang: {}
- match: {purposes: [reconcile]}
  hang: {}
- match: {shoots: ['shoot--prod--*']}
  hang: {}
- match: {names: ['x?', y*], attempts: {to: 2}}
  succeed: {}
- match: {kinds: [Worker], attempts: {from: 2, to: 3}, purposes: [provision], shoots: ['shoot--*']}
  succeed: {}
- fail: {message: m, pools: [c]}
- fail: {message: m, pools: ['b*']}
";
    assert_eq!(fired(rules, "x1", 1), Some(5));
    assert_eq!(fired(rules, "yacht", 2), Some(5));
    assert_eq!(fired(rules, "x12", 1), Some(8));
    assert_eq!(fired(rules, "x12", 3), Some(6));
    assert_eq!(fired("- {match: {attempts: {from: 2}}, hang: {}}", "a", 1), None);
    let choice = choose(&parse(rules).unwrap(), 7, &subject("z", &["a", "b1", "b2"]), OperationType::Create, 1);
    let Action::Fail { pools, .. } = choice.unwrap().fired.action else { panic!("it does not fail") };
    assert_eq!(pools, ["b1", "b2"]);
}

#[test]
fn a_percentage_is_met_and_each_rule_draws_independently() {
    let rules = "- {match: {percent: 30}, hang: {}}\n- {match: {percent: 50}, succeed: {}}";
    let count = |wanted| (0..1000).filter(|n| fired(rules, &format!("o{n}"), 1) == wanted).count();
    let (first, second) = (count(Some(1)), count(Some(2)));
    assert!((260..340).contains(&first) && (310..390).contains(&second), "{first} and {second} of 1000");
    // An object draws anew for each attempt.
    let attempts = (1..=1000).filter(|attempt| fired(rules, "a", *attempt) == Some(1)).count();
    assert!((260..340).contains(&attempts), "{attempts}");
}

/// A seed must reproduce its run in every later release.
#[test]
fn draws_are_the_same_in_every_version() {
    let draw =
        |seed, name, operation, attempt| Draws::new(seed, &subject(name, &[]), operation, attempt).chance("after");
    let drawn = [
        draw(7, "a", OperationType::Create, 1),
        draw(8, "a", OperationType::Create, 1),
        draw(7, "b", OperationType::Create, 1),
        draw(7, "a", OperationType::Delete, 1),
        draw(7, "a", OperationType::Create, 2),
    ];
    assert_eq!(
        drawn.map(|chance| format!("{chance:.6}")),
        ["0.376958", "0.926313", "0.989152", "0.264679", "0.556978"]
    );
    assert_eq!(drawn_seed("ba5e8fd2-9bb6-4dd3-9f27-2b6a2a4cf8ff"), 494_633_808);
}

#[test]
fn backoff_doubles_from_five_seconds_to_five_minutes() {
    assert_eq!([1, 2, 3, 7, 40].map(|attempt| backoff(attempt).as_secs()), [5, 10, 20, 300, 300]);
}

#[test]
fn a_condition_keeps_its_transition_time_until_its_status_changes() {
    let time = |text: &str| -> Timestamp { text.parse().unwrap() };
    let (one, two) = (time("2026-08-20T10:00:00Z"), time("2026-08-20T11:00:00Z"));
    let record = |status: ConditionStatus| {
        let due = TimedCondition {
            at: one,
            type_: "T".into(),
            status,
            reason: "R".into(),
            message: String::new(),
            codes: vec![],
        };
        let request = RequestId::default();
        let record = json!({ "phase": "Done", "operation": "Create", "attempt": 1, "seed": 1, "start": one, "conditions": [due] });
        Record { request, ..serde_json::from_value(record).unwrap() }
    };
    let first = with_record(&[], Some(record(ConditionStatus::False)), one).unwrap();
    let same = with_record(&first, Some(record(ConditionStatus::False)), two).unwrap();
    let changed = with_record(&same, Some(record(ConditionStatus::True)), two).unwrap();
    let since = |list: &[Value]| list[0]["lastTransitionTime"].clone();
    assert_eq!([since(&first), since(&same), since(&changed)], [json!(one), json!(one), json!(two)]);
    assert_eq!(same[0]["lastUpdateTime"], json!(two));
    assert_eq!(with_record(&changed, None, two), Some(vec![]));
    assert_eq!(with_record(&[json!({ "type": "Other" })], None, two), None);
}

#[test]
fn an_attempt_that_an_earlier_build_recorded_is_done() {
    assert_eq!(serde_json::from_value::<Phase>(json!("Served")).unwrap(), Phase::Done);
}

proptest! {
    #[test]
    fn a_script_survives_being_written_and_read(percent in 1..=100_u8, to in 1..9_u32, secs in 0..9_000_u32, name in "[a-z]{1,8}") {
        let rules = format!("
- name: {name}
  match: {{kinds: [Worker], operations: [Create], attempts: {{to: {to}}}, percent: {percent}}}
  fail: {{message: m, codes: [ERR_INFRA_DEPENDENCIES], after: {secs}s, retryAfter: {{uniform: {{from: 0s, to: {secs}s}}}}}}
  conditions: [{{type: EveryNodeReady, status: Progressing, reason: R}}]");
        let script = parse(&rules).unwrap();
        prop_assert_eq!(Script::from_value(&json!(script)), Ok(script));
    }

    #[test]
    fn a_drawn_delay_is_within_its_bounds(chance in 0.0..1.0_f64, from in 0..50_u32, more in 1..50_u32) {
        let span = |seconds: u32| Span(SignedDuration::from_secs(i64::from(seconds)));
        let (from, peak, to) = (span(from), span(from + more / 2), span(from + more));
        for drawn in [Distribution::Uniform { from, to }, Distribution::Triangular { from, peak, to }] {
            let delay = Delay::Drawn(drawn).at(chance);
            prop_assert!(from.0 <= delay && delay <= to.0, "{:?}", delay);
        }
    }
}
