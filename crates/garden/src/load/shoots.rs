//! The Shoots of a load, as one watch shows them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use extension_contract::json::text;
use futures::StreamExt as _;
use kube::Client;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::records::{Recorder, What};
use crate::error::GardenError;
use crate::news::{News, Say};
use crate::objects::core;
use crate::shoot::{Progress, describe, progress};

/// If nothing new happens to any Shoot for this long, the load has ended: gardenlet tries for half a day.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often to look whether all Shoots have ended.
const TICK: Duration = Duration::from_secs(1);

/// How far a Shoot has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    scheduled: bool,
    begun: bool,
    /// Whether gardenlet has failed, and will try again.
    erred: bool,
    /// Whether gardenlet has succeeded, or has failed for good.
    ended: Option<bool>,
    /// The last operation, in words.
    at: String,
}

impl Seen {
    /// What is new in a Shoot.
    fn look(&mut self, name: &str, shoot: &Value) -> Vec<What> {
        let mut news = Vec::new();
        if !self.scheduled && text(shoot, "spec.seedName").is_some() {
            self.scheduled = true;
            news.push(What::Scheduled(name.to_owned()));
        }
        let state = text(shoot, "status.lastOperation.state");
        // As long as gardener-scheduler finds no Seed, it says so in a last operation that is pending.
        if !self.begun && state.is_some_and(|state| state != "Pending") {
            self.begun = true;
            news.push(What::Begun(name.to_owned()));
        }
        self.at = describe(shoot);
        let erred = state == Some("Error");
        if erred && !self.erred {
            news.push(What::Erred { shoot: name.to_owned(), why: self.at.clone() });
        }
        self.erred = erred;
        match progress(shoot) {
            _ if self.ended.is_some() => {}
            Progress::Running(_) => {}
            Progress::Done => {
                self.ended = Some(true);
                news.push(What::Succeeded(name.to_owned()));
            }
            Progress::Failed(why) => {
                self.ended = Some(false);
                news.push(What::Failed { shoot: name.to_owned(), why });
            }
        }
        news
    }
}

/// All Shoots of a load.
pub(super) struct Shoots<'a> {
    seen: RefCell<BTreeMap<String, Seen>>,
    recorder: &'a Recorder,
    say: Say<'a>,
}

impl<'a> Shoots<'a> {
    /// Shoots that will be created.
    pub(super) fn new(names: impl Iterator<Item = String>, recorder: &'a Recorder, say: Say<'a>) -> Self {
        let seen = names.map(|name| (name, Seen::default())).collect();
        Self { seen: RefCell::new(seen), recorder, say }
    }

    /// Notes that the API server has refused a Shoot.
    pub(super) fn refused(&self, shoot: String, why: String) -> Result<(), GardenError> {
        if let Some(seen) = self.seen.borrow_mut().get_mut(&shoot) {
            seen.ended = Some(false);
        }
        self.recorder.note(What::Failed { shoot, why })
    }

    /// Watches the Shoots. Returns when all of them have ended, or nothing has happened for [`PATIENCE`].
    pub(super) async fn follow(&self, garden: &Client, namespace: &str) -> Result<(), GardenError> {
        let api = core(garden, "v1beta1", "Shoot", Some(namespace));
        let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        let (mut shown, mut last_news) = (String::new(), Instant::now());
        while !self.all_ended() {
            match timeout(TICK, events.next()).await {
                // The watch begins again by itself.
                Ok(Some(Err(_)) | None) | Err(_) => {}
                Ok(Some(Ok(shoot))) => {
                    let name = shoot.metadata.name.clone().unwrap_or_default();
                    let shoot = serde_json::to_value(shoot).unwrap_or_default();
                    if self.look(&name, &shoot)? {
                        last_news = Instant::now();
                    }
                }
            }
            let now = self.describe();
            if now != shown {
                (self.say)(News::Passing(now.clone()));
                shown = now;
            }
            if last_news.elapsed() >= PATIENCE {
                return self.give_up();
            }
        }
        Ok(())
    }

    /// Whether gardenlet has created all Shoots.
    pub(super) fn all_succeeded(&self) -> bool {
        self.seen.borrow().values().all(|seen| seen.ended == Some(true))
    }

    fn all_ended(&self) -> bool {
        self.seen.borrow().values().all(|seen| seen.ended.is_some())
    }

    /// Records what is new in a Shoot. Returns whether anything is.
    fn look(&self, name: &str, shoot: &Value) -> Result<bool, GardenError> {
        let mut all = self.seen.borrow_mut();
        let Some(seen) = all.get_mut(name) else { return Ok(false) };
        let before = seen.clone();
        for news in seen.look(name, shoot) {
            self.recorder.note(news)?;
        }
        Ok(*seen != before)
    }

    /// How many Shoots are where, in words.
    fn describe(&self) -> String {
        let all = self.seen.borrow();
        let count = |which: fn(&Seen) -> bool| all.values().filter(|seen| which(seen)).count();
        format!(
            "  {} of {} Shoots succeeded, {} in work, {} failed",
            count(|seen| seen.ended == Some(true)),
            all.len(),
            count(|seen| seen.begun && seen.ended.is_none()),
            count(|seen| seen.ended == Some(false)),
        )
    }

    /// Records that the Shoots which have not ended failed.
    fn give_up(&self) -> Result<(), GardenError> {
        for (name, seen) in self.seen.borrow_mut().iter_mut().filter(|(_, seen)| seen.ended.is_none()) {
            seen.ended = Some(false);
            let why = format!("nothing happened for {} s: {}", PATIENCE.as_secs(), seen.at);
            self.recorder.note(What::Failed { shoot: name.clone(), why })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_of_a_shoot_is_news_once() {
        let name = || "a".to_owned();
        let shoot = |seed: Option<&str>, state: Option<&str>| {
            json!({
                "metadata": {"generation": 1},
                "spec": {"seedName": seed},
                "status": {"observedGeneration": 1, "lastOperation": state.map(|state| json!({"type": "Create", "state": state}))},
            })
        };
        let table = [
            (shoot(None, None), vec![]),
            (shoot(None, Some("Pending")), vec![]),
            (shoot(Some("mock"), None), vec![What::Scheduled(name())]),
            (shoot(Some("mock"), Some("Processing")), vec![What::Begun(name())]),
            (
                shoot(Some("mock"), Some("Error")),
                vec![What::Erred { shoot: name(), why: "Create Error, 0 %: ".to_owned() }],
            ),
            (shoot(Some("mock"), Some("Error")), vec![]),
            (shoot(Some("mock"), Some("Succeeded")), vec![What::Succeeded(name())]),
            (shoot(Some("mock"), Some("Processing")), vec![]),
            (shoot(Some("mock"), Some("Succeeded")), vec![]),
        ];
        let mut seen = Seen::default();
        for (shoot, expected) in table {
            assert_eq!(seen.look("a", &shoot), expected, "{shoot}");
        }
        let mut seen = Seen::default();
        let news = seen.look("a", &shoot(Some("mock"), Some("Failed")));
        assert!(matches!(news.as_slice(), [What::Scheduled(_), What::Begun(_), What::Failed { .. }]), "{news:?}");
    }
}
