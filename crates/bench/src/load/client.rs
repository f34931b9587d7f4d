//! The load generator's requests: without any machinery of kube above HTTP, and counted.

use std::sync::{Mutex, PoisonError};

use extension_contract::json::text;
use extension_contract::{GROUP, VERSION};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use gardener_testbed::requests::Tally;
use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client as KubeClient;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde_json::Value;

use super::error::LoadError;
use super::resources::plural;

/// The address of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// `/apis/<group>/<version>` or `/api/v1`.
    root: String,
}

impl Place {
    pub(super) fn of(object: &Value) -> Self {
        let field = |path| text(object, path).unwrap_or_default();
        let version = field("apiVersion");
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        Self {
            kind: field("kind").to_owned(),
            namespace: field("metadata.namespace").to_owned(),
            name: field("metadata.name").to_owned(),
            root,
        }
    }

    pub(super) fn plural(&self) -> String {
        plural(&self.kind)
    }

    fn collection(&self) -> String {
        let plural = self.plural();
        match self.namespace.as_str() {
            "" => format!("{}/{plural}", self.root),
            namespace => format!("{}/namespaces/{namespace}/{plural}", self.root),
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    pub(super) fn describe(&self) -> String {
        format!("{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The body of a patch, by its type.
pub(super) enum Body<'a> {
    Merge(&'a Value),
    Json(&'a Value),
    Apply(&'a Value),
}

/// The fields that are used of an object that a write returned.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) uid: String,
    pub(super) resource_version: String,
    pub(super) generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    metadata: Meta,
}

/// A client that counts its requests.
pub(super) struct Client {
    kube: KubeClient,
    /// The field manager of all writes. gardenlet and controllers have different ones, so that each has an entry of its
    /// own in managedFields.
    field_manager: &'static str,
    own: Mutex<Tally>,
}

impl Client {
    pub(super) fn new(client: KubeClient, field_manager: &'static str) -> Self {
        Self { kube: client, field_manager, own: Mutex::default() }
    }

    /// Returns what was sent since the last call.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut self.own.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn create(&self, place: &Place, object: &Value) -> Result<Meta, LoadError> {
        let uri = format!("{}?fieldManager={}", place.collection(), self.field_manager);
        let request = Request::post(uri).header(CONTENT_TYPE, "application/json");
        self.send("create", place, "", request, object.to_string()).await
    }

    pub(super) async fn patch(&self, place: &Place, subresource: &str, body: Body<'_>) -> Result<Meta, LoadError> {
        let (verb, content_type, body, query) = match body {
            Body::Merge(body) => ("patch", "application/merge-patch+json", body, ""),
            Body::Json(body) => ("patch", "application/json-patch+json", body, ""),
            Body::Apply(body) => ("apply", "application/apply-patch+yaml", body, "&force=true"),
        };
        let path = if subresource.is_empty() { place.path() } else { format!("{}/{subresource}", place.path()) };
        let uri = format!("{path}?fieldManager={}{query}", self.field_manager);
        let request = Request::patch(uri).header(CONTENT_TYPE, content_type);
        self.send(verb, place, subresource, request, body.to_string()).await
    }

    pub(super) async fn delete(&self, place: &Place) -> Result<(), LoadError> {
        self.send("delete", place, "", Request::delete(place.path()), String::new()).await.map(drop)
    }

    /// Watches all objects of a kind, from a resource version on.
    pub(super) async fn watch(
        &self,
        kind: &str,
        version: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<Value>>>> {
        let plural = plural(kind);
        let uri = format!("/apis/{GROUP}/{VERSION}/{plural}?watch=true&resourceVersion={version}&timeoutSeconds=86400");
        let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
        Ok(self.kube.request_events::<Value>(request).await?.boxed())
    }

    /// Counts a watch. The API server counts it when it ends.
    pub(super) fn watch_ended(&self, kind: &str) {
        self.count("watch", &plural(kind), "", 0);
    }

    fn count(&self, verb: &'static str, plural: &str, subresource: &str, body: usize) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).sent(verb, plural, subresource, body);
    }

    async fn send(
        &self,
        verb: &'static str,
        place: &Place,
        subresource: &str,
        request: http::request::Builder,
        body: String,
    ) -> Result<Meta, LoadError> {
        self.count(verb, &place.plural(), subresource, body.len());
        let sent = async {
            let request = request.body(body.into_bytes()).map_err(kube::Error::HttpError)?;
            let answer = self.kube.request_text(request).await?;
            serde_json::from_str::<Written>(&answer).map_err(kube::Error::SerdeError)
        };
        let answered = sent.await.map_err(|source| LoadError::Request {
            verb,
            object: place.describe(),
            source: Box::new(source),
        })?;
        Ok(answered.metadata)
    }
}
