//! Events about objects: which rule of a script fired, and what keeps a script from being used.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::behaviour::{Action, Record};
use crate::contract::OperationType;
use crate::extension::{Extension, Invalid};

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
        // One reason a rule: events of the same reason are counted, and only the first note is kept.
        self.publish(object, EventType::Normal, format!("ScriptRule{}", rule.number), record.operation, note).await;
    }

    /// Tells what is wrong with the object's script.
    pub async fn bad_script<K: Extension>(&self, object: &K, operation: OperationType, invalid: &Invalid) {
        self.publish(object, EventType::Warning, "ScriptInvalid".to_owned(), operation, invalid.to_string()).await;
    }

    async fn publish<K: Extension>(
        &self,
        object: &K,
        type_: EventType,
        reason: String,
        operation: OperationType,
        note: String,
    ) {
        let note = note.chars().scan(0, |length, char| {
            *length += char.len_utf8();
            (*length <= LONGEST).then_some(char)
        });
        let action = operation.as_str().to_owned();
        let event = Event { type_, reason, note: Some(note.collect()), action, secondary: None };
        // The version would make each event one of its own.
        let regarding = ObjectReference { resource_version: None, ..object.object_ref(&()) };
        if let Err(error) = self.0.publish(&event, &regarding).await {
            tracing::debug!(%error, "an event is lost");
        }
    }
}
