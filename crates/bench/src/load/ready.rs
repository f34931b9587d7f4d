//! The objects that the load generator waits for, and the watch events that show which of them are ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use extension_contract::json::{annotation, text};
use extension_contract::readiness::{self, NotReady};
use extension_contract::{OPERATION_ANNOTATION, kinds};
use futures::TryStreamExt as _;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::client::{Client, Place};
use super::error::LoadError;

/// How one object got ready.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The kind.
    pub(crate) kind: String,
    /// When the API server acknowledged the request.
    pub(crate) acknowledged: Instant,
    /// When the first event came for which gardenlet's rule holds.
    pub(crate) ready: Instant,
}

impl Sample {
    /// The time from one to the other; zero if the event came before the acknowledgement.
    pub(crate) fn latency(&self) -> Duration {
        self.ready.saturating_duration_since(self.acknowledged)
    }
}

/// The condition for which gardenlet waits.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// The object is ready for the request with this timestamp. A Worker's machine deployments must have been reported
    /// after `before`.
    Ready { timestamp: String, before: Option<String> },
    /// The object holds the request with this timestamp. An answer is not awaited.
    Requested { timestamp: String },
    /// The object is migrated away.
    Migrated,
    /// The object is deleted.
    Gone,
}

impl Rule {
    fn holds(&self, kind: &str, object: Option<&Value>) -> Result<(), NotReady> {
        match (self, object) {
            (Self::Gone | Self::Migrated, None) => Ok(()),
            (Self::Gone, Some(object)) => Err(NotReady::StillThere(
                object.pointer("/metadata/finalizers").cloned().unwrap_or_default().to_string(),
            )),
            (Self::Migrated, Some(object)) => readiness::check_migrated(object),
            (Self::Ready { .. } | Self::Requested { .. }, None) => Err(NotReady::Absent),
            (Self::Requested { timestamp }, Some(object)) => readiness::check_timestamp(object, timestamp),
            (Self::Ready { timestamp, before }, Some(object)) => {
                if kind == kinds::WORKER.name {
                    readiness::check_machine_deployments(object, before.as_deref())?;
                }
                readiness::check(object, Some(timestamp))
            }
        }
    }
}

/// Kind, namespace and name.
type Key = (String, String, String);

/// The objects that are awaited.
#[derive(Default)]
pub(super) struct Awaited {
    state: Mutex<State>,
    progress: Notify,
}

#[derive(Default)]
struct State {
    pending: HashMap<Key, Pending>,
    samples: Vec<Sample>,
    /// The time at which each Worker's machine deployments were last reported.
    reported: HashMap<Key, String>,
    broken: Option<(&'static str, String)>,
}

struct Pending {
    rule: Rule,
    acknowledged: Option<Instant>,
    ready: Option<Instant>,
    /// Whether the request annotation is gone as well. gardenlet does not wait for that after a migration, but the next
    /// phase must not begin earlier.
    at_rest: bool,
    unmet: Option<NotReady>,
}

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to await an object. From now on, an event can make it ready.
    pub(super) fn expect(&self, place: &Place, rule: Rule) {
        let pending = Pending { rule, acknowledged: None, ready: None, at_rest: false, unmet: None };
        self.lock().pending.insert(key(place), pending);
    }

    /// Notes when the API server acknowledged the request.
    pub(super) fn acknowledged(&self, place: &Place, at: Instant) {
        let key = key(place);
        let mut state = self.lock();
        if let Some(pending) = state.pending.get_mut(&key) {
            pending.acknowledged = Some(at);
        }
        self.settle(&mut state, key);
    }

    /// The time at which a Worker's machine deployments were last reported.
    pub(super) fn reported(&self, place: &Place) -> Option<String> {
        self.lock().reported.get(&key(place)).cloned()
    }

    /// Returns a sample of each object that became ready since the last call.
    pub(super) fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut self.lock().samples)
    }

    /// Returns when all awaited objects are ready. Fails if none becomes ready for the time `patience`.
    pub(super) async fn none_left(&self, patience: Duration) -> Result<(), LoadError> {
        loop {
            let progress = self.progress.notified();
            {
                let state = self.lock();
                if let Some((kind, reason)) = &state.broken {
                    return Err(LoadError::Watch { kind, reason: reason.clone() });
                }
                if state.pending.is_empty() {
                    return Ok(());
                }
            }
            if timeout(patience, progress).await.is_err() {
                return Err(self.overdue(patience));
            }
        }
    }

    fn overdue(&self, after: Duration) -> LoadError {
        let state = self.lock();
        let one = state.pending.iter().next();
        let object = one.map(|((kind, namespace, name), _)| format!("{kind} {namespace}/{name}")).unwrap_or_default();
        let rule = one.and_then(|(_, pending)| pending.unmet.as_ref()).map(ToString::to_string);
        let rule = rule.unwrap_or_else(|| "no event came since the request".to_owned());
        LoadError::Overdue { left: state.pending.len(), object, rule, after }
    }

    fn event(&self, kind: &'static str, event: WatchEvent<Value>, at: Instant) {
        let (object, is_there) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
            WatchEvent::Deleted(object) => (object, false),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return,
        };
        let field = |path| text(&object, path).unwrap_or_default().to_owned();
        let key = (kind.to_owned(), field("metadata.namespace"), field("metadata.name"));
        let mut state = self.lock();
        if !is_there {
            state.reported.remove(&key);
        } else if let Some(time) = text(&object, "status.machineDeploymentsLastUpdateTime") {
            state.reported.insert(key.clone(), time.to_owned());
        }
        if let Some(pending) = state.pending.get_mut(&key) {
            let is_answered =
                matches!(pending.rule, Rule::Requested { .. }) || annotation(&object, OPERATION_ANNOTATION).is_none();
            pending.at_rest = !is_there || is_answered;
            if pending.ready.is_none() {
                match pending.rule.holds(kind, is_there.then_some(&object)) {
                    Ok(()) => pending.ready = Some(at),
                    Err(unmet) => pending.unmet = Some(unmet),
                }
            }
        }
        self.settle(&mut state, key);
    }

    fn settle(&self, state: &mut State, key: Key) {
        let Some(Pending { acknowledged: Some(acknowledged), ready: Some(ready), at_rest: true, .. }) =
            state.pending.get(&key)
        else {
            return;
        };
        let (acknowledged, ready) = (*acknowledged, *ready);
        state.pending.remove(&key);
        state.samples.push(Sample { kind: key.0, acknowledged, ready });
        self.progress.notify_one();
    }

    fn broke(&self, kind: &'static str, reason: String) {
        self.lock().broken = Some((kind, reason));
        self.progress.notify_one();
    }
}

fn key(place: &Place) -> Key {
    (place.kind.clone(), place.namespace.clone(), place.name.clone())
}

/// Watches all objects of a kind until the handle is dropped. Objects that exist already come first.
pub(super) async fn follow(
    client: Arc<Client>,
    kind: &'static str,
    awaited: Arc<Awaited>,
) -> Result<AbortOnDropHandle<()>, LoadError> {
    let broken = |error: kube::Error| LoadError::Watch { kind, reason: error.to_string() };
    let mut version = "0".to_owned();
    let mut events = client.watch(kind, &version).await.map_err(broken)?;
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        let reason = loop {
            match events.try_next().await {
                Ok(Some(WatchEvent::Error(status))) => break status.to_string(),
                Ok(Some(event)) => {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) =
                        &event
                    {
                        text(object, "metadata.resourceVersion").unwrap_or_default().clone_into(&mut version);
                    }
                    awaited.event(kind, event, Instant::now());
                }
                // The API server ends the watch of a slow reader. The next watch continues where this one ended.
                Ok(None) => {
                    client.watch_ended(kind);
                    match client.watch(kind, &version).await {
                        Ok(again) => events = again,
                        Err(error) => break error.to_string(),
                    }
                }
                Err(error) => break error.to_string(),
            }
        };
        awaited.broke(kind, reason);
    })))
}
