//! Describes a script in words.

use std::fmt::Write as _;

use extension_contract::ErrorCode;
use mock_core::script::delay::{Delay, Distribution};
use mock_core::script::language::{Attempts, Condition, ConditionStatus, Fail, Fault, Match, Rule, Script};
use mock_fleet::kinds::Package;

/// Describes the whole script, with a paragraph for each rule. Warns of probable mistakes.
pub(super) fn script(script: &Script) -> String {
    let mut text = String::new();
    let seed = script
        .seed
        .map_or("a random seed for each Shoot, which its objects show".to_owned(), |seed| format!("seed {seed}"));
    let count = script.rules.len();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{count} rule{}, {seed}; the first that matches decides", if count == 1 { "" } else { "s" });
    let mut caught_by = None;
    for (index, rule) in script.rules.iter().enumerate() {
        let number = index + 1;
        let name = rule.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let _ = writeln!(text, "{number}{name}. {} {}", scope(&rule.matches), does(rule));
        for line in rule.progress.iter().map(|step| format!("at {} %: {}", step.percent, step.description)) {
            let _ = writeln!(text, "   {line}");
        }
        for condition in &rule.conditions {
            let _ = writeln!(text, "   {}", health(condition));
        }
        for kind in rule.matches.kinds.iter().filter(|kind| Package::find(kind).is_none()) {
            let _ = writeln!(text, "   warning: no controller serves the kind {kind}");
        }
        if let Some(earlier) = caught_by {
            let _ = writeln!(text, "   warning: this rule never applies, because rule {earlier} matches everything");
        }
        let takes_all = rule.matches == Match::default() && rule.fail.as_ref().is_none_or(|fail| fail.pools.is_empty());
        caught_by = caught_by.or(takes_all.then_some(number));
    }
    if caught_by.is_none() {
        let _ = writeln!(text, "otherwise: succeeds at once");
    }
    text
}

/// Describes what a rule matches: `Infrastructure, Create, shoots shoot--dev--*: 30 % of attempts 1-2`.
fn scope(matches: &Match) -> String {
    let Match { kinds, operations, shoots, names, purposes, attempts, percent } = matches;
    let mut words = Vec::new();
    words.push(if kinds.is_empty() { "every kind".to_owned() } else { kinds.join(" or ") });
    if !operations.is_empty() {
        words.push(operations.iter().map(|operation| format!("{operation:?}")).collect::<Vec<_>>().join(" or "));
    }
    for (what, values) in [("shoots", shoots), ("names", names), ("purpose", purposes)] {
        if !values.is_empty() {
            words.push(format!("{what} {}", values.join(" or ")));
        }
    }
    let share = percent.map(|percent| format!("{percent} % of ")).unwrap_or_default();
    format!("{}: {share}{}", words.join(", "), attempts.map_or("all attempts".to_owned(), range))
}

fn range(attempts: Attempts) -> String {
    match (attempts.from.unwrap_or(1), attempts.to) {
        (from, Some(to)) if from == to => format!("attempt {from}"),
        (from, Some(to)) => format!("attempts {from}-{to}"),
        (from, None) => format!("attempts from {from} on"),
    }
}

fn does(rule: &Rule) -> String {
    let after = rule.after().map(|delay| delay_of("after", delay)).unwrap_or_default();
    if let Some(fail) = &rule.fail {
        return format!("fail{after}{}", failure(fail));
    }
    if let Some(misbehave) = &rule.misbehave {
        return format!("succeed{after} and misbehave: {}", breach(misbehave.fault));
    }
    if rule.hang.is_some() {
        "hang for ever".to_owned()
    } else {
        format!("succeed{}", if after.is_empty() { " at once" } else { &after })
    }
}

fn failure(fail: &Fail) -> String {
    let pools =
        if fail.pools.is_empty() { String::new() } else { format!(" in the pools {}", fail.pools.join(" or ")) };
    let codes: Vec<_> = fail.codes.iter().copied().map(code).collect();
    let with = if codes.is_empty() { String::new() } else { format!(" with {}", codes.join(", ")) };
    let again =
        fail.retry_after.as_ref().map_or(", again with backoff".to_owned(), |delay| match delay_of("after", delay) {
            after if after.is_empty() => ", again at once".to_owned(),
            after => format!(", again{after}"),
        });
    let hopeless = fail.codes.iter().any(|code| !code.is_retryable());
    let hopeless = if hopeless { "; where gardenlet gives up, the Shoot goes to Failed" } else { "" };
    format!("{pools}{with} ({:?}){again}{hopeless}", fail.message)
}

fn code(code: ErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Types of conditions that gardenlet's care controller reads (`pkg/gardenlet/controller/shoot/care/health.go`).
const READ_BY_CARE: [&str; 4] =
    ["ControlPlaneHealthy", "SystemComponentsHealthy", "EveryNodeReady", "ObservabilityComponentsHealthy"];

fn health(condition: &Condition) -> String {
    let Condition { type_, status, reason, message: _, codes, after } = condition;
    let codes: Vec<_> = codes.iter().copied().map(code).collect();
    let codes = if codes.is_empty() { String::new() } else { format!(" with {}", codes.join(", ")) };
    let note = match status {
        _ if !READ_BY_CARE.contains(&type_.as_str()) => "; Gardener does not read conditions of this type",
        ConditionStatus::True => "",
        _ => "; Gardener's care controller shows it on the Shoot",
    };
    format!("condition {type_}={status:?} ({reason}){codes}{}{note}", delay_of("after", after))
}

/// Describes a delay: ` after 20s`. Returns an empty text if there is no delay.
fn delay_of(word: &str, delay: &Delay) -> String {
    match delay {
        Delay::Fixed(span) if span.0.is_zero() => String::new(),
        Delay::Fixed(span) => format!(" {word} {span}"),
        Delay::Drawn(Distribution::Uniform { from, to }) => format!(" {word} {from} to {to}"),
        Delay::Drawn(Distribution::Triangular { from, peak, to }) => {
            format!(" {word} {from} to {to}, most likely {peak}")
        }
        Delay::Drawn(Distribution::LongTailed { p50, p99 }) => {
            format!(" {word} {p50} in half of all cases and over {p99} in one of 100")
        }
    }
}

fn breach(fault: Fault) -> &'static str {
    match fault {
        Fault::OldObservedGeneration => "observedGeneration is not updated",
        Fault::StaleLastError => "lastError stays although the state is Succeeded",
        Fault::KeepOperation => "the operation annotation stays",
        Fault::StripTimestamp => "the timestamp annotation is removed",
        Fault::RepeatTime => "machineDeploymentsLastUpdateTime is not updated",
        Fault::KeepFinalizer => "our finalizer is never removed",
        Fault::AnswerLate => "the answer comes after gardenlet's timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_is_described_in_a_sentence() {
        let rules = "
apiVersion: mock.extensions.gardener.cloud/v1alpha1
kind: Script
seed: 42
rules:
- name: quota
  match: {kinds: [Infrastructure], operations: [Create], attempts: {to: 2}}
  fail: {message: no room, codes: [ERR_INFRA_QUOTA_EXCEEDED], after: 5s, retryAfter: 20s}
- match: {kinds: [Worker], percent: 30, attempts: {from: 2}}
  fail: {message: m, pools: [b, c*]}
  conditions: [{type: EveryNodeReady, status: \"False\", reason: Gone, after: 1m}]
- match: {kinds: [Wroker]}
  hang: {}
- succeed: {after: {longTailed: {p50: 2s, p99: 1m}}}
  progress: [{percent: 50, description: half}]
- misbehave: {fault: KeepFinalizer}
";
        assert_eq!(
            script(&Script::parse(rules).unwrap()),
            "5 rules, seed 42; the first that matches decides
1 (quota). Infrastructure, Create: attempts 1-2 fail after 5s with ERR_INFRA_QUOTA_EXCEEDED (\"no room\"), again after 20s; where gardenlet gives up, the Shoot goes to Failed
2. Worker: 30 % of attempts from 2 on fail in the pools b or c* (\"m\"), again with backoff
   condition EveryNodeReady=False (Gone) after 1m; Gardener's care controller shows it on the Shoot
3. Wroker: all attempts hang for ever
   warning: no controller serves the kind Wroker
4. every kind: all attempts succeed after 2s in half of all cases and over 1m in one of 100
   at 50 %: half
5. every kind: all attempts succeed and misbehave: our finalizer is never removed
   warning: this rule never applies, because rule 4 matches everything
"
        );
    }
}
