//! Health conditions of a script: from their start until a later attempt replaces them.

use super::*;

#[test]
fn a_removed_script_removes_its_conditions_and_keeps_those_of_others() {
    let mut play = Play::new(create(), "
- succeed: {}
  conditions: [{type: EveryNodeReady, status: \"False\", reason: Gone, codes: [ERR_INFRA_RESOURCES_DEPLETED], after: 30s}]");
    let theirs = json!({ "type": "Theirs", "status": "True" });
    play.object.status = Some(Status { conditions: Some(vec![theirs.clone()]), ..Status::default() });
    play.until(1000);
    let types = |play: &Play| -> Vec<String> {
        play.object.conditions().iter().map(|condition| condition["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types(&play), ["Theirs", "EveryNodeReady", "MockScript"]);
    assert_eq!(play.log, ["0 Create Succeeded 100% held", "30 Create Succeeded 100% held"]);
    assert_eq!(play.object.conditions()[1]["codes"], json!(["ERR_INFRA_RESOURCES_DEPLETED"]));
    play.script = None;
    play.now += SignedDuration::from_secs(1);
    play.ask("reconcile").until(1000);
    assert_eq!(play.object.conditions(), [theirs]);
}

#[test]
fn health_conditions_of_an_earlier_attempt_remain_until_they_are_replaced() {
    let mut play = Play::new(
        create(),
        "
- match: {attempts: {to: 1}}
  fail: {message: m, retryAfter: 5s}
  conditions: [{type: EveryNodeReady, status: \"False\", reason: First}]
- hang: {}
  conditions: [{type: EveryNodeReady, status: Unknown, reason: Second, after: 10s}]",
    );
    play.until(7);
    let reason = |play: &Play| {
        let conditions = play.object.conditions();
        let condition = conditions.iter().find(|condition| condition["type"] == "EveryNodeReady");
        condition.map(|condition| condition["reason"].clone())
    };
    assert_eq!(reason(&play), Some("First".into()), "{:?}", play.log);
    play.until(1000);
    assert_eq!(reason(&play), Some("Second".into()), "{:?}", play.log);
}
