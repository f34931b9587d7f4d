//! Reads which requests a test bed's API server was asked, from its audit log.
//!
//! The log is written in blocking mode: the API server ends a response only after its line is in the file. A request
//! whose response a client has read to its end is therefore in the log, without waiting. Two kinds of requests appear
//! late by nature: a watch when it ends, and a request whose client did not wait for the end of the response.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;

/// The policy for kube-apiserver: one line a request, without bodies. What the API server asks itself is left out.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: None
  users: ['system:apiserver']
- level: Metadata
";

/// One request to the API server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The name of the authenticated user.
    pub user: String,
    /// The Kubernetes verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`; for a
    /// path that is no resource, such as `/readyz`, the HTTP method in lower case.
    pub verb: String,
    /// The path and query.
    pub uri: String,
    /// The API group; empty for the core group and for a path that is no resource.
    pub group: String,
    /// The plural name of the resource; empty for a path that is no resource.
    pub resource: String,
    /// `status`, `finalize` and so on; empty for the resource itself.
    pub subresource: String,
    /// The namespace; empty for a cluster-scoped resource or a request over all namespaces.
    pub namespace: String,
    /// The object's name; empty for a list, a watch, or a creation that leaves the name to the server.
    pub name: String,
    /// The HTTP status code of the response; 0 if it had none.
    pub code: u16,
    /// What the client called itself.
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

    /// The requests that `wanted` selects, in the order in which their responses ended.
    ///
    /// Reads the whole log each time, and blocks the calling thread for that.
    pub fn requests(&self, wanted: impl Fn(&Request) -> bool) -> io::Result<Vec<Request>> {
        let mut requests = Vec::new();
        let mut log = BufReader::new(File::open(&self.log)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            log.read_until(b'\n', &mut line)?;
            // The API server may be writing the last line right now; its request has not ended yet.
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
    fn a_line_that_is_being_written_is_left_for_the_next_read() {
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
