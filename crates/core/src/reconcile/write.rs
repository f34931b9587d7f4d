//! The writes of a step: what a report says, and how it goes over the wire.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use serde_json::{Map, Value};

use super::{Error, Round, Written, failed};
use crate::behaviour::{self, Act, Fault, Record};
use crate::contract::{OperationType, State};
use crate::decide::{self, Change, Object, RETRY, ShootFacts, Write};
use crate::extension::{Extension, Input, Invalid, Outcome};
use crate::patch::{self, Problem, Report};
use crate::watched::Kept;

/// Asks for an answer without spec and status, which are large and no news.
const METADATA_ONLY: http::HeaderValue =
    http::HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

impl<K: Extension> Round<'_, K> {
    pub(super) async fn write(
        &self,
        object: &K,
        facts: Option<&ShootFacts>,
        operation: OperationType,
        writes: &[Write],
    ) -> Result<Written, Error> {
        let mut meta = Box::new(object.meta().clone());
        let time = decide::update_time(&meta, Timestamp::now());
        let mut ended = None;
        for write in writes {
            let written = match write {
                Write::Metadata(change) => self.patch_metadata(&meta, *change).await?,
                Write::Conditions(record) => {
                    let mut fields = Map::new();
                    put_conditions(object, Some((**record).clone()), &mut fields);
                    self.patch_status(&meta, &patch::fields_only(&meta, &fields)).await?
                }
                Write::BadScript(invalid) => {
                    let mut report = Report::new(operation, State::Error, time);
                    self.refuse(&mut report, invalid);
                    ended = Some(State::Error);
                    self.patch_status(&meta, &patch::status(&meta, &report, Map::new())).await?
                }
                Write::Status(state) => {
                    let report = Report::new(operation, *state, time);
                    let body = self.report(object, &meta, facts, report, None, &mut ended).await?;
                    self.patch_status(&meta, &body).await?
                }
                Write::Scripted(act) => {
                    let report = Report::new(operation, act.state, time);
                    let body = self.report(object, &meta, facts, report, Some(act), &mut ended).await?;
                    self.patch_status(&meta, &body).await?
                }
            };
            match written {
                Written::Done(left) => meta = left,
                other => return Ok(other),
            }
        }
        let only_metadata = writes.iter().all(|write| matches!(write, Write::Metadata(_)));
        if let Some(ended) = ended.or(only_metadata.then_some(State::Succeeded)) {
            self.account(object, operation, ended, writes);
        }
        for write in writes {
            match write {
                Write::Scripted(act) if act.is_first => self.context.events.fired(object, &act.record).await,
                Write::BadScript(invalid) => self.context.events.bad_script(object, operation, invalid).await,
                _ => {}
            }
        }
        Ok(Written::Done(meta))
    }

    /// Body of the status for a report, with the outcome of the kind where it belongs to it.
    async fn report(
        &self,
        object: &K,
        meta: &ObjectMeta,
        facts: Option<&ShootFacts>,
        mut report: Report,
        act: Option<&Act>,
        ended: &mut Option<State>,
    ) -> Result<Value, Error> {
        let with_outcome = act.map_or(report.state == State::Succeeded, |act| act.with_outcome);
        let outcome = if with_outcome {
            self.outcome(object, facts, report.operation, report.time, act.map(|act| &act.record)).await?
        } else {
            Ok(Outcome::default())
        };
        let mut record = act.map(|act| act.record.clone());
        if report.state == State::Succeeded {
            report.fault = record.as_ref().and_then(Record::fault);
        }
        report.description = describe::<K>(report.operation, report.state);
        let mut fields = match outcome {
            Ok(outcome) => {
                for secret in &outcome.secrets {
                    self.apply(secret).await?;
                }
                outcome.status
            }
            Err(invalid) => {
                self.refuse(&mut report, &invalid);
                let due = report.time.saturating_add(RETRY).unwrap_or(report.time);
                record = record.map(|record| record.failed(due));
                Map::new()
            }
        };
        if let Some(act) = act.filter(|_| report.error.is_none()) {
            report.progress = act.progress;
            report.error = act.error.clone().map(|(description, codes)| Problem { description, codes });
            report.description = act.text.clone().unwrap_or(report.description);
        }
        if let Some(act) = act {
            report.description = format!("{} [script: {}]", report.description, act.record.label());
        }
        if report.state != State::Processing {
            *ended = Some(report.state);
        }
        // The first half of an unscripted operation leaves the bookkeeping to the second.
        if act.is_some() || report.state != State::Processing {
            put_conditions(object, record, &mut fields);
        }
        Ok(patch::status(meta, &report, fields))
    }

    /// Makes a report one of a value that cannot be used.
    fn refuse(&self, report: &mut Report, invalid: &Invalid) {
        tracing::warn!(namespace = self.key.0, name = self.key.1, error = %invalid,
            "{} failed: correct the field that the error names", report.operation.as_str());
        report.state = State::Error;
        report.description = format!("{} failed: {invalid}", report.operation.as_str());
        report.error = Some(Problem::from(invalid));
    }

    /// What the kind reports; an inner error is the object's fault, an outer one the API server's.
    async fn outcome(
        &self,
        object: &K,
        facts: Option<&ShootFacts>,
        operation: OperationType,
        time: Timestamp,
        record: Option<&Record>,
    ) -> Result<Result<Outcome, Invalid>, Error> {
        if operation == OperationType::Delete {
            return Ok(Ok(Outcome::default()));
        }
        if operation == OperationType::Migrate {
            return Ok(Ok(Outcome { status: object.migrated(), secrets: Vec::new() }));
        }
        let mut shoot = Arc::new(Ok(K::Shoot::default()));
        if let Some(cluster) = object.cluster().filter(|_| object.reads_shoot()) {
            let read = self.context.clusters.fresh(&self.context.client, cluster, self.crowded).await;
            // No error of the object's: the next round waits for the Cluster.
            shoot = failed("read", "Cluster", read)?.ok_or(Error::ClusterGone)?;
        }
        let shoot = match shoot.as_ref() {
            Ok(shoot) => shoot,
            Err(invalid) => return Ok(Err(invalid.clone())),
        };
        let technical_id = technical_id(object, facts);
        let options = &self.context.options;
        let repeat_time = record.and_then(Record::fault) == Some(Fault::RepeatTime);
        let failed_pools = record.map(Record::failed_pools).unwrap_or_default();
        Ok(object.outcome(&Input { options, time, technical_id, repeat_time, failed_pools, shoot }))
    }

    fn account(&self, object: &K, operation: OperationType, ended: State, writes: &[Write]) {
        let metrics = &self.context.metrics;
        let outcome = if ended == State::Succeeded { "Succeeded" } else { "Error" };
        metrics.reconciles.with_label_values(&[operation.as_str(), outcome]).inc();
        // Without the annotation the timestamp may be that of a request served long ago.
        let served = Object { meta: object.meta(), base: object.base(), status: object.status() };
        let asked = served.timestamp_is_news()
            || writes.iter().any(|write| match write {
                Write::Metadata(change) => change.drop_operation,
                Write::Scripted(_) => true,
                _ => false,
            });
        if let (true, "Succeeded", Some(requested)) = (asked, outcome, decide::requested_at(object.meta())) {
            let seconds = Timestamp::now().duration_since(requested).as_secs_f64();
            metrics.duration.with_label_values(&[operation.as_str()]).observe(seconds.max(0.0));
        }
        let script = writes.iter().find_map(|write| match write {
            Write::Scripted(act) => Some(act.record.label()),
            _ => None,
        });
        tracing::info!(namespace = self.key.0, name = self.key.1, script, "{} {outcome}", operation.as_str());
    }

    async fn patch_status(&self, meta: &ObjectMeta, body: &Value) -> Result<Written, Error> {
        let body = Patch::Merge(body);
        let request = self.request().patch_subresource("status", &self.key.1, &self.params(), &body);
        self.send("status", meta, request).await
    }

    async fn patch_metadata(&self, meta: &ObjectMeta, change: Change) -> Result<Written, Error> {
        let operations = patch::metadata(meta, change, K::FINALIZER);
        let body = Patch::Json::<()>(serde_json::from_value(operations)?);
        let request = self.request().patch(&self.key.1, &self.params(), &body);
        self.send("metadata", meta, request).await
    }

    async fn apply(&self, secret: &Secret) -> Result<(), Error> {
        let api = Api::<Secret>::namespaced(self.context.client.clone(), &self.key.0);
        let params = PatchParams::apply(&self.context.name).force();
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        let applied = api.patch(name, &params, &Patch::Apply(secret)).await;
        self.count("secret", if applied.is_ok() { "ok" } else { "failed" });
        failed("apply", "Secret", applied).map(drop)
    }

    async fn send(
        &self,
        target: &'static str,
        meta: &ObjectMeta,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Written, Error> {
        let mut request = failed("patch", target, request.map_err(kube::Error::BuildRequest))?;
        request.headers_mut().insert(http::header::ACCEPT, METADATA_ONLY);
        match self.context.client.request::<Kept>(request).await {
            Ok(object) => {
                self.count(target, "ok");
                self.context.objects.written(self.key, &object.metadata);
                Ok(Written::Done(Box::new(object.metadata)))
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                tracing::debug!(namespace = self.key.0, name = self.key.1, target, %status, "gone");
                Ok(Written::Gone)
            }
            // 422 is what a failed test of a JSON patch answers, but a validation does as well.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.code == 422 => {
                self.count(target, "conflict");
                tracing::debug!(namespace = self.key.0, name = self.key.1, target, %status, "does not fit any more");
                let refusal = Error::Request { verb: "patch", target, source: Box::new(kube::Error::Api(status)) };
                Ok(Written::Conflict { version: meta.resource_version.clone(), refusal })
            }
            Err(error) => {
                self.count(target, "failed");
                failed("patch", target, Err(error))
            }
        }
    }

    fn params(&self) -> PatchParams {
        PatchParams { field_manager: Some(self.context.name.clone()), ..PatchParams::default() }
    }

    fn count(&self, target: &str, outcome: &str) {
        self.context.metrics.writes.with_label_values(&[target, outcome]).inc();
    }
}

/// Puts the bookkeeping of a script, and its health conditions, among the conditions.
fn put_conditions<K: Extension>(object: &K, record: Option<Record>, fields: &mut Map<String, Value>) {
    let reported = fields.get("conditions").and_then(Value::as_array);
    let there = object.status().and_then(|status| status.conditions.as_ref());
    let existing = reported.or(there).map(Vec::as_slice).unwrap_or_default();
    if let Some(conditions) = behaviour::conditions(existing, record, Timestamp::now()) {
        fields.insert("conditions".to_owned(), Value::Array(conditions));
    }
}

/// The shoot's name in the seed.
pub(super) fn technical_id<'a, K: Extension>(object: &'a K, facts: Option<&'a ShootFacts>) -> &'a str {
    let technical_id = facts.map(|facts| facts.technical_id.as_str()).filter(|id| !id.is_empty());
    technical_id.or(object.cluster()).unwrap_or_default()
}

fn describe<K: Extension>(operation: OperationType, state: State) -> String {
    let kind = K::kind(&());
    match (state, operation) {
        (State::Succeeded, OperationType::Create) => format!("{kind} created: nothing was built, there is no cloud"),
        (State::Succeeded, OperationType::Migrate) => format!("{kind} migrated: another seed may take over"),
        (State::Succeeded, OperationType::Restore) => format!("{kind} restored from the state of another seed"),
        (State::Succeeded, _) => format!("{kind} reconciled: nothing was built, there is no cloud"),
        _ => format!("{} of {kind} is under way", operation.as_str()),
    }
}
