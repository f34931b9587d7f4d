//! What the load generator sees of the objects, and which of them are still to become ready.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::TryStreamExt as _;
use kube::core::WatchEvent;
use mock_core::contract::OPERATION_ANNOTATION;
use serde_json::Value;
use tokio::{sync::Notify, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    LoadError,
    wire::{Place, Wire},
};
use crate::{
    json::{annotation, text},
    readiness::{self, NotReady},
};

/// How one object got ready.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its kind.
    pub kind: String,
    /// When its request was acknowledged.
    pub acknowledged: Instant,
    /// When the event came on which gardenlet's rule held.
    pub ready: Instant,
}

impl Sample {
    /// From one to the other; none where the event was faster than the acknowledgement.
    #[must_use]
    pub fn latency(&self) -> Duration {
        self.ready.saturating_duration_since(self.acknowledged)
    }
}

/// What gardenlet waits for.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Ready for the request of that timestamp; of a Worker with machine deployments later than before.
    Ready { timestamp: String, before: Option<String> },
    /// Asked for, whether anybody answers or not.
    Asked { timestamp: String },
    /// Let go.
    Migrated,
    /// Deleted.
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
            (Self::Ready { .. } | Self::Asked { .. }, None) => Err(NotReady::Absent),
            (Self::Asked { timestamp }, Some(object)) => readiness::check_timestamp(object, timestamp),
            (Self::Ready { timestamp, before }, Some(object)) => {
                if kind == "Worker" {
                    readiness::check_machine_deployments(object, before.as_deref())?;
                }
                readiness::check(object, Some(timestamp))
            }
        }
    }
}

/// Kind, namespace and name.
type Key = (String, String, String);

/// The objects under watch.
#[derive(Default)]
pub(super) struct Watched {
    state: Mutex<State>,
    progress: Notify,
}

#[derive(Default)]
struct State {
    pending: HashMap<Key, Pending>,
    samples: Vec<Sample>,
    /// By Worker, when its machine deployments were reported last.
    reported: HashMap<Key, String>,
    broken: Option<(&'static str, String)>,
}

struct Pending {
    rule: Rule,
    acknowledged: Option<Instant>,
    ready: Option<Instant>,
    /// Whether the request is off as well, which a migration is not waited for.
    at_rest: bool,
    unmet: Option<NotReady>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on an event can make it ready.
    pub(super) fn expect(&self, place: &Place, rule: Rule) {
        let pending = Pending { rule, acknowledged: None, ready: None, at_rest: false, unmet: None };
        self.lock().pending.insert(key(place), pending);
    }

    /// The API server took the request.
    pub(super) fn acknowledged(&self, place: &Place, at: Instant) {
        let key = key(place);
        let mut state = self.lock();
        if let Some(pending) = state.pending.get_mut(&key) {
            pending.acknowledged = Some(at);
        }
        self.settle(&mut state, key);
    }

    /// When a Worker's machine deployments were reported last.
    pub(super) fn reported(&self, place: &Place) -> Option<String> {
        self.lock().reported.get(&key(place)).cloned()
    }

    /// What became ready since the last time.
    pub(super) fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut self.lock().samples)
    }

    /// Returns when nothing is waited for; fails after `patience` without progress.
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
        let rule = rule.unwrap_or_else(|| "nothing was seen of it since it was asked for".to_owned());
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
                matches!(pending.rule, Rule::Asked { .. }) || annotation(&object, OPERATION_ANNOTATION).is_none();
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

/// Watches all objects of a kind; what is there already comes first.
pub(super) async fn follow(
    wire: Arc<Wire>,
    kind: &'static str,
    watched: Arc<Watched>,
) -> Result<AbortOnDropHandle<()>, LoadError> {
    let broken = |error: kube::Error| LoadError::Watch { kind, reason: error.to_string() };
    let mut version = "0".to_owned();
    let mut events = wire.watch(kind, &version).await.map_err(broken)?;
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
                    watched.event(kind, event, Instant::now());
                }
                // The API server does so with readers that it finds too slow: what comes next is not lost.
                Ok(None) => {
                    wire.watch_ended(kind);
                    match wire.watch(kind, &version).await {
                        Ok(again) => events = again,
                        Err(error) => break error.to_string(),
                    }
                }
                Err(error) => break error.to_string(),
            }
        };
        watched.broke(kind, reason);
    })))
}
