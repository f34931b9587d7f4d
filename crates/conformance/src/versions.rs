//! All versions of one object. A poll may miss a short-lived version; a watch misses none.

use std::pin::Pin;
use std::time::Duration;

use extension_contract::watched;
use futures::{Stream, StreamExt};
use gardener_testbed::said;
use kube::api::{WatchEvent, WatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::object::{excerpt, text};
use crate::scene::Scene;

/// The versions of one object since the start of the watch, in order.
pub struct Versions {
    versions: Pin<Box<dyn Stream<Item = Value> + Send>>,
    /// Limit of the wait for one version.
    patience: Duration,
}

impl Versions {
    /// Returns the next version.
    pub async fn next(&mut self) -> Result<Value, Failed> {
        let next =
            timeout(self.patience, self.versions.next()).await.map_err(|_| "the object was not written again")?;
        Ok(next.ok_or("the watch has ended")?)
    }

    /// Returns the next version that meets a condition. `what` completes the sentence "gave up waiting
    /// for ...".
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value, Failed> {
        let mut last = Value::Null;
        while !holds(&last) {
            last = self.next().await.map_err(|_| format!("gave up waiting for {what}: {}", excerpt(&last)))?;
        }
        Ok(last)
    }

    /// Returns the first version after `before` that wakes a reader that watches. All versions in between do not.
    pub async fn until_woken(&mut self, what: &str, before: &Value) -> Result<Value, Failed> {
        let version = text(before, "/metadata/resourceVersion").to_owned();
        let mut before = self.until(what, |object| text(object, "/metadata/resourceVersion") == version).await?;
        loop {
            let unnoticed = |why: Failed| {
                let why = why.message().unwrap_or_default();
                format!("no event of {what} wakes gardenlet: {why}: {}", excerpt(&before))
            };
            let now = self.next().await.map_err(unnoticed)?;
            if watched::wakes(Some(&before), &now) {
                return Ok(now);
            }
            before = now;
        }
    }
}

impl Scene {
    /// Follows an object, which need not exist yet. Returns all versions that are written from now on.
    pub async fn follow(&self, name: &str) -> Result<Versions, Failed> {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.full_name(name)));
        let mut events = Box::pin(watcher(self.api(), config).default_backoff());
        while !matches!(events.next().await.ok_or("the watch has ended")??, Event::InitDone) {}
        let versions = events.filter_map(async |event| match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => Some(json!(object)),
            _ => None,
        });
        Ok(Versions { versions: Box::pin(versions), patience: self.suite().subject().patience })
    }

    /// All versions of an object since `before`, in order. An object that is gone is null.
    pub(crate) async fn versions_since(&self, name: &str, before: &Value) -> Result<Vec<Value>, Failed> {
        let version = |object: &Value| text(object, "/metadata/resourceVersion").to_owned();
        let now = self.get(name).await?;
        if now.is_null() {
            return Ok(vec![now]);
        }
        let of_object = WatchParams::default().fields(&format!("metadata.name={}", self.full_name(name)));
        // An API server may have forgotten old versions. That is not the controller's fault.
        let untold = |why: &str| self.not_judged(&format!("the versions of {name} cannot be read: {why}"));
        let watch = self.api().watch(&of_object, &version(before)).await;
        let mut events = Box::pin(watch.map_err(|error| untold(&said(&error)))?);
        let mut versions = Vec::new();
        while version(versions.last().unwrap_or(before)) != version(&now) {
            let event = timeout(self.suite().subject().patience, events.next()).await.ok().flatten();
            match event.ok_or_else(|| untold("the watch shows none"))?.map_err(|error| untold(&said(&error)))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => versions.push(json!(object)),
                WatchEvent::Deleted(_) => versions.push(Value::Null),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => return Err(untold(&status.message)),
            }
        }
        Ok(versions)
    }
}
