//! Which namespace a person means.

use std::collections::BTreeMap;

use extension_contract::json::text;
use serde_json::Value;

/// The Shoot or namespace that a person named does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no Shoot or namespace {wanted:?} on this seed; {}", suggestion(.near))]
pub struct NotFound {
    wanted: String,
    /// Names like it.
    near: Vec<String>,
}

fn suggestion(near: &[String]) -> String {
    if near.is_empty() {
        return "the seed has no Shoot".to_owned();
    }
    format!("did you mean {}?", near.join(", "))
}

/// How many names an error lists.
const MOST: usize = 5;

/// Finds the namespace of a Shoot. `wanted` is `project/name`, the Shoot's namespace in the garden and its name, or the
/// Shoot's technical ID; `namespaces` are further names that count.
pub fn namespace(wanted: &str, clusters: &BTreeMap<String, Value>, namespaces: &[String]) -> Result<String, NotFound> {
    if clusters.contains_key(wanted) || namespaces.iter().any(|namespace| namespace == wanted) {
        return Ok(wanted.to_owned());
    }
    if let Some((project, name)) = wanted.split_once('/') {
        let is_it = |cluster: &Value| {
            let field = |path| text(cluster, path).unwrap_or_default();
            let namespace = field("spec.shoot.metadata.namespace");
            // `pkg/utils/gardener/shoot.go` makes the technical ID of project and name.
            let is_project = namespace == project
                || namespace.strip_prefix("garden-") == Some(project)
                || field("spec.shoot.status.technicalID") == format!("shoot--{project}--{name}");
            is_project && field("spec.shoot.metadata.name") == name
        };
        if let Some((namespace, _)) = clusters.iter().find(|(_, cluster)| is_it(cluster)) {
            return Ok(namespace.clone());
        }
    }
    Err(NotFound { wanted: wanted.to_owned(), near: most_alike(wanted, clusters) })
}

fn most_alike(wanted: &str, clusters: &BTreeMap<String, Value>) -> Vec<String> {
    let mut names: Vec<_> = clusters.iter().map(|(namespace, cluster)| name(namespace, cluster, wanted)).collect();
    let likeness = |name: &String| strsim::jaro_winkler(name, wanted);
    names.sort_by(|one, other| likeness(other).total_cmp(&likeness(one)));
    names.truncate(MOST);
    names
}

/// The name of a Shoot, in the form in which the person wrote.
fn name(namespace: &str, cluster: &Value, wanted: &str) -> String {
    let field = |path| text(cluster, path).unwrap_or_default();
    let of_garden = field("spec.shoot.metadata.namespace");
    if wanted.contains('/') && !of_garden.is_empty() {
        let project = of_garden.strip_prefix("garden-").unwrap_or(of_garden);
        return format!("{project}/{}", field("spec.shoot.metadata.name"));
    }
    namespace.to_owned()
}
