//! Reads scripts. An error names the rule, the field and what was expected.

use std::fmt::Display;

use serde_json::Value;
use serde_saphyr::{budget, options};

use super::delay::{Delay, Distribution, Span};
use super::language::{
    LONGEST_NAME, LONGEST_REASON, LONGEST_TEXT, LONGEST_TYPE, MOST_CONDITIONS, MOST_STEPS, Rule, Script,
};
use super::record::MOCK_SCRIPT;
use crate::invalid::Invalid;

impl Script {
    /// Reads a script from YAML or JSON. The error names the rule, the field and what was expected.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // `no`, `off` and `n` are words. By default, the parser refuses 33 lines of comments in a row.
        let budget = budget! { max_buffered_comment_events: usize::MAX };
        let options = options! { strict_booleans: true, budget: budget };
        let value: Value = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| Invalid { field: "script".to_owned(), problem: not_yaml(&error) })?;
        Self::from_value(&value)
    }

    /// Reads a script from a document. The error names the rule, the field and what was expected.
    pub fn from_value(value: &Value) -> Result<Self, Invalid> {
        let script: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let field = path.trim_end_matches(['.', '?']);
            Invalid { field: name_rule(value, field), problem: first_line(error.inner()) }
        })?;
        for (index, rule) in script.rules.iter().enumerate() {
            check(rule).map_err(|(field, problem)| Invalid {
                field: name_rule(value, &format!("rules[{index}].{field}")),
                problem,
            })?;
        }
        Ok(script)
    }
}

/// One line for users: the parser's own message adds an excerpt and its options.
fn not_yaml(error: &serde_saphyr::Error) -> String {
    first_line(&error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter))
}

fn first_line(error: &impl Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Turns `rules[1].fail.codes[0]` into `rule 2 (quota), fail.codes[0]`: people count from 1.
fn name_rule(script: &Value, path: &str) -> String {
    let rule = path.strip_prefix("rules[").and_then(|rest| rest.split_once(']'));
    let Some((index, field)) = rule.and_then(|(index, field)| Some((index.parse::<usize>().ok()?, field))) else {
        return if path.is_empty() { "script".to_owned() } else { path.to_owned() };
    };
    let name = script.pointer(&format!("/rules/{index}/name")).and_then(Value::as_str);
    let name = name.filter(|name| name.len() <= LONGEST_NAME).map(|name| format!(" ({name})")).unwrap_or_default();
    let field = field.trim_start_matches('.');
    let comma = if field.is_empty() { "" } else { ", " };
    format!("rule {}{name}{comma}{field}", index.saturating_add(1))
}

/// Field and problem.
type Mistake = (String, String);

/// Checks what the types cannot express.
fn check(rule: &Rule) -> Result<(), Mistake> {
    let actions = [rule.succeed.is_some(), rule.fail.is_some(), rule.hang.is_some(), rule.misbehave.is_some()];
    let actions = actions.iter().filter(|there| **there).count();
    expect(actions == 1, "succeed", || {
        format!(
            "the rule has {actions} of succeed, fail, hang and misbehave, expected exactly one; write an empty one as {{}}"
        )
    })?;
    expect_short("name", rule.name.as_deref().unwrap_or_default(), LONGEST_NAME)?;
    let matches = &rule.matches;
    for (field, values) in [
        ("match.kinds", &matches.kinds),
        ("match.shoots", &matches.shoots),
        ("match.names", &matches.names),
        ("match.purposes", &matches.purposes),
    ] {
        expect(values.iter().all(|value| !value.is_empty()), field, || "is empty, expected text".to_owned())?;
    }
    if let Some(attempts) = matches.attempts {
        let range = attempts.range();
        expect(*range.start() > 0 && !range.is_empty(), "match.attempts", || {
            format!(
                "{} to {} is no range, expected `from` at least 1 and `to` at least `from`",
                range.start(),
                range.end()
            )
        })?;
    }
    if let Some(percent) = matches.percent {
        expect(percent > 0.0 && percent <= 100.0, "match.percent", || {
            format!("is {percent}, expected more than 0 and at most 100")
        })?;
    }
    for (field, delay) in delays(rule) {
        check_delay(&field, delay)?;
    }
    if let Some(fail) = &rule.fail {
        expect(!fail.message.is_empty(), "fail.message", || "is empty, expected the text of lastError".to_owned())?;
        expect_short("fail.message", &fail.message, LONGEST_TEXT)?;
        expect(fail.pools.iter().all(|pool| !pool.is_empty()), "fail.pools", || "is empty, expected text".to_owned())?;
    }
    check_progress(rule)?;
    check_conditions(rule)
}

fn delays(rule: &Rule) -> Vec<(String, &Delay)> {
    let mut delays = Vec::new();
    delays.extend(rule.succeed.as_ref().map(|succeed| ("succeed.after".to_owned(), &succeed.after)));
    delays.extend(rule.misbehave.as_ref().map(|misbehave| ("misbehave.after".to_owned(), &misbehave.after)));
    if let Some(fail) = &rule.fail {
        delays.push(("fail.after".to_owned(), &fail.after));
        delays.extend(fail.retry_after.as_ref().map(|delay| ("fail.retryAfter".to_owned(), delay)));
    }
    let conditions = rule.conditions.iter().enumerate();
    delays.extend(conditions.map(|(index, condition)| (format!("conditions[{index}].after"), &condition.after)));
    delays
}

fn check_delay(field: &str, delay: &Delay) -> Result<(), Mistake> {
    let Delay::Drawn(distribution) = delay else { return Ok(()) };
    let (name, ordered, expected) = match distribution {
        Distribution::Uniform { from, to } => ("uniform", from <= to, "from at most to"),
        Distribution::Triangular { from, peak, to } => {
            ("triangular", from <= peak && peak <= to && from < to, "from at most peak, peak at most to, from below to")
        }
        Distribution::LongTailed { p50, p99 } => {
            ("longTailed", Span::default() < *p50 && p50 <= p99, "p50 above zero and at most p99")
        }
    };
    expect(ordered, &format!("{field}.{name}"), || format!("is out of order, expected {expected}"))
}

fn check_progress(rule: &Rule) -> Result<(), Mistake> {
    let steps = &rule.progress;
    expect(steps.is_empty() || rule.hang.is_none(), "progress", || {
        "`progress` cannot be combined with `hang`".to_owned()
    })?;
    expect(steps.len() <= MOST_STEPS, "progress", || {
        format!("has {} steps, expected at most {MOST_STEPS}", steps.len())
    })?;
    let mut before = 0;
    for (index, step) in steps.iter().enumerate() {
        expect_short(&format!("progress[{index}].description"), &step.description, LONGEST_TEXT)?;
        expect(
            (2..100).contains(&step.percent) && step.percent > before,
            &format!("progress[{index}].percent"),
            || format!("is {} after {before}, expected 2 to 99, each step more than the one before", step.percent),
        )?;
        before = step.percent;
    }
    Ok(())
}

fn check_conditions(rule: &Rule) -> Result<(), Mistake> {
    expect(rule.conditions.len() <= MOST_CONDITIONS, "conditions", || {
        format!("has {} conditions, expected at most {MOST_CONDITIONS}", rule.conditions.len())
    })?;
    for (index, condition) in rule.conditions.iter().enumerate() {
        let field = |name: &str| format!("conditions[{index}].{name}");
        expect_short(&field("type"), &condition.type_, LONGEST_TYPE)?;
        expect_short(&field("reason"), &condition.reason, LONGEST_REASON)?;
        expect_short(&field("message"), &condition.message, LONGEST_TEXT)?;
        let type_ = condition.type_.as_str();
        expect(is_word(type_) && type_ != MOCK_SCRIPT, &field("type"), || {
            format!("is {type_:?}, expected a type such as EveryNodeReady")
        })?;
        expect(rule.conditions.iter().take(index).all(|other| other.type_ != type_), &field("type"), || {
            format!("{type_} is given twice, expected each type once")
        })?;
        let reason = condition.reason.as_str();
        expect(is_word(reason), &field("reason"), || {
            format!("is {reason:?}, expected one word of letters and digits")
        })?;
    }
    Ok(())
}

/// Whether a text has the form of a condition's type or reason.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.chars().all(|char| char.is_ascii_alphanumeric())
}

/// A longer text would make the object too large for the API server, and show nowhere.
fn expect_short(field: &str, text: &str, longest: usize) -> Result<(), Mistake> {
    let length = text.chars().count();
    expect(length <= longest, field, || format!("has {length} characters, expected at most {longest}"))
}

fn expect(holds: bool, field: &str, otherwise: impl FnOnce() -> String) -> Result<(), Mistake> {
    if holds { Ok(()) } else { Err((field.to_owned(), otherwise())) }
}
