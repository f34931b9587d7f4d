//! Which namespaces belong to Shoots. They are watched, and only their names and one label are kept.

use std::collections::HashMap;

use extension_contract::SHOOT_NAMESPACE;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;
use tokio::sync::watch;

use super::informer::{Event, Informer, Pages, Versions};
use super::key::Key;
use super::memory::version;
use super::reach::Reach;

/// A namespace as the watch decodes it.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = "v1::Namespace")]
pub(crate) struct Namespace {
    metadata: ObjectMeta,
}

/// What is known of all namespaces, filled by their informer.
#[derive(Debug, Default)]
pub struct Namespaces(watch::Sender<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether the first list is complete.
    listed: bool,
    by_name: HashMap<String, Entry>,
    /// What the list in progress has shown so far.
    relisted: HashMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    version: u64,
    is_shoots: bool,
}

impl Namespaces {
    /// Whether a namespace belongs to a Shoot. Returns `None` if it is unknown: a watch has not shown it yet.
    #[must_use]
    pub fn is_shoots(&self, name: &str) -> Option<bool> {
        self.0.borrow().by_name.get(name).map(|entry| entry.is_shoots)
    }

    /// Waits for the first list.
    pub async fn listed(&self) {
        // The sender lives as long as self, so there is no error to handle.
        let _ = self.0.subscribe().wait_for(|known| known.listed).await;
    }

    /// Lists and watches the namespaces, or the one with this name. Each event belongs to [`apply`](Self::apply); `known`
    /// returns the [`versions`](Self::versions) after that.
    pub(crate) fn informer(
        client: Client,
        only: Option<&str>,
        reach: Reach,
        known: impl Fn() -> Versions + Send + 'static,
    ) -> Informer<Namespace> {
        let fields = only.map(|name| format!("metadata.name={name}"));
        Informer::new(Api::all(client), fields, Pages { objects: 500, metadata: None }, reach, known)
    }

    /// Applies an event. Returns the names of the namespaces of which something else is known now.
    pub(crate) fn apply(&self, event: Event<Namespace>) -> Vec<String> {
        let mut changed = Vec::new();
        self.0.send_modify(|known| match event {
            Event::ListBegan => known.relisted.clear(),
            Event::Listed(namespace) => drop(known.relisted.insert(namespace.name_any(), Entry::of(&namespace))),
            Event::ListEnded(_) => {
                let before = std::mem::replace(&mut known.by_name, std::mem::take(&mut known.relisted));
                known.listed = true;
                let now = &known.by_name;
                let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
                changed = names.filter(|name| differ(before.get(*name), now.get(*name))).cloned().collect();
            }
            Event::Changed(namespace) => {
                let (name, entry) = (namespace.name_any(), Entry::of(&namespace));
                let before = known.by_name.insert(name.clone(), entry);
                changed.extend(differ(before.as_ref(), Some(&entry)).then_some(name));
            }
            Event::Deleted(namespace) => {
                changed.extend(known.by_name.remove_entry(&namespace.name_any()).map(|(name, _)| name));
            }
            Event::Gone(key) => changed.extend(known.by_name.remove_entry(&key.name).map(|(name, _)| name)),
            Event::Reached(_) | Event::Failed(_) | Event::Answered => {}
        });
        changed
    }

    /// The versions of all known namespaces.
    pub(crate) fn versions(&self) -> Versions {
        let key = |name: &String| Key { namespace: None, name: name.clone() };
        self.0.borrow().by_name.iter().map(|(name, entry)| (key(name), entry.version)).collect()
    }
}

impl Entry {
    fn of(namespace: &Namespace) -> Self {
        let (key, value) = SHOOT_NAMESPACE;
        let is_shoots = namespace.labels().get(key).is_some_and(|label| label == value);
        Self { version: version(&namespace.metadata).unwrap_or_default(), is_shoots }
    }
}

fn differ(before: Option<&Entry>, now: Option<&Entry>) -> bool {
    before.map(|entry| entry.is_shoots) != now.map(|entry| entry.is_shoots)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace(name: &str, role: Option<&str>) -> Namespace {
        let labels = json!({ "gardener.cloud/role": role });
        let labels = role.map(|_| labels);
        let metadata = json!({ "name": name, "resourceVersion": "7", "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn only_the_label_makes_a_namespace_that_of_a_shoot_and_an_unseen_one_is_unknown() {
        let namespaces = Namespaces::default();
        assert_eq!(namespaces.is_shoots("a"), None);
        let shown = [namespace("a", Some("shoot")), namespace("b", None), namespace("c", Some("seed-system"))];
        assert!(namespaces.apply(Event::ListBegan).is_empty());
        assert!(shown.into_iter().all(|shown| namespaces.apply(Event::Listed(shown)).is_empty()));
        assert_eq!(namespaces.is_shoots("a"), None, "the list is not complete");
        let mut names = namespaces.apply(Event::ListEnded(9));
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(["a", "b", "c"].map(|name| namespaces.is_shoots(name)), [Some(true), Some(false), Some(false)]);
    }

    #[test]
    fn a_change_is_told_only_if_another_answer_follows_from_it() {
        let namespaces = Namespaces::default();
        let told = |event| namespaces.apply(event);
        assert_eq!(told(Event::Changed(namespace("a", Some("shoot")))), ["a"]);
        assert!(told(Event::Changed(namespace("a", Some("shoot")))).is_empty());
        assert_eq!(told(Event::Changed(namespace("a", None))), ["a"]);
        assert_eq!(told(Event::Deleted(namespace("a", None))), ["a"]);
        assert!(told(Event::Gone(Key { namespace: None, name: "a".to_owned() })).is_empty());
    }
}
