//! Lists and watches one resource, in the form of client-go's Reflector (`k8s.io/client-go/tools/cache/reflector.go`).
//!
//! kube's `watcher` would be preferred, but it has no answer to several outages. It restarts a watch that ended at once
//! without a pause. It restarts a list whose continue token expired with pages again. It resumes at a version that an API
//! server restored from a backup does not have yet. It shows neither versions nor that the API server answers again, so
//! its user cannot do better. No open issue of kube asks for this.

mod answer;
mod comparison;
mod event;
mod trouble;

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::api::{GetParams, ListParams, WatchParams};
use kube::core::WatchEvent;
use kube::core::request::Request;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::answer::Pages;
use self::answer::{complete, number, within};
use self::comparison::Comparison;
pub(crate) use self::event::Event;
pub(crate) use self::trouble::Trouble;
use super::key::Key;
use super::memory;
use super::reach::Reach;

/// How long a watch lasts, in seconds, before it is replaced. A watch that is silent longer than this has a dead
/// connection. The API server sends a bookmark at the end of each watch.
const WATCH_SECONDS: u32 = 25;
/// Spreads the ends of watches: each lasts up to this much longer.
const WATCH_SPREAD: u32 = 5;
/// How long the end of a watch may be late.
const WATCH_MARGIN: Duration = Duration::from_secs(5);
/// Limit for the first byte of an answer, and for a small answer.
const SHORT: Duration = Duration::from_secs(10);
/// Limit for one page of a list.
const LONG: Duration = Duration::from_secs(60);
/// Interval between comparisons of all known versions with those of the API server.
const COMPARE_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// With more differences than this, a list is cheaper than single reads.
const MANY: usize = 100;
/// Minimum interval between the starts of two watches.
const PACE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
// Two watches that retry this often send less than one request a second.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The keys and versions of all known objects.
pub(crate) type Versions = HashMap<Key, u64>;

/// Lists and watches one resource for ever.
pub(crate) struct Informer<T> {
    api: Api<T>,
    fields: Option<String>,
    pages: Pages,
    known: Box<dyn Fn() -> Versions + Send>,
    reach: Reach,
    step: Step<T>,
    ready: VecDeque<Event<T>>,
    /// The version up to which everything has been shown.
    version: String,
    /// Whether a list or comparison has set the version, and no watch has confirmed it.
    fresh: bool,
    /// The version at which an event was unusable.
    struck: Option<String>,
    failures: u32,
    has_failed: bool,
    pause: Option<Duration>,
    watched: Option<Instant>,
    compared: Instant,
}

#[derive(Default)]
enum Step<T> {
    #[default]
    Begin,
    /// `whole`: without pages, because a continue token has expired.
    List {
        token: Option<String>,
        whole: bool,
    },
    /// Compares all known versions with those of the API server.
    Compare,
    Resume,
    Follow(Following<T>),
}

struct Following<T> {
    stream: BoxStream<'static, kube::Result<WatchEvent<T>>>,
    started: Instant,
    /// When the watch is over even if the API server is silent.
    deadline: Instant,
    has_events: bool,
}

impl<T> Informer<T>
where
    T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// `fields` selects objects. `known` returns what the events so far have shown.
    pub(crate) fn new(
        api: Api<T>,
        fields: Option<String>,
        pages: Pages,
        reach: Reach,
        known: impl Fn() -> Versions + Send + 'static,
    ) -> Self {
        Self {
            api,
            fields,
            pages,
            known: Box::new(known),
            reach,
            step: Step::Begin,
            ready: VecDeque::new(),
            version: String::new(),
            fresh: false,
            struck: None,
            failures: 0,
            has_failed: false,
            pause: None,
            watched: None,
            compared: Instant::now(),
        }
    }

    /// The next event. Whoever asks for it has applied all events before.
    pub(crate) async fn next(&mut self) -> Event<T> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            if let Some(pause) = self.pause.take() {
                self.reach.pause(pause).await;
            }
            self.step = match std::mem::take(&mut self.step) {
                Step::Begin => {
                    self.ready.push_back(Event::ListBegan);
                    Step::List { token: None, whole: false }
                }
                Step::List { token, whole } => self.list(token, whole).await,
                Step::Compare => self.compare().await,
                Step::Resume => self.resume().await,
                Step::Follow(following) => self.follow(following).await,
            };
        }
    }

    async fn list(&mut self, token: Option<String>, whole: bool) -> Step<T> {
        let limit = Some(self.pages.objects).filter(|_| !whole);
        let has_token = token.is_some();
        let params = self.params(limit, token);
        match within(LONG, self.api.list(&params)).await.and_then(complete) {
            Ok((items, version, token)) => {
                self.answered();
                self.ready.extend(items.into_iter().map(Event::Listed));
                if token.is_some() {
                    return Step::List { token, whole };
                }
                self.ready.push_back(Event::ListEnded(number(&version)));
                self.caught_up(version);
                Step::Resume
            }
            // client-go's pager does the same (`k8s.io/client-go/tools/pager`).
            Err(Trouble::Expired(_)) if has_token => {
                self.ready.push_back(Event::ListBegan);
                Step::List { token: None, whole: true }
            }
            Err(trouble) => {
                self.failed(trouble);
                Step::Begin
            }
        }
    }

    /// Starts a watch. Before that, asks the API server for its version: one that was restored from a backup does not
    /// have ours, and would not show the events until then.
    async fn resume(&mut self) -> Step<T> {
        if !self.fresh {
            let one = self.params(Some(1), None);
            match within(SHORT, self.api.list_metadata(&one)).await.and_then(complete) {
                Ok((_, current, _)) if number(&current) < number(&self.version) => {
                    let from = std::mem::take(&mut self.version);
                    self.interrupted(Trouble::WentBack { from, to: current });
                    return Step::Begin;
                }
                Ok(_) => self.answered(),
                Err(trouble) => {
                    self.failed(trouble);
                    return Step::Resume;
                }
            }
            if self.compared.elapsed() >= COMPARE_INTERVAL {
                return Step::Compare;
            }
        }
        if let Some(earliest) = self.watched.and_then(|watched| watched.checked_add(PACE)) {
            tokio::time::sleep_until(earliest).await;
        }
        let seconds = WATCH_SECONDS.saturating_add(random(WATCH_SPREAD));
        let params =
            WatchParams { timeout: Some(seconds), field_selector: self.fields.clone(), ..WatchParams::default() };
        let started = Instant::now();
        self.watched = Some(started);
        match within(SHORT, self.api.watch(&params, &self.version)).await {
            Ok(stream) => {
                let lasts = Duration::from_secs(seconds.into()).saturating_add(WATCH_MARGIN);
                let stream = stream.into_stream().boxed();
                let deadline = started.checked_add(lasts).unwrap_or(started);
                Step::Follow(Following { stream, started, deadline, has_events: false })
            }
            Err(expired @ Trouble::Expired(_)) => self.expired(expired),
            Err(trouble) if trouble.is_about_version() => {
                self.failed(trouble);
                Step::Begin
            }
            Err(trouble) => {
                self.failed(trouble);
                Step::Resume
            }
        }
    }

    async fn follow(&mut self, mut following: Following<T>) -> Step<T> {
        let Ok(item) = timeout_at(following.deadline, following.stream.next()).await else {
            self.interrupted(Trouble::Silent);
            return Step::Resume;
        };
        let works = following.has_events || following.started.elapsed() >= PACE;
        if works {
            // A list alone is no success: the watch after it may fail again and again.
            self.failures = 0;
        }
        let event = match item {
            None if works => return Step::Resume,
            None => {
                self.failed(Trouble::EndedAtOnce);
                return Step::Resume;
            }
            Some(Err(kube::Error::ReadEvents(error))) => {
                self.failed(Trouble::Broken(kube::Error::ReadEvents(error)));
                return Step::Resume;
            }
            Some(Err(error)) => return self.strike(error.into()),
            Some(Ok(event)) => event,
        };
        let (event, version) = match event {
            WatchEvent::Error(status) => match Trouble::from(kube::Error::Api(status)) {
                expired @ Trouble::Expired(_) => return self.expired(expired),
                trouble => return self.strike(trouble),
            },
            WatchEvent::Bookmark(bookmark) => {
                let version = bookmark.metadata.resource_version;
                (Event::Reached(number(&version)), version)
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version().unwrap_or_default();
                (Event::Changed(object), version)
            }
            WatchEvent::Deleted(object) => {
                let version = object.resource_version().unwrap_or_default();
                (Event::Deleted(object), version)
            }
        };
        if number(&version) == 0 {
            return self.strike(Trouble::NoVersion);
        }
        (self.version, self.fresh, self.failures) = (version, false, 0);
        self.ready.push_back(event);
        Step::Follow(Following { has_events: true, ..following })
    }

    /// Reads the metadata of all objects, and whole only those objects that differ from what is known.
    async fn compare(&mut self) -> Step<T> {
        let mut listed = Versions::new();
        let mut token = None;
        let version = loop {
            let params = self.params(self.pages.metadata, token);
            match within(LONG, self.api.list_metadata(&params)).await.and_then(complete) {
                Ok((items, version, next)) => {
                    let items =
                        items.iter().map(|item| (Key::of(item), memory::version(&item.metadata).unwrap_or_default()));
                    listed.extend(items);
                    token = next;
                    if token.is_none() {
                        break version;
                    }
                }
                Err(Trouble::Expired(_)) => return Step::Begin,
                Err(trouble) => {
                    self.failed(trouble);
                    return Step::Compare;
                }
            }
        };
        self.answered();
        let Comparison { gone, differing } = Comparison::of(&(self.known)(), &listed);
        if differing.len() > MANY {
            return Step::Begin;
        }
        self.ready.extend(gone.into_iter().map(Event::Gone));
        for key in differing {
            match self.read(&key).await {
                Ok(Some(object)) => self.ready.push_back(Event::Changed(object)),
                Ok(None) => self.ready.push_back(Event::Gone(key)),
                Err(trouble) => {
                    self.failed(trouble);
                    return Step::Compare;
                }
            }
        }
        self.ready.push_back(Event::Reached(number(&version)));
        self.caught_up(version);
        Step::Resume
    }

    async fn read(&mut self, key: &Key) -> Result<Option<T>, Trouble> {
        let request = Request::new(T::url_path(&(), key.namespace.as_deref()));
        let request = request.get(&key.name, &GetParams::default()).map_err(kube::Error::BuildRequest)?;
        match within(SHORT, self.api.clone().into_client().request::<T>(request)).await {
            Ok(object) if Key::of(&object) == *key => Ok(Some(object)),
            Ok(_) => Err(Trouble::OddAnswer),
            Err(Trouble::Request(kube::Error::Api(status))) if status.is_not_found() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// A list or a comparison has shown everything up to this version.
    fn caught_up(&mut self, version: String) {
        (self.version, self.fresh, self.struck, self.compared) = (version, true, None, Instant::now());
    }

    /// The API server does not have the events since our version any more, usually because it has restarted.
    fn expired(&mut self, trouble: Trouble) -> Step<T> {
        if self.fresh {
            // It refuses the version that it has just named.
            self.failed(trouble);
            return Step::Begin;
        }
        Step::Compare
    }

    /// An event is unusable. The first time at a version, the watch resumes there. The second time, a list gets past
    /// it.
    fn strike(&mut self, trouble: Trouble) -> Step<T> {
        self.failed(trouble);
        if self.struck.as_ref() == Some(&self.version) {
            return Step::Begin;
        }
        self.struck = Some(self.version.clone());
        Step::Resume
    }

    fn answered(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            self.ready.push_back(Event::Answered);
        }
    }

    fn failed(&mut self, trouble: Trouble) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        // Many processes must not retry in step.
        let percent = random(25).saturating_add(75);
        let pause = pause.saturating_mul(percent) / 100;
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(trouble.retry_after().map_or(pause, |asked| pause.max(asked)));
        self.interrupted(trouble);
    }

    fn interrupted(&mut self, trouble: Trouble) {
        (self.has_failed, self.fresh) = (true, false);
        self.ready.push_back(Event::Failed(trouble));
    }

    fn params(&self, limit: Option<u32>, continue_token: Option<String>) -> ListParams {
        ListParams { field_selector: self.fields.clone(), limit, continue_token, ..ListParams::default() }
    }
}

/// A random number from 0 to `limit`.
fn random(limit: u32) -> u32 {
    getrandom::u32().unwrap_or_default().checked_rem(limit.saturating_add(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
