//! An object under watch: the wait for a rule, and the reports meanwhile.

use std::time::{Duration, Instant};

use extension_contract::json::{get, list, text};
use extension_contract::readiness::{self, NotReady};
use extension_contract::watched::wakes;
use futures::{StreamExt, pin_mut};
use kube::Client;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use crate::phase::Phase;
use crate::report::{Progress, Report};
use crate::rules;
use crate::stuck::Stuck;
use crate::target::{Target, to_value};

/// How objects are watched.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    /// Receives the reports.
    pub(crate) reports: UnboundedSender<Report>,
    /// How long the stand-in waits for an object of any kind. Gardener's own timeouts are in
    /// [`extension_contract::kinds`].
    pub(crate) patience: Duration,
    /// For how long gardenlet tolerates an error of an object of this kind.
    pub(crate) tolerance: fn(&str) -> Duration,
}

/// An event of a watch: its time, and the object, or `None` if the object does not exist.
type Event = (Instant, Result<Option<Value>, String>);

/// An object under watch. The watch starts before gardenlet's first write, so that no event is missed.
pub(crate) struct Watched<'a> {
    context: &'a Context,
    /// Reports are sent only with a phase.
    phase: Option<Phase>,
    pub(crate) target: Target,
    spec_type: String,
    events: UnboundedReceiver<Event>,
    /// How long each wait may take.
    patience: Duration,
    /// The object before the request.
    before: Option<Value>,
    /// The object in the newest event.
    object: Option<Value>,
    /// The time of the newest event.
    at: Instant,
    watch_error: Option<String>,
    /// The latest reported lastOperation: type, state and percentage, and the description.
    last_state: Option<(String, String)>,
    /// When the API server answered the request.
    since: Instant,
    _watch: AbortOnDropHandle<()>,
}

impl<'a> Watched<'a> {
    /// Starts to watch an object. Returns when the object's state before the request is known.
    pub(crate) async fn start(context: &'a Context, phase: Option<Phase>, object: &Value) -> Self {
        let target = Target::of(&context.client, object);
        let (sender, events) = unbounded_channel();
        let (api, name) = (target.api.clone(), target.name.clone());
        let watch = tokio::spawn(async move {
            let objects = watch_object(api, &name).default_backoff();
            pin_mut!(objects);
            while let Some(object) = objects.next().await {
                let at = Instant::now();
                let object = match object {
                    Ok(Some(object)) => to_value(&object).map(Some).map_err(|error| error.to_string()),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error.to_string()),
                };
                if sender.send((at, object)).is_err() {
                    return;
                }
            }
        });
        let now = Instant::now();
        let mut watched = Self {
            context,
            phase,
            target,
            spec_type: text(object, "spec.type").unwrap_or_default().to_owned(),
            events,
            patience: context.patience,
            before: None,
            object: None,
            at: now,
            watch_error: None,
            last_state: None,
            since: now,
            _watch: AbortOnDropHandle::new(watch),
        };
        let deadline = (now + context.patience).into();
        if let Ok(Some(event)) = timeout_at(deadline, watched.events.recv()).await {
            watched.receive(event);
        }
        watched.last_state = watched.object.as_ref().and_then(last_operation);
        watched.before = watched.object.clone();
        watched
    }

    /// Waits no longer than gardenlet would.
    pub(crate) fn with_patience(self, timeout: Duration) -> Self {
        Self { patience: self.patience.min(timeout), ..self }
    }

    /// The object before the request, or `None` if it did not exist.
    pub(crate) fn before(&self) -> Option<&Value> {
        self.before.as_ref()
    }

    /// The object in the newest event, or `None` if it does not exist.
    pub(crate) fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }

    /// Waits until the object is gone.
    pub(crate) async fn wait_gone(&mut self) -> Result<(), Stuck> {
        self.wait(rules::gone).await.map(drop)
    }

    /// Waits until the object meets a rule, and returns the object, or `null` if it does not exist. An error of the
    /// object is tolerated for a time that starts with the wait (`pkg/extensions/customresources.go`).
    pub(crate) async fn wait(&mut self, rule: impl Fn(Option<&Value>) -> Result<(), NotReady>) -> Result<Value, Stuck> {
        let start = Instant::now();
        loop {
            let Err(unmet) = rule(self.object.as_ref()) else {
                return Ok(self.object.clone().unwrap_or_default());
            };
            self.next_event(start, unmet).await?;
        }
    }

    /// Waits for an event that wakes gardenlet's controller of a watched kind. An error of the object is tolerated for a
    /// time that starts at `start`. `rule` tells why nothing wakes it.
    pub(crate) async fn wait_woken(
        &mut self,
        start: Instant,
        rule: impl Fn(Option<&Value>) -> Result<(), NotReady>,
    ) -> Result<(), Stuck> {
        loop {
            let before = self.object.clone();
            let unmet = rule(before.as_ref()).err().unwrap_or(NotReady::Unnoticed);
            self.next_event(start, unmet).await?;
            if self.object.as_ref().is_some_and(|now| wakes(before.as_ref(), now)) {
                return Ok(());
            }
        }
    }

    /// Returns whether the object is gone within a time. Fails if this takes too long since `start`.
    pub(crate) async fn is_gone_within(&mut self, time: Duration, start: Instant) -> Result<bool, Stuck> {
        let again = Instant::now() + time;
        loop {
            let Err(unmet) = rules::gone(self.object.as_ref()) else { return Ok(true) };
            if start.elapsed() >= self.patience {
                return Err(self.fail(self.timed_out(unmet, self.patience)));
            }
            match timeout_at(again.min(start + self.patience).into(), self.events.recv()).await {
                Ok(Some(event)) => self.observe(event),
                _ if Instant::now() >= again => return Ok(false),
                _ => {}
            }
        }
    }

    /// Observes the next event. Fails if it does not come in time.
    async fn next_event(&mut self, start: Instant, unmet: NotReady) -> Result<(), Stuck> {
        let tolerance = (self.context.tolerance)(self.target.extension_kind()).min(self.patience);
        let after = if matches!(unmet, NotReady::LastError { .. }) { tolerance } else { self.patience };
        let Ok(Some(event)) = timeout_at((start + after).into(), self.events.recv()).await else {
            return Err(self.fail(self.timed_out(unmet, after)));
        };
        self.observe(event);
        Ok(())
    }

    fn timed_out(&self, unmet: NotReady, after: Duration) -> Stuck {
        let object = self.target.describe();
        match &unmet {
            NotReady::LastError { .. } if self.target.is_of_seed() => Stuck::Seed { object, error: unmet, after },
            NotReady::LastError { codes, .. } => {
                Stuck::GaveUp { object, shoot: readiness::state_of_shoot(codes), error: unmet, after }
            }
            _ => Stuck::Waiting { object, rule: unmet.to_string(), status: self.status(), after },
        }
    }

    /// Returns the error for a rule that the object violates. Waiting would not help.
    pub(crate) fn violation(&self, rule: impl Into<String>) -> Stuck {
        self.fail(Stuck::Rule { object: self.target.describe(), rule: rule.into(), status: self.status() })
    }

    /// Adds the object to the error of a request, and reports the error.
    pub(crate) fn request<T>(&self, doing: &'static str, result: kube::Result<T>) -> Result<T, Stuck> {
        result.map_err(|source| {
            self.fail(Stuck::Request { doing, object: self.target.describe(), source: Box::new(source) })
        })
    }

    /// Reports that the API server answered the request. The time until the object is ready or gone starts now.
    pub(crate) fn report_requested(&mut self) {
        self.since = Instant::now();
        self.report(Progress::Requested);
    }

    /// Reports that the object is ready.
    pub(crate) fn report_ready(&self) {
        self.report(Progress::Ready(self.at.saturating_duration_since(self.since)));
    }

    /// Reports that the object is gone.
    pub(crate) fn report_gone(&self) {
        self.report(Progress::Gone(self.at.saturating_duration_since(self.since)));
    }

    fn fail(&self, stuck: Stuck) -> Stuck {
        self.report(Progress::Stuck(stuck.rule()));
        stuck
    }

    /// Remembers an event, and reports the state if it has changed.
    fn observe(&mut self, event: Event) {
        self.receive(event);
        let state = self.object.as_ref().and_then(last_operation);
        if state.is_some() && state != self.last_state {
            self.last_state.clone_from(&state);
            self.report(Progress::State(state.unwrap_or_default().0));
        }
    }

    fn receive(&mut self, (at, event): Event) {
        match event {
            Ok(object) => {
                self.object = object;
                self.at = at;
                self.watch_error = None;
            }
            Err(error) => self.watch_error = Some(error),
        }
    }

    fn report(&self, what: Progress) {
        let Some(phase) = self.phase else { return };
        let Target { namespace, name, .. } = &self.target;
        // The caller may have dropped the receiver.
        let _ = self.context.reports.send(Report {
            phase,
            namespace: namespace.clone(),
            kind: self.target.extension_kind(),
            name: name.clone(),
            spec_type: self.spec_type.clone(),
            conditions: self.new_conditions(),
            what,
        });
    }

    fn new_conditions(&self) -> Vec<Value> {
        let of = |object: &'_ Option<Value>| object.as_ref().map(conditions).unwrap_or_default().to_vec();
        let before = of(&self.before);
        of(&self.object).into_iter().filter(|condition| !before.contains(condition)).collect()
    }

    fn status(&self) -> String {
        let field = |path| {
            let value = self.object.as_ref().and_then(|object| get(object, path));
            value.map_or_else(|| "none".to_owned(), Value::to_string)
        };
        let mut status =
            format!("lastOperation: {}, lastError: {}", field("status.lastOperation"), field("status.lastError"));
        if let Some(error) = &self.watch_error {
            status = format!("{status}; the watch failed: {error}");
        }
        status
    }
}

fn conditions(object: &Value) -> &[Value] {
    list(object, "status.conditions")
}

fn last_operation(object: &Value) -> Option<(String, String)> {
    let last = get(object, "status.lastOperation")?;
    let progress = get(last, "progress").and_then(Value::as_i64).unwrap_or_default();
    let state = format!("{} {} {progress}%", text(last, "type")?, text(last, "state")?);
    Some((state, text(last, "description").unwrap_or_default().to_owned()))
}
