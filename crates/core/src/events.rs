//! Events about objects: which rule of a script fired, and what keeps a script from being used.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::behaviour::{Action, Record};
use crate::contract::OperationType;
use crate::extension::{Extension, Invalid};

/// How long a round waits for an event, which nothing depends on.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest note that the API server takes.
const LONGEST: usize = 1024;

/// Where events go. One for the whole process, since it counts what comes again.
pub struct Events(Recorder);

impl Events {
    /// Events of the controller of that name.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self(Recorder::new(client, name.into()))
    }

    /// Tells which rule fired and what replays it; nothing if none did.
    pub async fn fired<K: Extension>(&self, object: &K, record: &Record) {
        let Some(rule) = &record.rule else { return };
        let does = match &rule.action {
            Action::Succeed => "succeeds".to_owned(),
            Action::Fail { message, .. } => format!("fails: {message}"),
            Action::Hang => "hangs".to_owned(),
            Action::Misbehave(fault) => format!("misbehaves: {fault:?}"),
        };
        let note = format!("{} {does} [script: {}]", record.operation.as_str(), record.label());
        // One reason a rule: events of the same reason and action are counted, and only the first note is kept.
        // Another script, or another seed, is another event.
        let of = format!("{} {:?} {does}", record.seed, rule.name);
        let reason = format!("ScriptRule{}", rule.number);
        self.publish(object, EventType::Normal, reason, record.operation, &of, note).await;
    }

    /// Tells what is wrong with the object's script.
    pub async fn bad_script<K: Extension>(&self, object: &K, operation: OperationType, invalid: &Invalid) {
        let note = invalid.to_string();
        self.publish(object, EventType::Warning, "ScriptInvalid".to_owned(), operation, &note.clone(), note).await;
    }

    async fn publish<K: Extension>(
        &self,
        object: &K,
        type_: EventType,
        reason: String,
        operation: OperationType,
        of: &str,
        note: String,
    ) {
        let note = note.chars().scan(0, |length, char| {
            *length += char.len_utf8();
            (*length <= LONGEST).then_some(char)
        });
        let action = format!("{}-{:08x}", operation.as_str(), fingerprint(of));
        let event = Event { type_, reason, note: Some(note.collect()), action, secondary: None };
        // The version would make each event one of its own.
        let regarding = ObjectReference { resource_version: None, ..object.object_ref(&()) };
        match tokio::time::timeout(PATIENCE, self.0.publish(&event, &regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an event is lost"),
            Err(_) => tracing::debug!("an event is lost: the API server is slow"),
        }
    }
}

/// Tells events apart that are not to be counted as one.
fn fingerprint(of: &str) -> u32 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).unwrap_or_default()
}
