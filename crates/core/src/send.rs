//! Sends composed requests, one after the other.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ObjectMeta, Status};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::context::Context;
use crate::error::{Error, failed, is_refused};
use crate::kind::{Leftover, MockKind, SecretKey, Wanted};
use crate::watch::decode::Kept;
use crate::watch::key::Key;
use crate::write::patch::{Request, status_body};

/// Asks for an answer without spec and status: they are large and known.
const METADATA_ONLY: http::HeaderValue =
    http::HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// How sending ended.
#[derive(Debug)]
pub enum Sent {
    /// All requests succeeded.
    Done,
    /// The object is gone. Nothing is left to do.
    Gone,
    /// The API server refused a request: either the object is stale, or the API server does not accept this write.
    Refused(Refusal),
}

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    /// The version that the request was made for.
    pub version: Option<String>,
    /// What the request is about.
    pub target: &'static str,
    /// The API server's answer.
    pub status: Box<Status>,
}

impl Refusal {
    /// The refusal as an error.
    #[must_use]
    pub fn into_error(self) -> Error {
        Error::Request { verb: "patch", target: self.target, source: Box::new(kube::Error::Api(self.status)) }
    }
}

/// Sends requests about the object with this metadata. Each request is for the version that the previous answer
/// returned.
pub async fn send<K: MockKind>(
    context: &Context<K>,
    key: &Key,
    meta: &ObjectMeta,
    requests: &[Request],
) -> Result<Sent, Error> {
    let mut version = meta.resource_version.clone();
    for request in requests {
        let answer = match request {
            Request::Secret(wanted) => {
                apply(context, wanted).await?;
                continue;
            }
            Request::DeleteSecret(leftover) => {
                delete(context, leftover).await?;
                continue;
            }
            Request::Status(fields) => {
                let body: Patch<Value> = Patch::Merge(status_body(fields, version.as_deref()));
                let request = key.request::<K>().patch_subresource("status", &key.name, &params(context), &body);
                patch(context, key, "status", request).await?
            }
            Request::Metadata(metadata) => {
                let body: Patch<()> = Patch::Json(metadata.body(version.as_deref()));
                patch(context, key, "metadata", key.request::<K>().patch(&key.name, &params(context), &body)).await?
            }
        };
        match answer {
            Answer::Done(meta) => {
                context.memory.written(key, &meta);
                version = meta.resource_version;
            }
            Answer::Gone => return Ok(Sent::Gone),
            Answer::Refused(target, status) => return Ok(Sent::Refused(Refusal { version, target, status })),
        }
    }
    Ok(Sent::Done)
}

enum Answer {
    Done(Box<ObjectMeta>),
    Gone,
    Refused(&'static str, Box<Status>),
}

async fn patch<K: MockKind>(
    context: &Context<K>,
    key: &Key,
    target: &'static str,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Answer, Error> {
    let mut request = failed("patch", target, request.map_err(kube::Error::BuildRequest))?;
    request.headers_mut().insert(http::header::ACCEPT, METADATA_ONLY);
    match context.client.request::<Kept>(request).await {
        Ok(object)
            if object.metadata.name.as_ref() != Some(&key.name) || object.metadata.namespace != key.namespace =>
        {
            context.metrics.count_write(target, "failed");
            Err(Error::OddAnswer { verb: "patch", target })
        }
        Ok(object) => {
            context.metrics.count_write(target, "ok");
            Ok(Answer::Done(Box::new(object.metadata)))
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Answer::Gone),
        // A failed test of a JSON patch is answered 422, but so is a failed validation.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.code == 422 => {
            context.metrics.count_write(target, "conflict");
            let Key { namespace, name } = key;
            tracing::debug!(namespace, name, target, %status, "the write was refused");
            Ok(Answer::Refused(target, status))
        }
        Err(error) => {
            context.metrics.count_write(target, "failed");
            failed("patch", target, Err(error))
        }
    }
}

async fn apply<K: MockKind>(context: &Context<K>, wanted: &Wanted) -> Result<(), Error> {
    let Wanted { secret, needs_namespace } = wanted;
    let SecretKey { namespace, name } = SecretKey::of(&secret.metadata);
    let api = Api::<Secret>::namespaced(context.client.clone(), &namespace);
    let applied = api.patch(&name, &PatchParams::apply(&context.name).force(), &Patch::Apply(secret)).await;
    if let Err(kube::Error::Api(status)) = &applied
        && *needs_namespace
        && (status.is_not_found() || is_terminating(status))
    {
        tracing::info!(namespace, name, "the Secret is left out, its namespace does not exist or is being deleted");
        return Ok(());
    }
    count(context, applied.is_ok());
    let applied = match applied {
        Err(kube::Error::Api(status)) if is_refused(&status) => {
            return Err(Error::Secret { key: SecretKey { namespace, name }, status });
        }
        applied => failed("apply", "Secret", applied)?,
    };
    if SecretKey::of(&applied.metadata) != SecretKey::of(&secret.metadata) {
        return Err(Error::OddAnswer { verb: "apply", target: "Secret" });
    }
    Ok(())
}

async fn delete<K: MockKind>(context: &Context<K>, leftover: &Leftover) -> Result<(), Error> {
    if leftover.key.check().is_err() {
        // No outcome has created it.
        return Ok(());
    }
    let Leftover { key: SecretKey { namespace, name }, unless_other } = leftover;
    let api = Api::<Secret>::namespaced(context.client.clone(), namespace);
    let mut params = DeleteParams::default();
    if let Some((annotation, ours)) = unless_other {
        let Some(secret) = failed("read", "Secret", api.get_metadata_opt(name).await)? else { return Ok(()) };
        if secret.annotations().get(*annotation).is_some_and(|value| value != ours) {
            return Ok(());
        }
        let resource_version = secret.metadata.resource_version;
        params.preconditions = Some(Preconditions { resource_version, uid: secret.metadata.uid });
    }
    let deleted = api.delete(name, &params).await;
    if let Err(kube::Error::Api(status)) = &deleted
        && status.is_not_found()
    {
        return Ok(());
    }
    count(context, deleted.is_ok());
    failed("delete", "Secret", deleted).map(drop)
}

fn count<K: MockKind>(context: &Context<K>, is_ok: bool) {
    context.metrics.count_write("secret", if is_ok { "ok" } else { "failed" });
}

/// Whether a namespace accepts nothing new, because it is being deleted.
fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn params<K: MockKind>(context: &Context<K>) -> PatchParams {
    PatchParams { field_manager: Some(context.name.clone()), ..PatchParams::default() }
}
