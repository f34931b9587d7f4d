//! The API server's own metrics: requests, their bodies, and the events of watches.

use std::collections::BTreeMap;

use http::Request;
use kube::Client;

use crate::metrics::{Sample, samples};

/// The metrics of an API server could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the metrics of the API server: {0}")]
pub struct MetricsError(Box<kube::Error>);

/// Requests with the same verb and resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// All requests.
    pub count: u64,
    /// Requests that were refused as a conflict: code 409, and 422, the answer to a failed test in a JSON patch.
    pub conflicts: u64,
    /// Requests that failed for another reason.
    pub failures: u64,
}

/// Counts by verb and resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests by verb (as in RBAC, and `apply`) and plural with subresource, such as `networks/status`.
    pub requests: BTreeMap<(String, String), Requests>,
    /// Bytes of the requests' bodies by verb and plural. `apply` counts as `patch`: the API server does not count by
    /// more than that.
    pub bodies: BTreeMap<(String, String), u64>,
    /// Events that the API server sent to watches.
    pub watch_events: u64,
    /// Bytes of these events.
    pub watch_bytes: u64,
}

impl Tally {
    /// Counts a request with a body of that many bytes.
    pub fn sent(&mut self, verb: &str, plural: &str, subresource: &str, bytes: usize) {
        let resource = resource(plural, subresource);
        let requests = self.requests.entry((verb.to_owned(), resource)).or_default();
        requests.count = requests.count.saturating_add(1);
        let verb = if verb == "apply" { "patch" } else { verb };
        let bodies = self.bodies.entry((verb.to_owned(), plural.to_owned())).or_default();
        *bodies = bodies.saturating_add(bytes.try_into().unwrap_or(u64::MAX));
    }

    /// Returns the requests of others than the load generator: `self` is what the API server counted, `own` what the
    /// generator sent. Bodies are left out where only the API server itself sent requests.
    #[must_use]
    pub fn of_others(&self, own: &Self) -> Self {
        let mut others = self.without(own);
        let requested = |verb: &str, plural: &str| {
            others.requests.keys().any(|(requested, resource)| {
                (requested == verb || (requested == "apply" && verb == "patch"))
                    && resource.split('/').next().is_some_and(|resource| resource == plural)
            })
        };
        let bodies = others.bodies.iter().filter(|((verb, plural), _)| requested(verb, plural));
        others.bodies = bodies.map(|(key, bytes)| (key.clone(), *bytes)).collect();
        others
    }

    /// Whether no request was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Subtracts the other counts.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let requests = self.requests.iter().filter_map(|(key, all)| {
            let known = other.requests.get(key).copied().unwrap_or_default();
            let left = Requests {
                count: all.count.saturating_sub(known.count),
                conflicts: all.conflicts.saturating_sub(known.conflicts),
                failures: all.failures.saturating_sub(known.failures),
            };
            (left != Requests::default()).then(|| (key.clone(), left))
        });
        let bodies = self.bodies.iter().filter_map(|(key, all)| {
            let left = all.saturating_sub(other.bodies.get(key).copied().unwrap_or_default());
            (left > 0).then(|| (key.clone(), left))
        });
        Self {
            requests: requests.collect(),
            bodies: bodies.collect(),
            watch_events: self.watch_events.saturating_sub(other.watch_events),
            watch_bytes: self.watch_bytes.saturating_sub(other.watch_bytes),
        }
    }
}

/// The metrics of the API server at one moment.
#[derive(Clone, Debug)]
pub struct Counters {
    tally: Tally,
    watches: u64,
}

impl Counters {
    /// Reads the metrics. This costs the API server some milliseconds.
    pub async fn read(client: &Client) -> Result<Self, MetricsError> {
        let read = async {
            let request = Request::get("/metrics").body(Vec::new()).map_err(kube::Error::HttpError)?;
            client.request_text(request).await
        };
        read.await.map(|metrics| Self::parse(&metrics)).map_err(|error| MetricsError(Box::new(error)))
    }

    /// What was counted since `before`, without the API server's requests to itself.
    #[must_use]
    pub fn since(&self, before: &Self) -> Tally {
        self.tally.without(&before.tally)
    }

    /// The number of watches that are open.
    #[must_use]
    pub const fn watches(&self) -> u64 {
        self.watches
    }

    /// Reads the metrics that matter from Prometheus' text format.
    fn parse(metrics: &str) -> Self {
        let watch =
            |sample: &Sample<'_>| sample.name == "apiserver_longrunning_requests" && sample.label("verb") == "WATCH";
        let watches = samples(metrics).filter(watch).map(|sample| sample.value).sum();
        Self { tally: parse(metrics), watches: whole(watches) }
    }
}

/// The value of a counter.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole numbers from 0 on")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What was counted since the server's start, without its requests to itself.
fn parse(metrics: &str) -> Tally {
    let mut tally = Tally::default();
    let mut own = Tally::default();
    for sample in samples(metrics) {
        let Sample { name, .. } = sample;
        let value = whole(sample.value);
        let label = |name: &str| sample.label(name);
        let key = || (verb(label("verb")), resource(label("resource"), label("subresource")));
        match name {
            "apiserver_request_total" if !label("resource").is_empty() => {
                let requests = tally.requests.entry(key()).or_default();
                requests.count = requests.count.saturating_add(value);
                match label("code") {
                    "409" | "422" => requests.conflicts = requests.conflicts.saturating_add(value),
                    // A watch that its client ends has code 0.
                    code if code.starts_with(['2', '0']) => {}
                    _ => requests.failures = requests.failures.saturating_add(value),
                }
            }
            "apiserver_selfrequest_total" => {
                let requests = own.requests.entry(key()).or_default();
                requests.count = requests.count.saturating_add(value);
            }
            "apiserver_request_body_size_bytes_sum" => {
                let bodies = tally.bodies.entry((label("verb").to_owned(), label("resource").to_owned())).or_default();
                *bodies = bodies.saturating_add(value);
            }
            "apiserver_watch_events_total" => tally.watch_events = tally.watch_events.saturating_add(value),
            "apiserver_watch_events_sizes_sum" => tally.watch_bytes = tally.watch_bytes.saturating_add(value),
            _ => {}
        }
    }
    tally.without(&own)
}

fn resource(plural: &str, subresource: &str) -> String {
    if subresource.is_empty() { plural.to_owned() } else { format!("{plural}/{subresource}") }
}

/// The verb as in RBAC. The metrics have the HTTP method for some verbs.
fn verb(method: &str) -> String {
    match method {
        "POST" => "create".to_owned(),
        "PUT" => "update".to_owned(),
        other => other.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="g",resource="networks",scope="resource",subresource="status",verb="PATCH",version="v1"} 12
apiserver_request_total{code="409",component="apiserver",dry_run="",group="g",resource="networks",scope="resource",subresource="status",verb="PATCH",version="v1"} 2
apiserver_request_total{code="500",component="apiserver",dry_run="",group="g",resource="networks",scope="resource",subresource="status",verb="PATCH",version="v1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="g",resource="networks",scope="cluster",subresource="",verb="WATCH",version="v1"} 3
apiserver_request_total{code="201",component="apiserver",dry_run="",group="",resource="namespaces",scope="resource",subresource="",verb="POST",version="v1"} 5
apiserver_request_total{code="200",component="",dry_run="",group="",resource="",scope="",subresource="/readyz",verb="GET",version=""} 9
apiserver_selfrequest_total{group="",resource="namespaces",subresource="",verb="POST"} 5
apiserver_request_body_size_bytes_sum{group="g",resource="networks",verb="patch"} 1.2e+06
apiserver_longrunning_requests{component="apiserver",group="g",resource="networks",scope="cluster",subresource="",verb="WATCH",version="v1"} 3
apiserver_longrunning_requests{component="apiserver",group="",resource="pods",scope="resource",subresource="log",verb="CONNECT",version="v1"} 2
apiserver_watch_events_total{group="g",resource="networks",version="v1"} 7
apiserver_watch_events_sizes_sum{group="g",resource="networks",version="v1"} 8000
"#;

    #[test]
    fn requests_of_the_api_server_to_itself_do_not_count() {
        let tally = parse(METRICS);
        let key = |verb: &str, resource: &str| (verb.to_owned(), resource.to_owned());
        let expected = [
            (key("patch", "networks/status"), Requests { count: 15, conflicts: 2, failures: 1 }),
            (key("watch", "networks"), Requests { count: 3, ..Requests::default() }),
        ];
        assert_eq!(tally.requests, expected.into());
        assert_eq!(tally.bodies, [(("patch".to_owned(), "networks".to_owned()), 1_200_000)].into());
        assert_eq!((tally.watch_events, tally.watch_bytes), (7, 8000));
        assert_eq!(Counters::parse(METRICS).watches(), 3);
    }

    #[test]
    fn own_requests_are_subtracted() {
        let mut own = Tally::default();
        own.sent("patch", "networks", "status", 100);
        own.sent("apply", "secrets", "", 10);
        own.sent("watch", "networks", "", 0);
        let rest = parse(METRICS).without(&own);
        assert_eq!(rest.requests.values().map(|requests| requests.count).collect::<Vec<_>>(), [14, 2]);
        assert_eq!(rest.bodies.values().next(), Some(&1_199_900));
    }
}
