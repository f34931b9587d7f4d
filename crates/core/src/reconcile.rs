//! One reconcile of one object: decide, get the kind's outcome, compose, send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use extension_contract::{OperationType, State, requested_at, unreadable_timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::GetParams;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::context::{ClusterOf, Context};
use crate::decide::decide;
use crate::decide::plan::{Change, Finalizer, Plan, Reason, Report, Step};
use crate::error::{CONFLICTS, Error, RECONCILE_TIMEOUT, failed};
use crate::invalid::Invalid;
use crate::kind::{MockKind, Object, Outcome, SecretKey};
use crate::process::message::whole;
use crate::round::Round;
use crate::script::source::File;
use crate::send::{Sent, send};
use crate::watch::decode::Guarded;
use crate::watch::key::Key;
use crate::write::compose::{self, Composed, compose, report_with_outcome};
use crate::write::patch::{MetadataPatch, Request};

/// A step that is due is retried a little later, so that the next decision does not find itself early.
const AFTER_DUE: Duration = Duration::from_millis(50);

/// Delay of the next reconcile of an object that a request has not found. The event of its deletion cancels it. Without
/// such an event, something between here and the API server has answered.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Delay of the next reconcile if nothing changes. `None` means that none is needed.
type Requeue = Option<Duration>;

/// Reconciles one object. Changes that arrive from now on trigger another reconcile.
pub async fn reconcile<K: MockKind>(object: Arc<Guarded<K>>, context: Arc<Context<K>>, key: Key) {
    // A reconcile without a request would not yield: at the start there are thousands of those.
    consume_budget().await;
    let requeue = match &object.0 {
        Ok(object) => {
            try_reconcile(object, &context, &key).await.unwrap_or_else(|error| Some(retry(&context, &key, &error)))
        }
        Err(undecodable) => {
            context.metrics.count_error("undecodable");
            let Invalid { field, problem } = &undecodable.invalid;
            let (namespace, name) = (&key.namespace, &key.name);
            tracing::warn!(
                namespace,
                name,
                field,
                error = problem,
                "the object cannot be decoded and is ignored until it is deleted: correct the field"
            );
            release(&undecodable.metadata, &context, &key)
                .await
                .unwrap_or_else(|error| Some(retry(&context, &key, &error)))
        }
    };
    context.queue.done(&key, requeue);
}

/// Notes and logs that a reconcile failed. Returns the pause before the next one.
fn retry<K: MockKind>(context: &Context<K>, key: &Key, error: &Error) -> Duration {
    let reason = if matches!(error, Error::TimedOut) { "timeout" } else { "request" };
    context.metrics.count_error(reason);
    let pause = context.memory.failed(key, error.retry_after());
    let Key { namespace, name } = key;
    tracing::warn!(namespace, name, error = whole(error), "reconcile failed, retrying in {pause:?}");
    pause
}

/// Lets go of a deleted object that cannot be decoded: deletion needs its metadata alone.
async fn release<K: MockKind>(meta: &ObjectMeta, context: &Context<K>, key: &Key) -> Result<Requeue, Error> {
    let is_ours = meta.finalizers.iter().flatten().any(|held| held == K::FINALIZER);
    if meta.deletion_timestamp.is_none() || !is_ours || context.memory.is_stale(key, meta) {
        return Ok(None);
    }
    let change = Change { drop_operation: false, finalizer: Finalizer::Remove, strip_timestamp: false };
    let leftovers = K::leftovers(meta).into_iter().map(Request::DeleteSecret);
    let released = Request::Metadata(MetadataPatch::new(meta, change, K::FINALIZER));
    let requests: Vec<_> = leftovers.chain([released]).collect();
    let sent = timeout(RECONCILE_TIMEOUT, send(context, key, meta, &requests)).await;
    match sent.unwrap_or(Err(Error::TimedOut))? {
        Sent::Done => {
            context.succeeded(key);
            tracing::info!(namespace = key.namespace, name = key.name, "Delete Succeeded");
            Ok(None)
        }
        Sent::Gone => Ok(Some(LOOK_AGAIN)),
        Sent::Refused(refusal) => Err(refusal.into_error()),
    }
}

async fn try_reconcile<K: MockKind>(object: &Object<K>, context: &Context<K>, key: &Key) -> Result<Requeue, Error> {
    if context.memory.is_stale(key, &object.metadata) {
        return Ok(None);
    }
    if let Some(pause) = context.memory.pause(key, &object.metadata) {
        return Ok(Some(pause));
    }
    let reconcile = Reconcile { context, key, now: Timestamp::now(), started: Instant::now() };
    context.metrics.in_flight.inc();
    let ended = timeout(RECONCILE_TIMEOUT, reconcile.run(object)).await;
    context.metrics.in_flight.dec();
    let requeue = ended.unwrap_or(Err(Error::TimedOut))?;
    context.succeeded(key);
    Ok(requeue)
}

struct Reconcile<'a, K: MockKind> {
    context: &'a Context<K>,
    key: &'a Key,
    /// The only reading of the clock.
    now: Timestamp,
    /// The same moment, for measuring how long the reconcile takes.
    started: Instant,
}

impl<K: MockKind> Reconcile<'_, K> {
    async fn run(&self, object: &Object<K>) -> Result<Requeue, Error> {
        let mut fresh = None;
        for _ in 0..CONFLICTS {
            let object = fresh.as_ref().unwrap_or(object);
            let cluster = self.context.cluster(object);
            let lead = |identity: &str, written| self.lead(identity, written);
            let round = Round { object, facts: cluster.facts(), now: self.now, lead: &lead };
            let scripting = round.scripting(self.context.script.as_ref().map(File::script));
            let plan = match decide(round.view(), cluster.view(), &self.context.served(), &scripting, self.now) {
                Step::Leave(reason) => {
                    self.log_left(object, reason);
                    return Ok(None);
                }
                Step::RetryAt(due) => {
                    let pause = Duration::try_from(due.duration_since(self.now)).unwrap_or_default();
                    return Ok(Some(pause.saturating_add(AFTER_DUE)));
                }
                Step::Write(plan) => plan,
            };
            match self.write(&round, &cluster, &plan).await? {
                Sent::Done => return Ok(None),
                Sent::Gone => return Ok(Some(LOOK_AGAIN)),
                Sent::Refused(refusal) => match self.read().await? {
                    // The object has not changed: the API server, or one of its webhooks, does not accept this write.
                    Some(object) if object.metadata.resource_version == refusal.version => {
                        return Err(refusal.into_error());
                    }
                    Some(object) => fresh = Some(object),
                    None => return Ok(Some(LOOK_AGAIN)),
                },
            }
        }
        Err(Error::Conflicts)
    }

    /// How far `written` was ahead of our clock; see [`Ahead`](crate::watch::ahead::Ahead).
    fn lead(&self, identity: &str, written: Timestamp) -> SignedDuration {
        self.context.ahead.lead(self.key, identity, written, self.now)
    }

    fn log_left(&self, object: &Object<K>, reason: Reason) {
        let Key { namespace, name } = self.key;
        if reason == Reason::WaitsForCluster {
            tracing::info!(namespace, name, "waiting for the Cluster");
        } else {
            tracing::debug!(namespace, name, ?reason, "nothing to do");
        }
        if reason != Reason::Foreign
            && let Some(timestamp) = unreadable_timestamp(&object.metadata)
        {
            tracing::warn!(
                namespace,
                name,
                value = timestamp,
                "ignoring annotation gardener.cloud/timestamp: it is not an RFC 3339 time"
            );
        }
    }

    /// Carries out a plan. On success, logs and counts the result and publishes its Events.
    async fn write(&self, round: &Round<'_, K>, cluster: &ClusterOf<'_>, plan: &Plan) -> Result<Sent, Error> {
        let outcome = match report_with_outcome(plan, !K::EARLY.is_empty()) {
            Some(report) => self.outcome(round, cluster, plan.operation, report).await?,
            None => Ok(Outcome::default()),
        };
        match self.carry_out(round, plan, outcome).await {
            Err(error) => match error.as_last_error() {
                None => Err(error),
                Some(last_error) => {
                    let Key { namespace, name } = self.key;
                    tracing::warn!(namespace, name, error = last_error.description, "a write was refused");
                    self.carry_out(round, &plan.refused(last_error), Ok(Outcome::default())).await
                }
            },
            sent => sent,
        }
    }

    async fn carry_out(
        &self,
        round: &Round<'_, K>,
        plan: &Plan,
        outcome: Result<Outcome, Invalid>,
    ) -> Result<Sent, Error> {
        let object = round.object;
        let composed = compose(plan, &compose::Target::of(object), outcome, self.now);
        let sent = send(self.context, self.key, &object.metadata, &composed.requests).await?;
        if matches!(sent, Sent::Done) {
            self.log_ended(round, plan.operation, &composed);
            self.context.events.publish(object, plan.operation, &composed.events);
        }
        Ok(sent)
    }

    /// What the kind reports. An inner error is an invalid value in the object or its Cluster; an outer error is a
    /// failed request.
    async fn outcome(
        &self,
        round: &Round<'_, K>,
        cluster: &ClusterOf<'_>,
        operation: OperationType,
        report: &Report,
    ) -> Result<Result<Outcome, Invalid>, Error> {
        if let Some(outcome) = Outcome::without_kind::<K>(operation) {
            return Ok(Ok(outcome));
        }
        let mut shoot = Arc::new(Ok(K::Shoot::default()));
        if let ClusterOf::Known(cluster, _) = cluster
            && round.object.spec.reads_shoot()
        {
            let Context { client, clusters, .. } = self.context;
            let read = clusters.shoot(client, cluster, self.context.effort()).await;
            // Not the object's fault: the next reconcile waits for the Cluster.
            shoot = failed("read", "Cluster", read)?.ok_or(Error::ClusterGone)?;
        }
        let shoot = match shoot.as_ref() {
            Ok(shoot) => shoot,
            Err(invalid) => return Ok(Err(invalid.clone())),
        };
        let secret = match round.secret() {
            Err(invalid) => return Ok(Err(invalid)),
            Ok(None) => None,
            Ok(Some(key)) => match self.secret(&key).await? {
                Some(secret) => Some(secret),
                None => return Ok(Err(key.missing())),
            },
        };
        Ok(round.outcome(&self.context.options, report, shoot, secret.as_ref()))
    }

    async fn secret(&self, key: &SecretKey) -> Result<Option<Secret>, Error> {
        let api = Api::<Secret>::namespaced(self.context.client.clone(), &key.namespace);
        failed("read", "Secret", api.get_opt(&key.name).await)
    }

    /// Logs and counts an operation that ended.
    fn log_ended(&self, round: &Round<'_, K>, operation: OperationType, composed: &Composed) {
        let Some(ended) = composed.ended else { return };
        let Key { namespace, name } = self.key;
        if let Some(invalid) = &composed.refusal {
            let field = &invalid.field;
            tracing::warn!(namespace, name, field, error = %invalid, "{} failed: correct the field", operation.as_str());
        }
        let outcome = if ended == State::Succeeded { "Succeeded" } else { "Error" };
        let metrics = &self.context.metrics;
        metrics.reconciles.with_label_values(&[operation.as_str(), outcome]).inc();
        // Without a new request the timestamp may belong to one that was done long ago.
        let is_answer = composed.is_answer || round.view().timestamp_is_news();
        if let (true, State::Succeeded, Some(requested)) = (is_answer, ended, requested_at(&round.object.metadata)) {
            let seconds = self.now.duration_since(requested).as_secs_f64() + self.started.elapsed().as_secs_f64();
            metrics.duration.with_label_values(&[operation.as_str()]).observe(seconds.max(0.0));
        }
        tracing::info!(namespace, name, script = composed.script, "{} {outcome}", operation.as_str());
    }

    async fn read(&self) -> Result<Option<Object<K>>, Error> {
        let request = self.key.request::<K>().get(&self.key.name, &GetParams::default());
        let request = failed("read", "object", request.map_err(kube::Error::BuildRequest))?;
        match self.context.client.request::<Object<K>>(request).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Ok(object) if Key::of(&object) != *self.key => Err(Error::OddAnswer { verb: "read", target: "object" }),
            read => failed("read", "object", read).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
