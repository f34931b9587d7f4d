//! One object that gardenlet works on: where it is, and the wait for what becomes of it.

use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use mock_core::behaviour::Record;
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout_at,
};
use tokio_util::task::AbortOnDropHandle;

use super::{Gardenlet, Phase, Progress, Report, Stuck};
use crate::{
    json::{get, list, text},
    readiness::{self, NotReady},
};

const KINDS: [&str; 13] = [
    "BackupBucket",
    "BackupEntry",
    "Bastion",
    "Cluster",
    "ContainerRuntime",
    "ControlPlane",
    "DNSRecord",
    "Extension",
    "Infrastructure",
    "Network",
    "OperatingSystemConfig",
    "SelfHostedShootExposure",
    "Worker",
];

/// Where an object is; it need not exist.
pub(super) struct Target {
    pub(super) api: Api<DynamicObject>,
    pub(super) name: String,
    kind: &'static str,
    namespace: String,
    spec_type: String,
}

impl Target {
    /// An object with a namespace is taken for one of a namespaced kind.
    pub(super) fn of(client: &Client, object: &Value) -> Self {
        let field = |path| text(object, path).unwrap_or_default();
        let (group, version) = field("apiVersion").split_once('/').unwrap_or(("", field("apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, field("kind")));
        let namespace = field("metadata.namespace").to_owned();
        let api = if namespace.is_empty() {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), &namespace, &resource)
        };
        let kind = KINDS.into_iter().find(|kind| *kind == field("kind")).unwrap_or("object");
        let name = field("metadata.name").to_owned();
        Self { api, name, kind, namespace, spec_type: field("spec.type").to_owned() }
    }

    /// The one place where objects are patched.
    pub(super) async fn patch(&self, patch: &Value) -> kube::Result<DynamicObject> {
        self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await
    }

    fn describe(&self) -> String {
        let kind = self.kind;
        if self.namespace.is_empty() {
            format!("{kind} {}", self.name)
        } else {
            format!("{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// What a watch says: when, and the object, if it is there.
type Event = (Instant, Result<Option<Value>, String>);

/// An object under watch. It begins before the first write, so that no event is missed.
pub(super) struct Step<'a> {
    gardenlet: &'a Gardenlet,
    /// Without a phase nothing is reported.
    phase: Option<Phase>,
    pub(super) target: Target,
    events: UnboundedReceiver<Event>,
    /// The newest event, and when it came.
    object: Option<Value>,
    at: Instant,
    watch_error: Option<String>,
    /// The lastOperation that was reported last, and the attempt of a script.
    last_state: Option<(String, Option<u32>)>,
    /// The bookkeeping of a script from before the request.
    script_before: Option<Record>,
    /// When the request was acknowledged.
    since: Instant,
    _watch: AbortOnDropHandle<()>,
}

impl<'a> Step<'a> {
    /// Returns when the state before anything was written is known.
    pub(super) async fn start(gardenlet: &'a Gardenlet, phase: Option<Phase>, object: &Value) -> Self {
        let target = Target::of(&gardenlet.client, object);
        let (sender, events) = unbounded_channel();
        let (api, name) = (target.api.clone(), target.name.clone());
        let watch = tokio::spawn(async move {
            let objects = watch_object(api, &name).default_backoff();
            pin_mut!(objects);
            while let Some(object) = objects.next().await {
                let at = Instant::now();
                let object = match object {
                    Ok(Some(object)) => serde_json::to_value(&object).map(Some).map_err(|error| error.to_string()),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error.to_string()),
                };
                if sender.send((at, object)).is_err() {
                    return;
                }
            }
        });
        let now = Instant::now();
        let mut step = Self {
            gardenlet,
            phase,
            target,
            events,
            object: None,
            at: now,
            watch_error: None,
            last_state: None,
            script_before: None,
            since: now,
            _watch: AbortOnDropHandle::new(watch),
        };
        let deadline = (now + gardenlet.patience).into();
        if let Ok(Some(event)) = timeout_at(deadline, step.events.recv()).await {
            step.take(event);
        }
        step.last_state = step.object.as_ref().and_then(last_operation);
        step.script_before = step.object.as_ref().and_then(script);
        step
    }

    /// The object as the newest event showed it.
    pub(super) fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }

    /// Notes that the API server acknowledged the request.
    pub(super) fn requested(&mut self) {
        self.since = Instant::now();
        self.report(Progress::Requested);
    }

    /// Waits until the object is gone.
    pub(super) async fn wait_gone(&mut self) -> Result<Value, Stuck> {
        self.wait(|object| {
            let finalizers = object.map(|object| get(object, "metadata.finalizers").cloned().unwrap_or_default());
            finalizers.map_or(Ok(()), |left| Err(NotReady::StillThere(left.to_string())))
        })
        .await
    }

    /// Waits for a rule and returns the object that it holds for; `null` if it is not there. An error of the object is
    /// tolerated for a while, counted from the begin of the wait (`pkg/extensions/customresources.go`).
    pub(super) async fn wait(&mut self, rule: impl Fn(Option<&Value>) -> Result<(), NotReady>) -> Result<Value, Stuck> {
        let patience = self.gardenlet.patience;
        let tolerance = (self.gardenlet.tolerance)(self.target.kind).min(patience);
        let began = Instant::now();
        loop {
            let Err(unmet) = rule(self.object.as_ref()) else {
                return Ok(self.object.clone().unwrap_or_default());
            };
            let after = if matches!(unmet, NotReady::LastError { .. }) { tolerance } else { patience };
            let Ok(Some(event)) = timeout_at((began + after).into(), self.events.recv()).await else {
                return Err(self.fail(self.end_of_wait(unmet, after)));
            };
            self.take(event);
        }
    }

    fn end_of_wait(&self, unmet: NotReady, after: Duration) -> Stuck {
        let object = self.target.describe();
        match &unmet {
            NotReady::LastError { codes, .. } => {
                Stuck::GaveUp { object, shoot: readiness::state_of_shoot(codes), error: unmet, after }
            }
            _ => Stuck::Waiting { object, rule: unmet.to_string(), status: self.status(), after },
        }
    }

    /// Reports that gardenlet goes on.
    pub(super) fn ready(&self) {
        self.report(Progress::Ready(self.at.saturating_duration_since(self.since)));
    }

    /// Reports that the object is gone.
    pub(super) fn gone(&self) {
        self.report(Progress::Gone(self.at.saturating_duration_since(self.since)));
    }

    /// A rule that is not met and that no waiting will help.
    pub(super) fn broken(&self, rule: impl Into<String>) -> Stuck {
        self.fail(Stuck::Rule { object: self.target.describe(), rule: rule.into(), status: self.status() })
    }

    /// The outcome of a request for this object.
    pub(super) fn request<T>(&self, doing: &'static str, result: kube::Result<T>) -> Result<T, Stuck> {
        result.map_err(|source| {
            self.fail(Stuck::Request { doing, object: self.target.describe(), source: Box::new(source) })
        })
    }

    fn fail(&self, stuck: Stuck) -> Stuck {
        self.report(Progress::Stuck(stuck.rule()));
        stuck
    }

    fn take(&mut self, (at, event): Event) {
        match event {
            Ok(object) => {
                self.object = object;
                self.at = at;
                self.watch_error = None;
            }
            Err(error) => self.watch_error = Some(error),
        }
        let state = self.object.as_ref().and_then(last_operation);
        if state.is_some() && state != self.last_state {
            self.last_state.clone_from(&state);
            self.report(Progress::State(state.unwrap_or_default().0));
        }
    }

    fn report(&self, what: Progress) {
        let Some(phase) = self.phase else { return };
        let Target { kind, namespace, name, spec_type, .. } = &self.target;
        // Nobody need listen.
        let _ = self.gardenlet.reports.send(Report {
            phase,
            namespace: namespace.clone(),
            kind,
            name: name.clone(),
            spec_type: spec_type.clone(),
            script: self.object.as_ref().and_then(script).filter(|now| Some(now) != self.script_before.as_ref()),
            what,
        });
    }

    fn status(&self) -> String {
        let field = |path| {
            let value = self.object.as_ref().and_then(|object| get(object, path));
            value.map_or_else(|| "none".to_owned(), Value::to_string)
        };
        let mut status =
            format!("lastOperation: {}, lastError: {}", field("status.lastOperation"), field("status.lastError"));
        if let Some(error) = &self.watch_error {
            status = format!("{status}; it cannot be watched: {error}");
        }
        status
    }
}

fn script(object: &Value) -> Option<Record> {
    Record::find(list(object, "status.conditions"))
}

fn last_operation(object: &Value) -> Option<(String, Option<u32>)> {
    let last = get(object, "status.lastOperation")?;
    let progress = get(last, "progress").and_then(Value::as_i64).unwrap_or_default();
    let state = format!("{} {} {progress}%", text(last, "type")?, text(last, "state")?);
    Some((state, script(object).map(|record| record.attempt)))
}
