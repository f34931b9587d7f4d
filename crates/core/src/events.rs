//! Publishes Events about objects: which rule of a script fired, and why a script is unusable.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use extension_contract::OperationType;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{self, EventType, Recorder};
use kube::{Client, Resource};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::kind::{MockKind, Object};
use crate::script::{Action, Record};
use crate::write::compose::Event;

/// Time limit for publishing an Event. Nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many Events are on their way at the same time. Further ones are dropped.
const IN_FLIGHT: u32 = 100;

/// The longest note that the API server accepts, in bytes.
const LONGEST: usize = 1024;

/// Publishes Events. There is one publisher per process, because the recorder aggregates repeats.
pub struct Events {
    recorder: Recorder,
    in_flight: Arc<Semaphore>,
}

impl Events {
    /// A publisher for the controller with this name.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        let in_flight = usize::try_from(IN_FLIGHT).unwrap_or_default();
        Self { recorder: Recorder::new(client, name.into()), in_flight: Arc::new(Semaphore::new(in_flight)) }
    }

    /// Publishes Events about an object in the background: a worker that waited for them would serve no object
    /// meanwhile. A failure is only logged.
    pub fn publish<K: MockKind>(&self, object: &Object<K>, operation: OperationType, events: &[Event]) {
        // The version would make each Event a distinct one.
        let regarding = ObjectReference { resource_version: None, ..object.object_ref(&()) };
        for event in events.iter().filter_map(|event| describe(event, operation)) {
            let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
                tracing::debug!("too many Events are on their way, dropping one");
                return;
            };
            let (recorder, regarding) = (self.recorder.clone(), regarding.clone());
            tokio::spawn(async move {
                match timeout(PATIENCE, recorder.publish(&event, &regarding)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "cannot publish an Event"),
                    Err(_) => tracing::debug!("cannot publish an Event within {} s", PATIENCE.as_secs()),
                }
                drop(permit);
            });
        }
    }

    /// Waits until all Events have been published or have failed.
    pub async fn published(&self) {
        // The semaphore is never closed, and each Event has a time limit.
        let _ = self.in_flight.acquire_many(IN_FLIGHT).await;
    }
}

/// The Kubernetes Event. Returns `None` for an attempt without a rule.
fn describe(event: &Event, operation: OperationType) -> Option<events::Event> {
    let (type_, reason, note, distinct) = match event {
        Event::Unusable(invalid) => {
            let note = invalid.to_string();
            (EventType::Warning, "ScriptInvalid".to_owned(), note.clone(), note)
        }
        Event::Fired(record) => {
            let rule = record.rule.as_ref()?;
            let effect = effect(record)?;
            let note = format!("{} {effect} [script: {}]", operation.as_str(), record.label());
            let distinct = format!("{} {:?} {effect}", record.seed, rule.name);
            (EventType::Normal, format!("ScriptRule{}", rule.number), note, distinct)
        }
    };
    // Repeats with the same reason and action are counted as one Event that keeps the first note. Another script or
    // seed has another action.
    let action = format!("{}-{:08x}", operation.as_str(), fingerprint(&distinct));
    Some(events::Event { type_, reason, note: Some(shortened(&note)), action, secondary: None })
}

fn effect(record: &Record) -> Option<String> {
    Some(match &record.rule.as_ref()?.action {
        Action::Succeed => "succeeds".to_owned(),
        Action::Fail { message, .. } => format!("fails: {message}"),
        Action::Hang => "hangs".to_owned(),
        Action::Misbehave(fault) => format!("misbehaves: {fault:?}"),
    })
}

fn shortened(note: &str) -> String {
    let fits = |(start, char): &(usize, char)| start + char.len_utf8() <= LONGEST;
    note.char_indices().take_while(fits).map(|(_, char)| char).collect()
}

fn fingerprint(text: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::invalid::Invalid;

    fn fired(seed: u64, attempt: u32, name: &str) -> Event {
        let action = json!({ "fail": { "message": "no room", "retry_after": "5s" } });
        let record = json!({ "phase": "Running", "operation": "Create", "attempt": attempt, "seed": seed,
            "start": "2026-08-20T10:15:30Z", "rule": { "number": 2, "name": name, "action": action } });
        Event::Fired(Box::new(serde_json::from_value(record).unwrap()))
    }

    fn of(event: &Event) -> events::Event {
        describe(event, OperationType::Create).unwrap()
    }

    #[test]
    fn a_fired_rule_is_named_with_its_effect_and_what_replays_it() {
        let event = of(&fired(7, 1, "quota"));
        assert_eq!(event.note.as_deref(), Some("Create fails: no room [script: rule 2 (quota), attempt 1, seed 7]"));
        assert_eq!((event.reason.as_str(), matches!(event.type_, EventType::Normal)), ("ScriptRule2", true));
    }

    #[test]
    fn attempts_of_one_rule_are_one_event_and_another_seed_or_rule_is_another_event() {
        let action = |event: &Event| of(event).action;
        assert_eq!(action(&fired(7, 1, "quota")), action(&fired(7, 2, "quota")));
        assert_ne!(action(&fired(7, 1, "quota")), action(&fired(8, 1, "quota")));
        assert_ne!(action(&fired(7, 1, "quota")), action(&fired(7, 1, "other")));
    }

    #[test]
    fn an_attempt_without_a_rule_has_no_event() {
        let Event::Fired(mut record) = fired(7, 1, "quota") else { panic!() };
        record.rule = None;
        assert!(describe(&Event::Fired(record), OperationType::Create).is_none());
    }

    #[test]
    fn an_unusable_script_is_a_warning_that_fits_the_api_server() {
        let invalid = Invalid { field: "rule 1".to_owned(), problem: "ü".repeat(LONGEST) };
        let event = of(&Event::Unusable(invalid));
        let note = event.note.unwrap();
        assert!(note.len() <= LONGEST && note.starts_with("rule 1: ü"), "{}", note.len());
        assert_eq!((event.reason.as_str(), matches!(event.type_, EventType::Warning)), ("ScriptInvalid", true));
    }
}
