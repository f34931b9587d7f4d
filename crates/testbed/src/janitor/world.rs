//! The objects that the janitor has seen, and the tasks that follow from each event. Sends no requests.

use std::collections::{HashMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::Event;

/// The `place` of objects without a namespace.
pub(super) const CLUSTER_SCOPED: &str = "";

/// A change that the janitor has to make.
#[derive(Debug, PartialEq)]
pub(super) enum Task {
    /// Delete an object in a terminating namespace.
    Delete(Dependent),
    /// Delete an object, after verifying that none of its owners exists.
    Collect(Dependent, Vec<OwnerReference>),
    /// Finalize a namespace, after verifying that it is empty.
    Finalize(String),
}

/// An object that may have to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dependent {
    /// The index of the kind.
    pub(super) kind: usize,
    /// The object's namespace, or [`CLUSTER_SCOPED`].
    pub(super) place: String,
    pub(super) name: String,
    pub(super) uid: String,
}

#[derive(Debug)]
struct Object {
    kind: usize,
    name: String,
    is_terminating: bool,
    owners: Vec<OwnerReference>,
}

/// All objects that the watches have reported.
#[derive(Debug)]
pub(super) struct World {
    /// The index of the kind `Namespace`.
    namespaces: usize,
    /// Objects by place, which is a namespace or [`CLUSTER_SCOPED`], and then by uid.
    objects: HashMap<String, HashMap<String, Object>>,
    /// The names of the terminating namespaces.
    terminating: HashSet<String>,
    /// By kind, the uids in a list that is still being received.
    listed: HashMap<usize, HashSet<String>>,
}

impl World {
    /// A world without objects. `namespaces` is the index of the kind `Namespace`.
    pub(super) fn new(namespaces: usize) -> Self {
        Self { namespaces, objects: HashMap::new(), terminating: HashSet::new(), listed: HashMap::new() }
    }

    /// Records an event of the kind with this index. Returns the tasks that follow from it.
    pub(super) fn observe(&mut self, kind: usize, event: Event<PartialObjectMeta<DynamicObject>>) -> Vec<Task> {
        match event {
            Event::Init => {
                self.listed.remove(&kind);
                Vec::new()
            }
            Event::InitApply(object) => {
                let uid = object.metadata.uid.clone().unwrap_or_default();
                self.listed.entry(kind).or_default().insert(uid);
                self.applied(kind, object.metadata)
            }
            Event::InitDone => {
                let listed = self.listed.remove(&kind).unwrap_or_default();
                self.unlisted(kind, &listed)
            }
            Event::Apply(object) => self.applied(kind, object.metadata),
            Event::Delete(object) => {
                let place = object.metadata.namespace.as_deref().unwrap_or(CLUSTER_SCOPED);
                self.gone(place, object.metadata.uid.as_deref().unwrap_or_default())
            }
        }
    }

    fn applied(&mut self, kind: usize, metadata: ObjectMeta) -> Vec<Task> {
        let uid = metadata.uid.unwrap_or_default();
        let place = metadata.namespace.unwrap_or_default();
        let object = Object {
            kind,
            name: metadata.name.unwrap_or_default(),
            is_terminating: metadata.deletion_timestamp.is_some(),
            owners: metadata.owner_references.unwrap_or_default(),
        };
        let mut tasks = Vec::new();
        if object.is_terminating && kind == self.namespaces {
            self.terminating.insert(object.name.clone());
            tasks = self.end(&object.name);
        } else if object.is_terminating {
            // The object is already being deleted.
        } else if self.terminating.contains(&place) {
            tasks.push(Task::Delete(dependent(&place, &uid, &object)));
        } else if !object.owners.is_empty() && !self.has_owner(&place, &object) {
            tasks.push(Task::Collect(dependent(&place, &uid, &object), object.owners.clone()));
        }
        self.objects.entry(place).or_default().insert(uid, object);
        tasks
    }

    fn gone(&mut self, place: &str, uid: &str) -> Vec<Task> {
        let Some(objects) = self.objects.get_mut(place) else { return Vec::new() };
        let Some(object) = objects.remove(uid) else { return Vec::new() };
        if objects.is_empty() {
            self.objects.remove(place);
        }
        if object.kind == self.namespaces {
            self.terminating.remove(&object.name);
        }
        let mut tasks = match place {
            // A cluster-scoped owner may have dependents in all namespaces.
            CLUSTER_SCOPED => self.objects.keys().flat_map(|place| self.dependents(place, uid)).collect(),
            namespace => self.dependents(namespace, uid),
        };
        if self.terminating.contains(place) && !self.objects.contains_key(place) {
            tasks.push(Task::Finalize(place.to_owned()));
        }
        tasks
    }

    /// Removes the objects that are missing in a complete list. They were deleted while the watch was interrupted.
    fn unlisted(&mut self, kind: usize, listed: &HashSet<String>) -> Vec<Task> {
        let lost: Vec<_> = self
            .objects
            .iter()
            .flat_map(|(place, objects)| objects.iter().map(move |(uid, object)| (place, uid, object)))
            .filter(|(_, uid, object)| object.kind == kind && !listed.contains(*uid))
            .map(|(place, uid, _)| (place.clone(), uid.clone()))
            .collect();
        let mut tasks: Vec<_> = lost.into_iter().flat_map(|(place, uid)| self.gone(&place, &uid)).collect();
        // The last object of a namespace may have been created and deleted during the interruption.
        let empty = self.terminating.iter().filter(|namespace| !self.objects.contains_key(*namespace));
        tasks.extend(empty.cloned().map(Task::Finalize));
        tasks
    }

    /// Starts the deletion of a namespace's content. The deletion events of the objects trigger the rest.
    fn end(&self, namespace: &str) -> Vec<Task> {
        let Some(objects) = self.objects.get(namespace) else { return vec![Task::Finalize(namespace.to_owned())] };
        let remaining = objects.iter().filter(|(_, object)| !object.is_terminating);
        remaining.map(|(uid, object)| Task::Delete(dependent(namespace, uid, object))).collect()
    }

    /// Collects the objects whose only known owner was this one.
    fn dependents(&self, place: &str, owner: &str) -> Vec<Task> {
        let Some(objects) = self.objects.get(place) else { return Vec::new() };
        objects
            .iter()
            .filter(|(_, object)| !object.is_terminating && object.owners.iter().any(|other| other.uid == owner))
            .filter(|(_, object)| !self.has_owner(place, object))
            .map(|(uid, object)| Task::Collect(dependent(place, uid, object), object.owners.clone()))
            .collect()
    }

    fn has_owner(&self, place: &str, object: &Object) -> bool {
        let places = [self.objects.get(CLUSTER_SCOPED), self.objects.get(place)];
        object.owners.iter().any(|owner| places.iter().flatten().any(|objects| objects.contains_key(&owner.uid)))
    }
}

fn dependent(place: &str, uid: &str, object: &Object) -> Dependent {
    Dependent { kind: object.kind, place: place.to_owned(), name: object.name.clone(), uid: uid.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NAMESPACE: usize = 0;
    const SECRET: usize = 1;
    const INFRASTRUCTURE: usize = 2;
    const CLUSTER: usize = 3;

    fn object(metadata: &Value) -> PartialObjectMeta<DynamicObject> {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn infrastructure() -> PartialObjectMeta<DynamicObject> {
        object(&json!({"namespace": "shoot--a--b", "name": "b", "uid": "u-infrastructure"}))
    }

    fn secret_of(owners: &[&str]) -> PartialObjectMeta<DynamicObject> {
        let owners: Vec<_> = owners
            .iter()
            .map(|uid| json!({"apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Infrastructure", "name": "b", "uid": uid}))
            .collect();
        object(&json!({"namespace": "shoot--a--b", "name": "s", "uid": "u-secret", "ownerReferences": owners}))
    }

    fn namespace(is_terminating: bool) -> PartialObjectMeta<DynamicObject> {
        let deletion = is_terminating.then_some("2020-09-13T12:26:40Z");
        object(&json!({"name": "shoot--a--b", "uid": "u-namespace", "deletionTimestamp": deletion}))
    }

    fn collected(tasks: &[Task]) -> bool {
        matches!(tasks, [Task::Collect(secret, owners)] if secret.uid == "u-secret" && !owners.is_empty())
    }

    #[test]
    fn an_object_is_collected_when_its_last_owner_is_gone() {
        let mut world = World::new(NAMESPACE);
        assert_eq!(world.observe(INFRASTRUCTURE, Event::Apply(infrastructure())), []);
        let cluster = object(&json!({"name": "shoot--a--b", "uid": "u-cluster"}));
        assert_eq!(world.observe(CLUSTER, Event::Apply(cluster.clone())), []);
        assert_eq!(world.observe(SECRET, Event::Apply(secret_of(&["u-infrastructure", "u-cluster"]))), []);
        assert_eq!(world.observe(INFRASTRUCTURE, Event::Delete(infrastructure())), []);
        assert!(collected(&world.observe(CLUSTER, Event::Delete(cluster))));
    }

    #[test]
    fn an_owner_with_another_uid_does_not_count() {
        let mut world = World::new(NAMESPACE);
        world.observe(INFRASTRUCTURE, Event::Apply(infrastructure()));
        assert!(collected(&world.observe(SECRET, Event::Apply(secret_of(&["u-former"])))));
    }

    #[test]
    fn an_object_that_is_missing_in_a_new_list_is_gone() {
        let mut world = World::new(NAMESPACE);
        world.observe(INFRASTRUCTURE, Event::Apply(infrastructure()));
        world.observe(SECRET, Event::Apply(secret_of(&["u-infrastructure"])));
        assert_eq!(world.observe(INFRASTRUCTURE, Event::Init), []);
        assert_eq!(world.observe(INFRASTRUCTURE, Event::InitApply(infrastructure())), []);
        assert_eq!(world.observe(INFRASTRUCTURE, Event::InitDone), []);
        assert_eq!(world.observe(INFRASTRUCTURE, Event::Init), []);
        assert!(collected(&world.observe(INFRASTRUCTURE, Event::InitDone)));
    }

    #[test]
    fn a_namespace_is_finalized_when_its_last_object_is_gone() {
        let mut world = World::new(NAMESPACE);
        world.observe(NAMESPACE, Event::Apply(namespace(false)));
        world.observe(SECRET, Event::Apply(secret_of(&[])));
        let tasks = world.observe(NAMESPACE, Event::Apply(namespace(true)));
        assert!(matches!(tasks.as_slice(), [Task::Delete(secret)] if secret.uid == "u-secret"));
        // A creation was in flight when the namespace was deleted.
        let tasks = world.observe(INFRASTRUCTURE, Event::Apply(infrastructure()));
        assert!(matches!(tasks.as_slice(), [Task::Delete(late)] if late.uid == "u-infrastructure"));
        assert_eq!(world.observe(SECRET, Event::Delete(secret_of(&[]))), []);
        let finalize = [Task::Finalize("shoot--a--b".to_owned())];
        assert_eq!(world.observe(INFRASTRUCTURE, Event::Delete(infrastructure())), finalize);

        assert_eq!(world.observe(SECRET, Event::Init), []);
        assert_eq!(
            world.observe(SECRET, Event::InitDone),
            finalize,
            "a secret may have been created and deleted in between"
        );

        world.observe(NAMESPACE, Event::Delete(namespace(true)));
        assert_eq!(world.observe(SECRET, Event::Apply(secret_of(&[]))), [], "the deleted namespace is forgotten");
    }
}
