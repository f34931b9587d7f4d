//! Reads the requests to a test bed's API server from its audit log.
//!
//! The API server writes the log in blocking mode: it ends a response only after the line is in the file. A request is
//! therefore in the log as soon as its client has read the response to the end. Two kinds of requests appear later: a
//! watch appears when it ends, and so does a request whose client did not read the response to the end.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;

/// The audit policy: one line per request, without bodies, and without the API server's requests to itself.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  users: ['system:apiserver']
- level: Metadata
";

/// A request to the API server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The name of the authenticated user.
    pub user: String,
    /// The Kubernetes verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`. For a
    /// path that is not a resource, such as `/readyz`, the HTTP method in lower case.
    pub verb: String,
    /// The path and query.
    pub uri: String,
    /// The API group. Empty for the core group and for a path that is not a resource.
    pub group: String,
    /// The plural name of the resource. Empty for a path that is not a resource.
    pub resource: String,
    /// The subresource, such as `status` or `finalize`. Empty for the resource itself.
    pub subresource: String,
    /// The namespace. Empty for a cluster-scoped resource and for a request that covers all namespaces.
    pub namespace: String,
    /// The name of the object. Empty for a list, a watch, and a creation with a generated name.
    pub name: String,
    /// The HTTP status code of the response, or 0 without a response.
    pub code: u16,
    /// The user agent of the client.
    pub user_agent: String,
    /// When the API server received the request.
    pub at: MicroTime,
}

/// The audit log of one test bed.
#[derive(Clone, Debug)]
pub struct Audit {
    log: PathBuf,
}

impl Audit {
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log }
    }

    /// Returns the requests that `wanted` selects, in the order in which their responses ended.
    ///
    /// Reads the whole log, and blocks the calling thread meanwhile.
    pub fn requests(&self, wanted: impl Fn(&Request) -> bool) -> io::Result<Vec<Request>> {
        let mut requests = Vec::new();
        let mut log = BufReader::new(File::open(&self.log)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            log.read_until(b'\n', &mut line)?;
            // The API server may still be writing the last line. That request has not ended yet.
            if line.last() != Some(&b'\n') {
                return Ok(requests);
            }
            let event: Event = serde_json::from_slice(&line)?;
            let request = Request::from(event);
            if wanted(&request) {
                requests.push(request);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    #[serde(rename = "requestURI")]
    request_uri: String,
    request_received_timestamp: MicroTime,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectReference,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl From<Event> for Request {
    fn from(event: Event) -> Self {
        let object = event.object_ref;
        Self {
            user: event.user.username,
            verb: event.verb,
            uri: event.request_uri,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.code,
            user_agent: event.user_agent,
            at: event.request_received_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/secrets/b","verb":"get","user":{"username":"admin","groups":["system:masters"]},"sourceIPs":["127.0.0.1"],"userAgent":"kube","objectRef":{"resource":"secrets","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":404},"requestReceivedTimestamp":"2020-09-13T12:26:40.123456Z","stageTimestamp":"2020-09-13T12:26:40.123456Z"}"#;

    #[test]
    fn an_incomplete_last_line_is_ignored_until_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        std::fs::write(&log, format!("{LINE}\n{}", &LINE[..LINE.len() / 2])).unwrap();
        let audit = Audit::new(log.clone());
        let requests = audit.requests(|_| true).unwrap();
        assert_eq!(requests.len(), 1);
        let request = &requests[0];
        assert_eq!((request.user.as_str(), request.verb.as_str(), request.code), ("admin", "get", 404));
        assert_eq!(
            (request.resource.as_str(), request.namespace.as_str(), request.name.as_str()),
            ("secrets", "a", "b")
        );

        std::fs::write(&log, format!("{LINE}\n{LINE}\n")).unwrap();
        assert_eq!(audit.requests(|request| request.name == "b").unwrap().len(), 2);
        assert_eq!(audit.requests(|request| request.name == "c").unwrap().len(), 0);
    }
}
