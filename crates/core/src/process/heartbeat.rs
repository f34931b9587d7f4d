//! The heartbeat: a Lease by which gardenlet's care controller sees that the extension is alive
//! (`extensions/pkg/controller/heartbeat`, `pkg/gardenlet/controller/shoot/care/health.go`).

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use tokio::time::sleep;

use crate::process::lease::bounded;
use crate::process::message::whole;
use crate::process::metrics::Metrics;
use crate::process::outage::{Ended, Outage};

/// Name of the Lease. Each extension has its own namespace (`pkg/extensions/constants.go`).
pub const NAME: &str = "gardener-extension-heartbeat";

/// Pause after a failed renewal, unless the interval is shorter.
const RETRY_PERIOD: Duration = Duration::from_secs(5);

/// The heartbeat of one extension.
#[derive(Debug)]
pub struct Heartbeat {
    api: Api<Lease>,
    extension: String,
    interval: u16,
    metrics: Metrics,
    outage: Outage,
}

impl Heartbeat {
    /// The heartbeat of `extension`, in the client's default namespace, every `interval` seconds.
    #[must_use]
    pub fn new(client: Client, extension: &str, interval: u16, metrics: Metrics) -> Self {
        let api = Api::default_namespaced(client);
        Self { api, extension: extension.to_owned(), interval, metrics, outage: Outage::default() }
    }

    /// Renews the Lease for ever. A failure is logged and retried.
    pub async fn beat(&mut self) {
        loop {
            sleep(self.renew().await).await;
        }
    }

    /// Renews the Lease once. Returns the pause before the next renewal.
    async fn renew(&mut self) -> Duration {
        // Server-side apply creates the Lease if it does not exist, and takes it over from another writer.
        let params = PatchParams::apply(&self.extension).force();
        let lease = Patch::Apply(self.lease(Timestamp::now()));
        let interval = Duration::from_secs(self.interval.into());
        match bounded(self.api.patch(NAME, &params, &lease)).await {
            Ok(_) => {
                if let Some(Ended { lasted, failures }) = self.outage.ended(Instant::now()) {
                    tracing::info!(failures, "renewing the heartbeat again after {:.1} s", lasted.as_secs_f64());
                }
                interval
            }
            Err(error) => {
                self.metrics.count_error("lease");
                if self.outage.failed(Instant::now()) {
                    tracing::warn!(lease = NAME, error = whole(&error), "cannot renew the heartbeat, retrying");
                }
                interval.min(RETRY_PERIOD)
            }
        }
    }

    fn lease(&self, now: Timestamp) -> Lease {
        Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.extension.clone()),
                lease_duration_seconds: Some(self.interval.into()),
                renew_time: Some(MicroTime(now)),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that refuses the first request, and records them all.
    fn server(requests: &Arc<Mutex<Vec<Value>>>) -> Client {
        let requests = requests.clone();
        let answer = move |request: Request<Body>| {
            let requests = requests.clone();
            async move {
                assert!(request.uri().path().ends_with("/namespaces/ns/leases/gardener-extension-heartbeat"));
                let lease: Value = serde_json::from_slice(&request.into_body().collect().await?.to_bytes())?;
                let mut requests = requests.lock().unwrap();
                requests.push(lease.clone());
                let refused = json!({ "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden" });
                let (code, body) = if requests.len() == 1 { (403, refused) } else { (200, lease) };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(body)?)
            }
        };
        Client::new(tower::service_fn(answer), "ns")
    }

    #[tokio::test]
    async fn a_failed_renewal_is_counted_and_retried_before_the_interval() {
        let (requests, metrics) = (Arc::default(), Metrics::new().unwrap());
        let mut heartbeat = Heartbeat::new(server(&requests), "mock-test", 30, metrics.clone());
        assert_eq!(heartbeat.renew().await, RETRY_PERIOD);
        assert_eq!(metrics.errors.with_label_values(&["lease"]).get(), 1);
        assert_eq!(heartbeat.renew().await, Duration::from_secs(30));
        assert_eq!(metrics.errors.with_label_values(&["lease"]).get(), 1);
        for lease in requests.lock().unwrap().iter() {
            assert_eq!(lease["spec"]["holderIdentity"], "mock-test");
            assert_eq!(lease["spec"]["leaseDurationSeconds"], 30);
        }
    }

    #[tokio::test]
    async fn an_interval_shorter_than_the_retry_pause_holds_after_a_failure_too() {
        let mut heartbeat = Heartbeat::new(server(&Arc::default()), "mock-test", 1, Metrics::new().unwrap());
        assert_eq!(heartbeat.renew().await, Duration::from_secs(1));
    }
}
