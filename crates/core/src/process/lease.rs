//! Leader election with a Lease: among the processes of a controller, only the holder writes.
//!
//! Fields and durations are those of client-go (`tools/leaderelection`), so that every tool can read this Lease.
//! [`next`] decides, [`Election`] carries it out.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, ObjectMeta, PostParams, TypeMeta};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::process::message::whole;
use crate::process::metrics::Metrics;
use crate::process::outage::{Ended, Outage};

/// A Lease that was not renewed for this many seconds is free.
const LEASE_DURATION: i32 = 15;
/// A leader that could not renew for this long stops leading, before another process can start.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two attempts to acquire or to renew.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// Time limit of one request: several fit before the deadline.
const REQUEST: Duration = Duration::from_secs(3);

/// Name of the Lease that the processes of a controller share (Gardener's convention,
/// `charts/gardener/provider-local/templates/rbac.yaml`).
#[must_use]
pub fn name(name: &str) -> String {
    format!("{name}-leader-election")
}

/// What to do with the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseAction {
    /// The Lease does not exist: create it.
    Create(LeaseSpec),
    /// The Lease is ours or free: replace the Lease that was read.
    Update(LeaseSpec),
    /// Another process holds it.
    Held {
        /// Identity of that process.
        holder: String,
        /// Pause before the next attempt.
        pause: Duration,
    },
}

/// Decides for the process `identity`, whose wall clock says `now`.
///
/// `unchanged`: for how long this process has seen the Lease unchanged, by its own clock. The times in the Lease come
/// from another clock and are not compared.
#[must_use]
pub fn next(identity: &str, lease: Option<&LeaseSpec>, unchanged: Duration, now: Timestamp) -> LeaseAction {
    let acquired = |transitions| LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(LEASE_DURATION),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let Some(lease) = lease else { return LeaseAction::Create(acquired(0)) };
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    if holder == identity {
        return LeaseAction::Update(LeaseSpec {
            lease_duration_seconds: Some(LEASE_DURATION),
            renew_time: Some(MicroTime(now)),
            ..lease.clone()
        });
    }
    let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    let left = Duration::from_secs(seconds).saturating_sub(unchanged);
    if holder.is_empty() || left.is_zero() {
        LeaseAction::Update(acquired(lease.lease_transitions.unwrap_or_default().saturating_add(1)))
    } else {
        LeaseAction::Held { holder: holder.to_owned(), pause: left.min(RETRY_PERIOD) }
    }
}

/// Why a process stopped leading.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another process holds the Lease.
    #[error("{0} holds it now")]
    Taken(String),
    /// The API server did not answer or refused.
    #[error("it could not be renewed for {} s", RENEW_DEADLINE.as_secs())]
    NotRenewed,
}

/// Why a request about a Lease failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refused the request or is unavailable.
    // Not transparent: the log shows what is known about the source.
    #[error("{0}")]
    Request(#[from] kube::Error),
    /// The API server did not answer in time.
    #[error("no answer within {} s", REQUEST.as_secs())]
    TimedOut,
}

/// Reads a Lease's spec as far as it can be read. Also returns the names of the other fields.
///
/// Another program may have written it: a time that Go writes, such as one of the year 10000, must not keep all processes
/// from leading. An unreadable holder is one, and an unreadable duration is ours.
fn read(spec: &Value) -> (LeaseSpec, Vec<String>) {
    let (mut readable, mut unreadable) = (Map::new(), Vec::new());
    for (name, value) in spec.as_object().into_iter().flatten() {
        if LeaseSpec::deserialize(json!({ name: value })).is_ok() {
            readable.insert(name.clone(), value.clone());
        } else {
            unreadable.push(name.clone());
        }
    }
    let mut read = LeaseSpec::deserialize(Value::from(readable)).unwrap_or_default();
    if unreadable.iter().any(|name| name == "holderIdentity") {
        read.holder_identity = Some("a holder with an unreadable identity".to_owned());
    }
    if unreadable.iter().any(|name| name == "leaseDurationSeconds") {
        read.lease_duration_seconds = Some(LEASE_DURATION);
    }
    (read, unreadable)
}

/// The Lease to write.
fn written(metadata: ObjectMeta, spec: &LeaseSpec) -> DynamicObject {
    let types = Some(TypeMeta::resource::<Lease>());
    DynamicObject { types, metadata, data: json!({ "spec": spec }) }
}

fn spec_of(lease: &DynamicObject) -> Value {
    lease.data.get("spec").cloned().unwrap_or_default()
}

/// Limits the time of a request.
pub(crate) async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    Ok(timeout(REQUEST, request).await.map_err(|_| LeaseError::TimedOut)??)
}

/// How one attempt ended.
enum Attempt {
    /// The Lease is ours for another [`LEASE_DURATION`].
    Ours,
    /// Another process holds it. Try again after a pause.
    Held { holder: String, pause: Duration },
    /// A request failed, or another process was faster.
    Failed,
}

/// One process in the election.
#[derive(Debug)]
pub struct Election {
    api: Api<DynamicObject>,
    name: String,
    identity: String,
    metrics: Metrics,
    /// The Lease as read last, and since when it is unchanged.
    seen: (Option<Value>, Instant),
    /// The fields of it that cannot be read.
    unreadable: Vec<String>,
    outage: Outage,
    /// Start of the latest attempt that succeeded.
    renewed: Instant,
    /// Whether the Lease may be ours, because a write was sent.
    wrote: bool,
}

impl Election {
    /// The election among the processes of `controller`, in the client's default namespace.
    ///
    /// Fails if the system has no host name or no random numbers.
    pub fn new(client: Client, controller: &str, metrics: Metrics) -> std::io::Result<Self> {
        let host = hostname::get()?;
        Ok(Self {
            // Its fields are not decoded.
            api: Api::default_namespaced_with(client, &ApiResource::erase::<Lease>(&())),
            name: name(controller),
            identity: format!("{}_{:016x}", host.to_string_lossy(), getrandom::u64()?),
            metrics,
            seen: (None, Instant::now()),
            unreadable: Vec::new(),
            outage: Outage::default(),
            renewed: Instant::now(),
            wrote: false,
        })
    }

    /// Waits until this process holds the Lease.
    pub async fn acquire(&mut self) {
        let mut leader = String::new();
        loop {
            match self.attempt().await {
                Attempt::Ours => break,
                Attempt::Held { holder, pause } => {
                    if leader != holder {
                        tracing::info!(lease = self.name, %holder, "standing by, another process leads");
                        leader = holder;
                    }
                    sleep(pause).await;
                }
                Attempt::Failed => sleep(RETRY_PERIOD).await,
            }
        }
        tracing::info!(lease = self.name, identity = self.identity, "leading");
    }

    /// Renews the Lease until it is lost.
    pub async fn hold(&mut self) -> Lost {
        loop {
            match timeout_at(self.renewed + RENEW_DEADLINE, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(lost)) => return lost,
                Err(_) => return Lost::NotRenewed,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), Lost> {
        loop {
            sleep(RETRY_PERIOD).await;
            match self.attempt().await {
                Attempt::Ours => return Ok(()),
                Attempt::Held { holder, .. } => return Err(Lost::Taken(holder)),
                Attempt::Failed => {}
            }
        }
    }

    /// Releases the Lease if it is ours, so that another process need not wait until it expires.
    pub async fn release(&mut self) {
        if !self.wrote {
            return;
        }
        if let Err(error) = timeout(REQUEST, self.try_release()).await.map_err(|_| LeaseError::TimedOut).flatten() {
            self.metrics.count_error("lease");
            tracing::warn!(lease = self.name, error = whole(&error), "cannot release the Lease, it will expire");
        }
    }

    async fn try_release(&self) -> Result<(), LeaseError> {
        loop {
            let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            let (spec, _) = read(&spec_of(&lease));
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return Ok(());
            }
            let now = Some(MicroTime(Timestamp::now()));
            let spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: now.clone(),
                renew_time: now,
                ..spec
            };
            match self.api.replace(&self.name, &PostParams::default(), &written(lease.metadata, &spec)).await {
                // A renewal that timed out may have arrived nevertheless.
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                released => {
                    released?;
                    tracing::info!(lease = self.name, "released");
                    return Ok(());
                }
            }
        }
    }

    async fn attempt(&mut self) -> Attempt {
        let began = Instant::now();
        match self.try_attempt().await {
            Ok(attempt) => {
                if matches!(attempt, Attempt::Ours) {
                    self.renewed = began;
                }
                self.works(Instant::now());
                attempt
            }
            Err(LeaseError::Request(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                tracing::debug!(lease = self.name, "another process was faster");
                Attempt::Failed
            }
            Err(error) => {
                self.metrics.count_error("lease");
                if self.outage.failed(began.into_std()) {
                    let error = whole(&error);
                    tracing::warn!(lease = self.name, error, "cannot acquire or renew the Lease, retrying");
                }
                Attempt::Failed
            }
        }
    }

    async fn try_attempt(&mut self) -> Result<Attempt, LeaseError> {
        let lease = bounded(self.api.get_opt(&self.name)).await?;
        let metadata = lease.as_ref().map(|lease| lease.metadata.clone());
        let spec = lease.as_ref().map(spec_of);
        if self.seen.0 != spec {
            self.seen = (spec, Instant::now());
        }
        let read = self.seen.0.as_ref().map(read);
        let (spec, unreadable) = read.map_or_else(Default::default, |(spec, unreadable)| (Some(spec), unreadable));
        if unreadable != self.unreadable && !unreadable.is_empty() {
            tracing::warn!(lease = self.name, unreadable = unreadable.join(", "), "ignoring fields of the Lease");
        }
        self.unreadable = unreadable;
        let params = PostParams::default();
        match next(&self.identity, spec.as_ref(), self.seen.1.elapsed(), Timestamp::now()) {
            LeaseAction::Held { holder, pause } => return Ok(Attempt::Held { holder, pause }),
            LeaseAction::Create(spec) => {
                self.wrote = true;
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                bounded(self.api.create(&params, &written(metadata, &spec))).await?;
            }
            LeaseAction::Update(spec) => {
                self.wrote = true;
                // The version makes the API server refuse the write if another process was faster.
                let lease = written(metadata.unwrap_or_default(), &spec);
                bounded(self.api.replace(&self.name, &params, &lease)).await?;
            }
        }
        Ok(Attempt::Ours)
    }

    fn works(&mut self, now: Instant) {
        if let Some(Ended { lasted, failures }) = self.outage.ended(now.into_std()) {
            tracing::info!(lease = self.name, failures, "reached the Lease again after {:.1} s", lasted.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
