//! Reads manifests of any kind and applies them as `kubectl apply --server-side` does, with strict validation of
//! fields.

use std::path::{Path, PathBuf};
use std::{fs, io, mem};

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{self, Scope};
use kube::{Api, Client, Resource as _, ResourceExt};
use serde::Deserialize as _;
use serde_json::Value;
use serde_saphyr::{UserMessageFormatter, budget, options};

use crate::causes::said;

/// The field manager of applied objects.
const FIELD_MANAGER: &str = "gardener-testbed";

/// Why a manifest could not be read, applied or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestsError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The text is not YAML.
    #[error("{origin} is not valid YAML: {reason}")]
    Syntax {
        /// Where the text comes from.
        origin: String,
        /// The position, and what is wrong there.
        reason: String,
    },
    /// A file that may have one document has several.
    #[error("{} has several YAML documents: leave one", .file.display())]
    Several {
        /// The file.
        file: PathBuf,
    },
    /// A document is not a Kubernetes object.
    #[error("a manifest needs apiVersion, kind and metadata.name: {0}")]
    NoObject(serde_json::Error),
    /// The API server rejected a request, or could not be reached.
    #[error("cannot {doing} {object}: {}", said(.source))]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// Kind and name.
        object: String,
        /// The error of the request.
        source: kube::Error,
    },
}

/// Whether the API server persists an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The API server persists it.
    Apply,
    /// The API server validates and admits it, and does not persist it.
    DryRun,
}

/// Reads the objects in a file, as [`parse`] does.
pub fn read(file: &Path) -> Result<Vec<Value>, ManifestsError> {
    parse(&text(file)?, &file.display().to_string())
}

/// Reads a file of one document, such as the values of a chart. Returns `null` if it is empty.
pub fn read_one(file: &Path) -> Result<Value, ManifestsError> {
    let mut documents = documents(&text(file)?, &file.display().to_string())?;
    let document = documents.pop().unwrap_or_default();
    if documents.is_empty() { Ok(document) } else { Err(ManifestsError::Several { file: file.to_owned() }) }
}

/// Parses the objects in a text, in their order. Skips empty documents, and unfolds lists as kubectl does. `origin`
/// names the text in errors.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Value>, ManifestsError> {
    Ok(documents(text, origin)?.into_iter().flat_map(unfold).collect())
}

/// The objects of a list, such as a `List` or a `ShootList`. An object that is no list is returned as it is.
///
/// Lists may contain lists. Items without a type have that of their list: `ShootList` contains `Shoot`s
/// (`apis/meta/v1/unstructured/unstructured.go` of Kubernetes' apimachinery).
fn unfold(mut document: Value) -> Vec<Value> {
    let Some(items) = document.get_mut("items").and_then(Value::as_array_mut).map(mem::take) else {
        return vec![document];
    };
    let kind = document.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
    let of_list = kind.filter(|kind| !kind.is_empty()).zip(document.get("apiVersion"));
    let typed = |mut item: Value| {
        if let (Some((kind, version)), Some(fields)) = (of_list, item.as_object_mut())
            && !fields.contains_key("kind")
            && !fields.contains_key("apiVersion")
        {
            fields.insert("kind".to_owned(), kind.into());
            fields.insert("apiVersion".to_owned(), version.clone());
        }
        item
    };
    items.into_iter().map(typed).flat_map(unfold).collect()
}

fn text(file: &Path) -> Result<String, ManifestsError> {
    fs::read_to_string(file).map_err(|source| ManifestsError::Unreadable { file: file.to_owned(), source })
}

/// The documents in a text, without empty ones.
fn documents(text: &str, origin: &str) -> Result<Vec<Value>, ManifestsError> {
    // By default, the parser refuses 33 lines of comments in a row, which Gardener's own examples have.
    let options = options! { budget: budget! { max_buffered_comment_events: usize::MAX } };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        // The parser's own message shows lines of the file, which may hold a password.
        let reason = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        ManifestsError::Syntax { origin: origin.to_owned(), reason }
    })?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Applies an object with server-side apply, and takes over fields of other managers. Returns the object in the API
/// server's answer. Unknown fields are an error.
pub async fn apply(client: &Client, object: &Value, mode: Mode) -> Result<DynamicObject, ManifestsError> {
    let object = DynamicObject::deserialize(object).map_err(ManifestsError::NoObject)?;
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        dry_run: mode == Mode::DryRun,
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let applied =
        async { api(client, &object).await?.patch(&object.name_any(), &params, &Patch::Apply(&object)).await };
    applied.await.map_err(refused("apply", &object))
}

/// Creates an object, as `kubectl create` does. Returns the object in the API server's answer. Unknown fields are an
/// error.
///
/// The object goes to the API server as it is: a value of the wrong type is an error of the server's decoder.
pub async fn create(client: &Client, object: &Value, mode: Mode) -> Result<Value, ManifestsError> {
    let field = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let created = async {
        let (resource, scope) = resource(client, field("/apiVersion"), field("/kind")).await?;
        let namespace = Some(field("/metadata/namespace")).filter(|_| scope == Scope::Namespaced);
        let path = DynamicObject::url_path(&resource, namespace.filter(|namespace| !namespace.is_empty()));
        let dry_run = if mode == Mode::DryRun { "&dryRun=All" } else { "" };
        let request =
            http::Request::post(format!("{path}?fieldValidation=Strict&fieldManager={FIELD_MANAGER}{dry_run}"))
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(object.to_string().into_bytes());
        client.request(request.map_err(kube::Error::HttpError)?).await
    };
    created.await.map_err(|source| {
        let object = format!("{} {}", field("/kind"), field("/metadata/name"));
        ManifestsError::Refused { doing: "create", object, source }
    })
}

/// Deletes an object, if it exists.
pub async fn delete(client: &Client, object: &Value) -> Result<(), ManifestsError> {
    let object = DynamicObject::deserialize(object).map_err(ManifestsError::NoObject)?;
    let deleted = async { api(client, &object).await?.delete(&object.name_any(), &DeleteParams::default()).await };
    match deleted.await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(drop).map_err(refused("delete", &object)),
    }
}

/// Returns the API for an object's kind, in the object's namespace. If the kind is namespaced and the object has no
/// namespace, that is the client's default namespace.
async fn api(client: &Client, object: &DynamicObject) -> kube::Result<Api<DynamicObject>> {
    let TypeMeta { api_version, kind } = object.types.clone().unwrap_or_default();
    let (resource, scope) = resource(client, &api_version, &kind).await?;
    Ok(match (scope, &object.metadata.namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    })
}

/// Finds the resource of a kind.
async fn resource(client: &Client, api_version: &str, kind: &str) -> kube::Result<(ApiResource, Scope)> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let (resource, capabilities) = discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
    Ok((resource, capabilities.scope))
}

fn refused(doing: &'static str, object: &DynamicObject) -> impl FnOnce(kube::Error) -> ManifestsError {
    let kind = object.types.as_ref().map_or("", |types| &types.kind);
    let object = format!("{kind} {}", object.name_any());
    move |source| ManifestsError::Refused { doing, object, source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_unfolded_and_give_their_type_to_items_without_one() {
        let parsed = parse(
            "{kind: List, apiVersion: v1, items: [{kind: A, apiVersion: a/v1}, {kind: List, items: [{kind: B}]}]}\n---\n\
             {kind: ShootList, apiVersion: g/v1, items: [{spec: {items: [1]}}, {kind: Other}]}\n---\n\
             {kind: List, items: []}\n---\n{kind: Odd, items: {}}",
            "a test",
        );
        let expected = [
            json!({ "kind": "A", "apiVersion": "a/v1" }),
            json!({ "kind": "B" }),
            json!({ "kind": "Shoot", "apiVersion": "g/v1", "spec": { "items": [1] } }),
            json!({ "kind": "Other" }),
            json!({ "kind": "Odd", "items": {} }),
        ];
        assert_eq!(parsed.unwrap(), expected);
    }

    #[test]
    fn any_number_of_comments_is_skipped() {
        for place in ["@a:\n- 1\n", "a:\n@- 1\n", "a:\n- 1\n@", "a:\n- 1\n@---\n", "a:\n- 1 # b\n@"] {
            let text = place.replace('@', &"  # a comment\n".repeat(1000));
            assert_eq!(parse(&text, "a test").unwrap(), [json!({ "a": [1] })], "{place}");
        }
    }

    #[test]
    fn error_of_the_syntax_is_one_line_without_what_the_text_holds() {
        let error =
            parse("kind: Secret\nstringData: {a: secret}\n\tb: secret\n", "secret.yaml").unwrap_err().to_string();
        assert!(error.starts_with("secret.yaml is not valid YAML: ") && error.contains("line 3"), "{error}");
        assert!(!error.contains(": secret") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn file_of_one_document_may_be_empty_and_not_hold_several() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            fs::write(file.path(), text).unwrap();
            read_one(file.path()).map_err(|error| error.to_string())
        };
        assert_eq!(read("a: 1\n"), Ok(json!({ "a": 1 })));
        assert_eq!(read("# nothing\n"), Ok(Value::Null));
        assert!(read("a: 1\n---\na: 2\n").unwrap_err().ends_with("has several YAML documents: leave one"));
        assert!(read("a: [").unwrap_err().contains("is not valid YAML"));
    }
}
