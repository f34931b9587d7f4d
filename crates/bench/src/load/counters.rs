//! The API server's own metrics: requests, their bodies, and the events of watches.

use std::collections::BTreeMap;

use http::Request;
use kube::Client;

use super::error::LoadError;

/// Requests with the same verb and resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    /// All requests.
    pub(crate) count: u64,
    /// Requests that were refused as a conflict: code 409, and 422, the answer to a failed test in a JSON patch.
    pub(crate) conflicts: u64,
    /// Requests that failed for another reason.
    pub(crate) failures: u64,
}

/// Counts by verb and resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests by verb (as in RBAC, and `apply`) and plural with subresource, such as `networks/status`.
    pub(crate) requests: BTreeMap<(String, String), Requests>,
    /// Bytes of the requests' bodies by verb and plural. `apply` counts as `patch`: the API server does not count by
    /// more than that.
    pub(crate) bodies: BTreeMap<(String, String), u64>,
    /// Events that the API server sent to watches.
    pub(crate) watch_events: u64,
    /// Bytes of these events.
    pub(crate) watch_bytes: u64,
}

impl Tally {
    /// Counts a request with a body of that many bytes.
    pub(super) fn sent(&mut self, verb: &str, plural: &str, subresource: &str, bytes: usize) {
        let resource = resource(plural, subresource);
        let requests = self.requests.entry((verb.to_owned(), resource)).or_default();
        requests.count = requests.count.saturating_add(1);
        let verb = if verb == "apply" { "patch" } else { verb };
        let bodies = self.bodies.entry((verb.to_owned(), plural.to_owned())).or_default();
        *bodies = bodies.saturating_add(bytes.try_into().unwrap_or(u64::MAX));
    }

    /// Returns the requests of others than the load generator: `self` is what the API server counted, `own` what the
    /// generator sent. Bodies are left out where only the API server itself sent requests.
    pub(crate) fn of_others(&self, own: &Self) -> Self {
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
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Subtracts the other counts.
    pub(crate) fn without(&self, other: &Self) -> Self {
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
pub(crate) struct Counters(Tally);

impl Counters {
    /// Reads the metrics. This costs the API server some milliseconds.
    pub(crate) async fn read(client: &Client) -> Result<Self, LoadError> {
        let read = async {
            let request = Request::get("/metrics").body(Vec::new()).map_err(kube::Error::HttpError)?;
            client.request_text(request).await
        };
        read.await.map(|metrics| Self(parse(&metrics))).map_err(|error| LoadError::Metrics(Box::new(error)))
    }

    /// What was counted since `before`, without the API server's requests to itself.
    pub(crate) fn since(&self, before: &Self) -> Tally {
        self.0.without(&before.0)
    }
}

/// Reads the metrics that matter from Prometheus' text format.
fn parse(metrics: &str) -> Tally {
    let mut tally = Tally::default();
    let mut own = Tally::default();
    for line in metrics.lines() {
        let Some((name, labels, value)) = split(line) else { continue };
        let label = |name: &str| labels.get(name).copied().unwrap_or_default();
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

/// Splits a sample into name, labels and value. None of the labels that matter has a quotation mark in its value.
fn split(line: &str) -> Option<(&str, BTreeMap<&str, &str>, u64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    let labels = labels.split("\",").filter_map(|label| label.trim_end_matches('"').split_once("=\"")).collect();
    let value: f64 = value.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole numbers from 0 on")]
    Some((name, labels, value as u64))
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
