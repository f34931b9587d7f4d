//! A controller that keeps the whole contract, unless it is told to make one mistake.

mod leaving;
mod writes;

use std::collections::BTreeMap;
use std::time::Duration;

use extension_conformance::object::{annotation, finalizers, last, text};
use extension_contract::kinds::{Class, HasCluster, Kind, Reader};
use extension_contract::{
    GROUP, OPERATION_ANNOTATION, OperationAnnotation as Asked, SHOOT_NAMESPACE, TIMESTAMP_ANNOTATION, VERSION,
    whole_seconds,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::mutation::Mutation as M;

/// The finalizer of the controller.
pub(crate) const FINALIZER: &str = "t.example.org/broken";

/// Longer than a rule takes for two requests.
const SOON: SignedDuration = SignedDuration::from_mins(1);

/// A controller of one kind and type.
pub(crate) struct Controller {
    pub(crate) client: Client,
    pub(crate) kind: &'static Kind,
    pub(crate) type_: String,
    /// The mistake that it makes.
    pub(crate) mutation: Option<M>,
}

/// What is known of an object's Cluster.
enum Cluster {
    Unneeded,
    Missing,
    Shoot(Value),
}

/// The state of one object, and where it is.
struct Turn<'a> {
    controller: &'a Controller,
    api: Api<DynamicObject>,
    name: String,
    object: Value,
}

fn api(client: &Client, kind: &str, plural: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

impl Controller {
    /// Serves objects for ever, one after the other in the order of their changes.
    pub(crate) async fn serve(self) {
        let all = api(&self.client, self.kind.name, self.kind.plural, None);
        let objects = watcher(all, watcher::Config::default()).default_backoff().map(|event| (true, event));
        let clusters = api(&self.client, "Cluster", "clusters", None);
        let clusters = watcher(clusters, watcher::Config::default()).default_backoff().map(|event| (false, event));
        let mut events = Box::pin(futures::stream::select(objects, clusters));
        let mut known = BTreeMap::<(String, String), Value>::new();
        while let Some((is_object, event)) = events.next().await {
            let is_found = matches!(event, Ok(Event::InitApply(_)));
            let object = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => object,
                Ok(Event::Delete(object)) if is_object => {
                    known.remove(&(object.namespace().unwrap_or_default(), object.name_any()));
                    continue;
                }
                _ => continue,
            };
            if is_object {
                let value = json!(object);
                let before = known.insert((object.namespace().unwrap_or_default(), object.name_any()), value.clone());
                let is_known = before.is_some_and(|before| before.pointer("/metadata/deletionTimestamp").is_some());
                let is_ignored = is_found && self.makes(M::IgnoresTheFound) || is_known && self.makes(M::DeletesOnce);
                if !is_ignored {
                    self.reconcile(value, false).await;
                }
            } else if !self.makes(M::IgnoresCluster) && !self.makes(M::DeletesOnce) {
                let namespace = object.name_any();
                for ((of, _), value) in known.clone() {
                    if of == namespace {
                        self.reconcile(value, self.makes(M::FollowsCluster)).await;
                    }
                }
            }
        }
    }

    fn makes(&self, mutation: M) -> bool {
        self.mutation == Some(mutation)
    }

    async fn reconcile(&self, object: Value, is_forced: bool) {
        let namespace = text(&object, "/metadata/namespace").to_owned();
        let api = api(&self.client, self.kind.name, self.kind.plural, self.kind.namespaced.then_some(&namespace));
        let name = text(&object, "/metadata/name").to_owned();
        let mut turn = Turn { controller: self, api, name, object };
        if self.makes(M::RemovesBlindly) {
            let Ok(Some(newest)) = turn.api.get_opt(&turn.name).await else { return };
            turn.object = json!(newest);
        }
        // An object that is gone, or a refusal: the next event comes anyway. Other errors are tried again, for no event
        // follows them.
        loop {
            match turn.run(is_forced).await {
                Err(kube::Error::Api(status)) if status.code == 409 && self.makes(M::GivesUpOnConflict) => {
                    let last = turn.last_operation("Reconcile", "Error", 50);
                    let _ = turn.status_unlocked(json!({ "lastOperation": last })).await;
                    return;
                }
                Err(kube::Error::Api(status)) if [404, 422].contains(&status.code) => return,
                Err(kube::Error::Api(status)) if status.code == 409 => match turn.api.get_opt(&turn.name).await {
                    Ok(Some(object)) => turn.object = json!(object),
                    _ => return,
                },
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(()) => return,
            }
        }
    }

    fn serves(&self, object: &Value) -> bool {
        let (type_, class) = (text(object, "/spec/type"), text(object, "/spec/class"));
        let is_type =
            if self.makes(M::AnyCase) { type_.eq_ignore_ascii_case(&self.type_) } else { type_ == self.type_ };
        let is_class = match self.mutation {
            Some(M::AnyClass) => true,
            Some(M::NoClass) => class.is_empty(),
            _ => Class::Shoot.is(Some(class)),
        };
        is_type && is_class
    }

    async fn cluster(&self, namespace: &str) -> kube::Result<Cluster> {
        let labelled = async || {
            let namespaces = Api::<Namespace>::all(self.client.clone());
            let found = namespaces.get_opt(namespace).await?;
            let (key, value) = SHOOT_NAMESPACE;
            Ok::<_, kube::Error>(found.is_some_and(|found| found.labels().get(key).is_some_and(|is| is == value)))
        };
        let belongs = match self.kind.has_cluster {
            HasCluster::Never => false,
            HasCluster::Always => true,
            HasCluster::InShootNamespaces if self.makes(M::ClusterEverywhere) => true,
            HasCluster::InShootNamespaces => labelled().await? || self.makes(M::ClusterByName),
        };
        if !belongs {
            return Ok(Cluster::Unneeded);
        }
        let cluster = api(&self.client, "Cluster", "clusters", None).get_opt(namespace).await?;
        let shoot = cluster.and_then(|cluster| json!(cluster).pointer("/spec/shoot").cloned());
        let is_valid = |shoot: &Value| {
            let state = shoot.pointer("/status/lastOperation/state");
            state.is_none_or(Value::is_string) || self.makes(M::TrustsCluster)
        };
        Ok(match shoot.filter(is_valid) {
            Some(shoot) => Cluster::Shoot(shoot),
            None if self.makes(M::ServesWithoutCluster) || self.makes(M::ClusterByName) => Cluster::Unneeded,
            None => Cluster::Missing,
        })
    }
}

impl Turn<'_> {
    fn makes(&self, mutation: M) -> bool {
        self.controller.makes(mutation)
    }

    async fn run(&mut self, is_forced: bool) -> kube::Result<()> {
        if !self.controller.serves(&self.object) {
            return Ok(());
        }
        let is_deleted = self.object.pointer("/metadata/deletionTimestamp").is_some();
        let cluster = self.controller.cluster(text(&self.object, "/metadata/namespace")).await?;
        let shoot = if let Cluster::Shoot(shoot) = &cluster { shoot.clone() } else { Value::Null };
        let asked = match annotation(&self.object, OPERATION_ANNOTATION) {
            Some(_) if self.makes(M::ServesUnknown) => Some(Asked::Reconcile),
            asked => asked.and_then(Asked::parse),
        };
        let asked =
            asked.filter(|asked| self.controller.kind.migrates || !matches!(asked, Asked::Migrate | Asked::Restore));
        let is_failed = text(&shoot, "/status/lastOperation/state") == "Failed"
            && self.controller.kind.skips_failed_shoots
            && !self.makes(M::ServesFailed);
        if is_deleted && self.is_force_deleted(&shoot) {
            return if self.makes(M::DeletesAsUsual) { self.delete().await } else { self.release().await };
        }
        if asked == Some(Asked::WaitForState) && !self.makes(M::ServesWaitForState) || is_failed {
            return Ok(());
        }
        if shoot.pointer("/spec/hibernation/enabled") == Some(&json!(true)) && self.makes(M::SkipsHibernated) {
            return Ok(());
        }
        let lacks_cluster = matches!(cluster, Cluster::Missing);
        if lacks_cluster && self.makes(M::AlwaysNeedsCluster) {
            return Ok(());
        }
        if is_deleted && self.makes(M::DeletesBeforeMigrating) {
            return self.release().await;
        }
        let is_migrated = last(&self.object) == "Migrate/Succeeded";
        match asked {
            Some(Asked::Migrate) => return self.migrate(is_migrated).await,
            Some(Asked::Restore) => {}
            _ if is_migrated && !self.makes(M::ServesMigrated) => {
                if self.makes(M::WritesMigrated) {
                    self.status(json!({ "lastOperation": self.last_operation("Migrate", "Succeeded", 100) })).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        if is_deleted {
            return self.delete().await;
        }
        if lacks_cluster || !(is_forced || self.is_requested(asked)) {
            return Ok(());
        }
        self.operate(asked).await
    }

    fn is_held(&self) -> bool {
        finalizers(&self.object).contains(&FINALIZER)
    }

    fn is_requested(&self, asked: Option<Asked>) -> bool {
        let object = &self.object;
        let updated: Option<Timestamp> = text(object, "/status/lastOperation/lastUpdateTime").parse().ok();
        let timestamp = annotation(object, TIMESTAMP_ANNOTATION);
        let requested: Option<Timestamp> = timestamp.and_then(|time| time.parse().ok()).map(whole_seconds);
        let is_soon =
            requested.zip(updated).is_some_and(|(requested, updated)| requested.duration_since(updated) < SOON);
        if asked.is_some() {
            return !(self.makes(M::IgnoresSoon) && is_soon);
        }
        let Some(state) = object.pointer("/status/lastOperation/state").and_then(Value::as_str) else {
            return !self.makes(M::IgnoresUnannotated);
        };
        let is_current = object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation");
        let has_error = object.pointer("/status/lastError").is_some();
        match state {
            _ if self.makes(M::OnlyAnnotated) || self.makes(M::RemovesBlindly) => false,
            _ if self.makes(M::WritesAtRest) => true,
            _ if self.makes(M::ServesUnreadable) && timestamp.is_some() && requested.is_none() => true,
            "Error" | "Failed" => !(self.makes(M::NeverRetries) || self.makes(M::GivesUpOnConflict)),
            "Succeeded" if has_error && !self.makes(M::IgnoresLastError) && !self.makes(M::LeavesLastError) => true,
            "Succeeded" => !is_current || requested > updated && !self.makes(M::PastTime) && !self.makes(M::OwnClock),
            _ => true,
        }
    }

    async fn operate(&mut self, asked: Option<Asked>) -> kube::Result<()> {
        let operation = self.operation(asked);
        let is_watched = self.controller.kind.reader == Reader::Watches;
        let is_early = is_watched && asked != Some(Asked::Restore) && !self.makes(M::StatusFirst);
        if self.makes(M::WritesSpec) {
            self.patch(json!({ "spec": { "providerConfig": { "default": true } } })).await?;
        }
        if is_early {
            self.metadata(asked).await?;
        }
        if is_watched && !self.makes(M::NoProcessing) {
            self.status(json!({ "lastOperation": self.last_operation(operation, "Processing", 1) })).await?;
        }
        if self.makes(M::RemovesBlindly) {
            // A busy machine needs that long for the next request.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let progress = if self.makes(M::NoProgress) { 1 } else { 100 };
        let mut status = json!({ "lastOperation": self.last_operation(operation, "Succeeded", progress) });
        let generation = self.object.pointer("/metadata/generation").cloned().unwrap_or_default();
        if let Some(fields) = status.as_object_mut() {
            if !self.makes(M::LateGeneration) {
                fields.insert("observedGeneration".to_owned(), generation.clone());
            }
            if !self.makes(M::LeavesLastError) {
                fields.insert("lastError".to_owned(), Value::Null);
            }
            if let Some(created) = self.controller.kind.created.filter(|_| !self.makes(M::NoCondition)) {
                let now = whole_seconds(Timestamp::now()).to_string();
                let condition = json!({ "type": created, "status": "True", "reason": "Made", "message": "made",
                    "lastTransitionTime": now, "lastUpdateTime": now });
                fields.insert("conditions".to_owned(), json!([condition]));
            }
            if self.makes(M::DropsState) && operation == "Restore" {
                fields.insert("state".to_owned(), Value::Null);
            }
        }
        if self.makes(M::RemovesBlindly) || self.makes(M::WritesBack) {
            self.status_unlocked(status).await?;
        } else {
            self.status(status).await?;
        }
        if self.makes(M::LateGeneration) {
            self.status(json!({ "observedGeneration": generation })).await?;
        }
        if is_early { Ok(()) } else { self.metadata(asked).await }
    }

    fn operation(&self, asked: Option<Asked>) -> &'static str {
        let state = text(&self.object, "/status/lastOperation/state");
        match (asked, text(&self.object, "/status/lastOperation/type")) {
            _ if self.makes(M::AlwaysCreate) => "Create",
            (Some(Asked::Restore), _) if self.makes(M::RestoresAsReconcile) => "Reconcile",
            (Some(Asked::Restore), _) => "Restore",
            (_, "") => "Create",
            (_, "Create") if state != "Succeeded" && !self.makes(M::ForgetsOperation) => "Create",
            (_, "Restore") if state != "Succeeded" && !self.makes(M::ForgetsOperation) => "Restore",
            (_, "Migrate") if state != "Succeeded" && !self.makes(M::ForgetsOperation) => "Migrate",
            _ => "Reconcile",
        }
    }

    /// Adds the finalizer and removes the annotation.
    async fn metadata(&mut self, asked: Option<Asked>) -> kube::Result<()> {
        let mut held: Vec<String> = finalizers(&self.object).into_iter().map(str::to_owned).collect();
        let own = if self.makes(M::WrongFinalizer) { "t.example.org/other-name" } else { FINALIZER };
        let is_finished_migration = last(&self.object) == "Migrate/Succeeded";
        let mut metadata = json!({});
        if !held.iter().any(|held| held == own) && !self.makes(M::NoFinalizer) && !is_finished_migration {
            held.push(own.to_owned());
            metadata["finalizers"] = json!(held);
        }
        let leaves = self.makes(M::LeavesRestore) && asked.is_some();
        let mut annotations = json!({});
        if asked.is_some() && !leaves {
            annotations[OPERATION_ANNOTATION] = Value::Null;
        }
        if let (Some(timestamp), true) =
            (annotation(&self.object, TIMESTAMP_ANNOTATION), self.makes(M::RewritesTimestamp))
        {
            annotations[TIMESTAMP_ANNOTATION] =
                timestamp.parse().map(|time| whole_seconds(time).to_string()).unwrap_or_default().into();
        }
        if self.makes(M::WritesBack) {
            self.until_labelled_anew().await?;
            let mut back = self.object.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
            back[OPERATION_ANNOTATION] = Value::Null;
            let labels = self.object.pointer("/metadata/labels").cloned().unwrap_or_default();
            return self
                .send(json!({ "metadata": { "annotations": back, "labels": labels, "finalizers": held } }))
                .await;
        }
        metadata["annotations"] = annotations;
        if metadata == json!({ "annotations": {} }) {
            return Ok(());
        }
        let patch = json!({ "metadata": metadata });
        if self.makes(M::RemovesBlindly) { self.send(patch).await } else { self.patch(patch).await }
    }

    /// Waits until another writer has changed a label: what was read is stale then.
    async fn until_labelled_anew(&self) -> kube::Result<()> {
        let labels = |object: &Value| object.pointer("/metadata/labels").cloned();
        while labels(&json!(self.api.get(&self.name).await?)) == labels(&self.object) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
