//! Explanations in words: a line for an object that is ready, a paragraph for one that waits.

use std::fmt::Write as _;

use extension_contract::json::{get, text};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::act::Who;
use crate::explanation::{Explanation, Waits};

/// What is wrong with a controller of ours that does not do what it should.
pub(crate) const NOT_RUNNING: &str = "it does not run, or has no connection";

/// A span of time for people, in whole seconds from 10 s on.
#[must_use]
pub fn span(span: SignedDuration) -> String {
    let millis = span.unsigned_abs().as_millis();
    let seconds = span.unsigned_abs().as_secs();
    match seconds {
        0..10 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A moment relative to now: `12 s ago`, `in 3.0 s`.
#[must_use]
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(time);
    if passed.is_negative() { format!("in {}", span(passed)) } else { format!("{} ago", span(passed)) }
}

/// The Shoot of a Cluster and its last operation, as a heading.
#[must_use]
pub fn heading(namespace: &str, shoot: Option<&Value>) -> String {
    let Some(shoot) = shoot else { return namespace.to_owned() };
    let field = |path| text(shoot, path).unwrap_or_default();
    let mut heading = format!("{namespace}: Shoot {}/{}", field("metadata.namespace"), field("metadata.name"));
    // Not its progress: gardenlet writes a Cluster at the begin and the end of an operation.
    if let (Some(kind), Some(state)) =
        (text(shoot, "status.lastOperation.type"), text(shoot, "status.lastOperation.state"))
    {
        let _ = write!(heading, ", {kind} {state}");
    }
    if get(shoot, "spec.hibernation.enabled") == Some(&Value::Bool(true)) {
        heading.push_str(", hibernated");
    }
    heading
}

fn operation(last: &Value) -> String {
    let field = |path| text(last, path).unwrap_or("?");
    let progress = get(last, "progress").filter(|_| field("state") != "Succeeded");
    let progress = progress.map(|progress| format!(" {progress} %")).unwrap_or_default();
    format!("{} {}{progress}", field("type"), field("state"))
}

/// One object.
#[must_use]
pub fn describe(explanation: &Explanation, now: Timestamp) -> String {
    let Explanation { kind, name, type_, class, last_operation, waits, notes, .. } = explanation;
    let class = if class == "shoot" { String::new() } else { format!(", class {class}") };
    let who = format!("{kind} {name} ({type_}{class})");
    let status = last_operation.as_ref().map(|last| {
        let time = text(last, "lastUpdateTime").and_then(|time| time.parse().ok());
        let time = time.map(|time| format!(" {}", ago(time, now))).unwrap_or_default();
        format!("{}{time}", operation(last))
    });
    let status = status.unwrap_or_else(|| "never reported".to_owned());
    let mut lines = match waits {
        None => format!("ready  {who}: {status}"),
        Some(waits) => {
            let mut lines = format!("WAITS  {who}: {}", waits.why);
            for line in paragraph(waits, &status, last_operation.as_ref(), now) {
                let _ = write!(lines, "\n         {line}");
            }
            lines
        }
    };
    for note in notes {
        let _ = write!(lines, "\n         note: {note}");
    }
    lines
}

fn paragraph(waits: &Waits, status: &str, last: Option<&Value>, now: Timestamp) -> Vec<String> {
    let mut lines = vec![format!("last operation: {status}")];
    if let Some(description) = last.and_then(|last| text(last, "description")) {
        lines.extend(
            [format!("its description: {description}")].into_iter().filter(|_| !waits.why.contains(description)),
        );
    }
    let since = waits
        .since
        .map(|since| format!("waited for since {}", since.strftime("%H:%M:%S UTC, ").to_string() + &ago(since, now)));
    let since = since.unwrap_or_else(|| "waited for since an unknown time".to_owned());
    let then = &waits.patience.then;
    lines.push(match waits.patience.until {
        None => format!("{since}; no time-out: {then}"),
        Some(until) if until > now => format!("{since}; time-out in {}: {then}", span(until.duration_since(now))),
        Some(until) => format!("{since}; timed out {}: {then}", ago(until, now)),
    });
    let who = match waits.act.who {
        Who::Extension => "its extension",
        Who::Gardenlet => "gardenlet",
        Who::Owner => "the Shoot's owner",
        Who::Operator => "the operator of the landscape",
    };
    lines.push(format!("to act: {who}: {}", waits.act.how));
    if matches!(waits.act.who, Who::Extension | Who::Operator) {
        lines.push(extension(waits, now));
    }
    if let Some(next) = &waits.script {
        let at = next.at.filter(|at| *at > now).map(|at| format!("in {}, ", span(at.duration_since(now))));
        lines.push(format!("our controller: {}{}", at.unwrap_or_default(), next.what));
    }
    lines
}

fn extension(waits: &Waits, now: Timestamp) -> String {
    let extension = &waits.extension;
    let mut words = Vec::new();
    if let Some(installation) = &extension.installation {
        let is_healthy = installation.problems.is_empty() && extension.remedy.is_none();
        let health = if is_healthy { ", healthy" } else { "" };
        words.push(format!("{} in {}{health}", installation.registration, installation.namespace));
    }
    if let Some(heartbeat) = extension.heartbeat.as_ref().filter(|heartbeat| !heartbeat.is_stale(now))
        && let Some(renewed) = heartbeat.renewed
    {
        words.push(format!("heartbeat {}", ago(renewed, now)));
    }
    words.extend(extension.notes.iter().cloned());
    format!("extension: {}", words.join("; "))
}

/// What is told of an object, without what passes with time alone: a watcher tells an object again when this changes.
#[must_use]
pub fn gist(explanation: &Explanation, now: Timestamp) -> String {
    let Explanation { last_operation, waits, notes, .. } = explanation;
    let waits = waits.as_ref().map(|waits| {
        let is_over = waits.patience.until.is_some_and(|until| until <= now);
        let next = waits.script.as_ref().map(|next| next.what.as_str());
        let is_stale = waits.extension.heartbeat.as_ref().map(|heartbeat| heartbeat.is_stale(now));
        format!("{} {is_over} {:?} {next:?} {is_stale:?} {:?}", waits.why, waits.act, waits.extension.installation)
    });
    format!("{:?} {waits:?} {notes:?}", last_operation.as_ref().map(operation))
}
