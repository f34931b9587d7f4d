use std::collections::BTreeMap;

use extension_contract::{
    Class, Kind, OPERATION_ANNOTATION, Reader, Status, TIMESTAMP_ANNOTATION, annotation, kinds, requested_at,
    whole_seconds,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::kind::{Base, Outcome};
use crate::script::source::Parsed;
use crate::script::{self, Record};
use crate::watch::ahead::Ahead;
use crate::watch::key::Key;
use crate::write::compose::{Target, compose};
use crate::write::patch::{Request, status_body};

const FINALIZER: &str = "extensions.gardener.cloud/test";
const NOW: &str = "2026-08-20T10:15:30.7Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An object, to which requests are applied as the API server does.
#[derive(Clone, Debug)]
struct Model {
    meta: ObjectMeta,
    base: Base,
    status: Option<Status>,
}

impl Model {
    fn new(operation: Option<&str>, status: Value) -> Self {
        let annotations: BTreeMap<_, _> =
            operation.map(|operation| (OPERATION_ANNOTATION.to_owned(), operation.to_owned())).into_iter().collect();
        Self {
            meta: ObjectMeta {
                uid: Some("u".into()),
                resource_version: Some("1".into()),
                generation: Some(1),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            base: Base { provider: "mock".into(), ..Base::default() },
            status: serde_json::from_value(status).unwrap(),
        }
    }

    fn held(mut self) -> Self {
        self.meta.finalizers = Some(vec![FINALIZER.into()]);
        self
    }

    fn deleted(mut self) -> Self {
        self.meta.deletion_timestamp = Some(Time(time(NOW)));
        self
    }

    fn asked_at(mut self, timestamp: &str) -> Self {
        self.meta.annotations.as_mut().unwrap().insert(TIMESTAMP_ANNOTATION.into(), timestamp.into());
        self
    }

    fn confirmed(mut self, value: &str) -> Self {
        let annotations = self.meta.annotations.as_mut().unwrap();
        annotations.insert("confirmation.gardener.cloud/deletion".into(), value.into());
        self
    }

    fn next(&self, cluster: ClusterView<'_>, reader: Reader, now: Timestamp) -> Step {
        self.next_by(None, cluster, reader, now)
    }

    fn next_by(&self, script: Option<&Parsed>, cluster: ClusterView<'_>, reader: Reader, now: Timestamp) -> Step {
        self.next_knowing(&Ahead::default(), script, cluster, reader, now)
    }

    /// The next step of a process that remembers which times were ahead of its clock.
    fn next_knowing(
        &self,
        ahead: &Ahead,
        script: Option<&Parsed>,
        cluster: ClusterView<'_>,
        reader: Reader,
        now: Timestamp,
    ) -> Step {
        self.next_of(&Kind { reader, ..kinds::NETWORK }, ahead, script, cluster, now)
    }

    /// The next step of an object of this kind.
    fn next_of(
        &self,
        kind: &Kind,
        ahead: &Ahead,
        script: Option<&Parsed>,
        cluster: ClusterView<'_>,
        now: Timestamp,
    ) -> Step {
        let key = Key { namespace: None, name: "a".to_owned() };
        let last = self.status.as_ref().and_then(|status| status.last_operation.as_ref());
        let version = self.meta.resource_version.as_deref().unwrap();
        let lead = last.map(|last| ahead.lead(&key, version, last.last_update_time.0, now)).unwrap_or_default();
        let record = self.record().map(|record| {
            let written = attempt::written_at(&record);
            record.earlier(ahead.lead(&key, &written.to_string(), written, now))
        });
        let types = ["mock".to_owned()];
        let served = Served { types: &types, classes: &[Class::Shoot], finalizer: FINALIZER, kind };
        let scripting = Scripting {
            script: script.cloned(),
            subject: script::Subject {
                kind: "Test",
                namespace: "shoot--t--a",
                name: "a",
                shoot: "shoot--t--a",
                purpose: None,
                pools: vec!["a", "b"],
            },
            record,
            drawn_seed: 77,
            timeout: SignedDuration::from_mins(3),
        };
        let object = ObjectView { meta: &self.meta, base: &self.base, status: self.status.as_ref(), lead };
        decide(object, cluster, &served, &scripting, now)
    }

    fn conditions(&self) -> &[Value] {
        self.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
    }

    fn record(&self) -> Option<Record> {
        Record::find(self.conditions())
    }

    fn step(&self) -> Step {
        self.next(ClusterView::Known(&ShootFacts::default()), Reader::Polls, time(NOW))
    }

    /// Carries out a step: composes its requests, and applies each as the API server does.
    fn apply(&mut self, step: &Step, now: Timestamp) {
        self.apply_first(step, now, usize::MAX);
    }

    /// The same for the first `most` requests: then the process dies.
    fn apply_first(&mut self, step: &Step, now: Timestamp, most: usize) {
        let Step::Write(plan) = step else { return };
        let status = self.status.as_ref();
        let target = Target {
            kind: "Test",
            finalizer: FINALIZER,
            meta: &self.meta,
            status,
            early: &[],
            created: None,
            leftovers: Vec::new(),
        };
        let composed = compose(plan, &target, Ok(Outcome::default()), now);
        for request in composed.requests.iter().take(most) {
            self.receive(request);
        }
    }

    /// What the API server does with a request for the object's current version.
    fn receive(&mut self, request: &Request) {
        let mut document = json!({ "metadata": self.meta, "status": self.status });
        let version = self.meta.resource_version.as_deref();
        match request {
            Request::Status(fields) => json_patch::merge(&mut document, &status_body(fields, version)),
            Request::Metadata(patch) => json_patch::patch(&mut document, &patch.body(version)).unwrap(),
            Request::Secret(_) | Request::DeleteSecret(_) => panic!("{request:?}"),
        }
        self.meta = serde_json::from_value(document["metadata"].take()).unwrap();
        self.status = serde_json::from_value(document["status"].take()).unwrap();
        let version: u64 = self.meta.resource_version.as_ref().unwrap().parse().unwrap();
        self.meta.resource_version = Some((version + 1).to_string());
    }
}

fn status(operation: &str, state: &str) -> Value {
    let last = json!({ "type": operation, "state": state, "lastUpdateTime": "2026-08-20T10:15:30Z" });
    json!({ "observedGeneration": 1, "lastOperation": last })
}

const DROP_ADD: Change = Change::new(true, Finalizer::Add);
const DROP: Change = Change::new(true, Finalizer::Keep);
const DROP_REMOVE: Change = Change::new(true, Finalizer::Remove);
const ADD: Change = Change::new(false, Finalizer::Add);
const REMOVE: Change = Change::new(false, Finalizer::Remove);

fn writes(operation: OperationType, writes: &[Write]) -> Step {
    Step::write(operation, writes.to_vec())
}

fn succeeded() -> Write {
    Write::Status(Box::new(Report::plain(State::Succeeded)))
}

fn processing() -> Write {
    Write::Status(Box::new(Report::plain(State::Processing)))
}

#[test]
fn each_situation_has_its_step() {
    use OperationType::{Create, Delete, Migrate, Reconcile, Restore};
    let done = status("Reconcile", "Succeeded");
    let migrated = status("Migrate", "Succeeded");
    let request = Some("reconcile");
    for (situation, object, expected) in [
        ("create", Model::new(request, Value::Null), writes(Create, &[succeeded(), Write::Metadata(DROP_ADD)])),
        ("bare create", Model::new(None, Value::Null), writes(Create, &[succeeded(), Write::Metadata(ADD)])),
        (
            "reconcile",
            Model::new(request, done.clone()).held(),
            writes(Reconcile, &[succeeded(), Write::Metadata(DROP)]),
        ),
        ("rest", Model::new(None, done.clone()).held(), Step::Leave(Reason::Done)),
        ("lost finalizer", Model::new(None, done.clone()), writes(Reconcile, &[Write::Metadata(ADD)])),
        ("same second", Model::new(None, done.clone()).held().asked_at(NOW), Step::Leave(Reason::Done)),
        (
            "newer timestamp",
            Model::new(None, done.clone()).held().asked_at("2026-08-20T10:15:31Z"),
            writes(Reconcile, &[succeeded()]),
        ),
        ("unreadable", Model::new(None, done.clone()).held().asked_at("soon"), Step::Leave(Reason::Done)),
        ("half a create", Model::new(None, status("Create", "Processing")).held(), writes(Create, &[succeeded()])),
        ("error", Model::new(None, status("Create", "Error")).held(), Step::RetryAt(time("2026-08-20T10:15:40Z"))),
        ("wait", Model::new(Some("wait-for-state"), Value::Null).deleted(), Step::Leave(Reason::WaitsForState)),
        (
            "migrate",
            Model::new(Some("migrate"), done.clone()).held(),
            writes(Migrate, &[succeeded(), Write::Metadata(DROP_REMOVE)]),
        ),
        (
            "migrate beats deletion",
            Model::new(Some("migrate"), done.clone()).held().deleted(),
            writes(Migrate, &[succeeded(), Write::Metadata(DROP_REMOVE)]),
        ),
        (
            "half a migrate",
            Model::new(Some("migrate"), migrated.clone()).held(),
            writes(Migrate, &[Write::Metadata(DROP_REMOVE)]),
        ),
        (
            "half a migrate without annotation",
            Model::new(None, migrated.clone()).held(),
            writes(Migrate, &[Write::Metadata(REMOVE)]),
        ),
        ("reconcile after migrate", Model::new(request, migrated.clone()), Step::Leave(Reason::Migrated)),
        ("deletion after migrate", Model::new(None, migrated.clone()).deleted(), Step::Leave(Reason::Migrated)),
        (
            "restore after migrate",
            Model::new(Some("restore"), migrated),
            writes(Restore, &[succeeded(), Write::Metadata(DROP_ADD)]),
        ),
        ("delete", Model::new(request, done.clone()).held().deleted(), writes(Delete, &[Write::Metadata(REMOVE)])),
        ("deleted", Model::new(None, done).deleted(), Step::Leave(Reason::Released)),
    ] {
        assert_eq!(object.step(), expected, "{situation}");
    }
}

#[test]
fn a_watching_reader_sees_the_annotation_go_then_processing_then_success() {
    let next = |object: &Model| object.next(ClusterView::Unneeded, Reader::Watches, time(NOW));
    let create = Model::new(Some("reconcile"), Value::Null);
    let expected = writes(OperationType::Create, &[Write::Metadata(DROP_ADD), processing(), succeeded()]);
    assert_eq!(next(&create), expected);
    let migrate = Model::new(Some("migrate"), status("Create", "Succeeded")).held();
    let expected = writes(OperationType::Migrate, &[succeeded(), Write::Metadata(DROP_REMOVE)]);
    assert_eq!(next(&migrate), expected);
    let restore = Model::new(Some("restore"), Value::Null);
    let expected = writes(OperationType::Restore, &[processing(), succeeded(), Write::Metadata(DROP_ADD)]);
    assert_eq!(next(&restore), expected);
    let half = Model::new(None, status("Create", "Processing")).held();
    assert_eq!(next(&half), writes(OperationType::Create, &[succeeded()]));
}

/// The request of a gardenlet whose clock is ahead gives our errors its time.
#[test]
fn an_error_of_a_time_ahead_is_retried_after_ten_seconds_of_our_clock_each_time() {
    let (ahead, ten) = (Ahead::default(), SignedDuration::from_secs(10));
    let (mut object, mut now) = (Model::new(None, status("Create", "Error")).held(), time("2026-08-20T09:00:00Z"));
    for _ in 0..3 {
        let facts = ShootFacts::default();
        let next = |now| object.next_knowing(&ahead, None, ClusterView::Known(&facts), Reader::Polls, now);
        assert_eq!(next(now), Step::RetryAt(now + ten));
        now += ten;
        assert_eq!(next(now), writes(OperationType::Create, &[succeeded()]));
        let version: u64 = object.meta.resource_version.unwrap().parse().unwrap();
        object.meta.resource_version = Some((version + 1).to_string());
    }
}

#[test]
fn a_failed_or_force_deleted_shoot_decides_before_the_object() {
    let failed = ShootFacts { failed: true, ..ShootFacts::default() };
    let forced = ShootFacts { failed: true, force_deleted: true, ..ShootFacts::default() };
    let next = |object: &Model, cluster| object.next(cluster, Reader::Polls, time(NOW));
    let create = Model::new(Some("reconcile"), Value::Null);
    assert_eq!(next(&create, ClusterView::Missing), Step::Leave(Reason::WaitsForCluster));
    assert_eq!(next(&create, ClusterView::Known(&failed)), Step::Leave(Reason::ShootFailed));
    let deleted = Model::new(Some("wait-for-state"), Value::Null).held().deleted();
    let release = writes(OperationType::Delete, &[Write::Metadata(REMOVE)]);
    assert_eq!(next(&deleted, ClusterView::Known(&forced)), release);
    assert_eq!(next(&Model::new(None, Value::Null).held().deleted(), ClusterView::Missing), release);
}

#[test]
fn objects_of_other_types_and_classes_are_not_ours() {
    let types = ["mock".to_owned()];
    let ours = |provider: &str, class: Option<&str>| {
        let served = Served { types: &types, classes: &[Class::Shoot], finalizer: FINALIZER, kind: &kinds::NETWORK };
        served.includes(&Base { provider: provider.into(), class: class.map(Into::into), script: None })
    };
    assert!(ours("mock", None) && ours("mock", Some("")) && ours("mock", Some("shoot")));
    assert!(
        !ours("Mock", None) && !ours("mock2", None) && !ours("mock", Some("seed")) && !ours("mock", Some("garden"))
    );
}

mod by_kind;
mod confirmed;
mod properties;
mod scripted;
