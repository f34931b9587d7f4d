//! The controller's requests, compared with its rights.

use std::collections::BTreeSet;
use std::fs;

use extension_conformance::{asking, ensure, merged};
use k8s_openapi::api::rbac::v1::PolicyRule;
use libtest_mimic::Failed;
use serde_json::json;

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;
use crate::script::script;

pub(crate) const PROMISES: &[Promise] =
    promises![object_in_the_garden_is_served_without_rights_to_clusters needs [GardenClass]];

/// For a suite that makes every request that the controller can make.
pub(crate) const EXACT: Promise = Promise {
    name: "rbac_allows_exactly_the_requests_that_were_made",
    needs: &[],
    holds: |scene| Box::pin(async move { check(&scene, true) }),
};

/// For a suite that makes some of the requests.
pub(crate) const ENOUGH: Promise = Promise {
    name: "rbac_allows_every_request_that_was_made",
    needs: &[],
    holds: |scene| Box::pin(async move { check(&scene, false) }),
};

/// That the controller needs the rights it has in the garden's runtime cluster follows from [`EXACT`]: they are those on a
/// seed without Clusters and namespaces.
async fn object_in_the_garden_is_served_without_rights_to_clusters(scene: MockScene) -> Result<(), Failed> {
    let user = &scene.mock().user_in_garden;
    let kubeconfig = serde_json::from_slice(&fs::read(scene.suite().bed()?.kubeconfig_for(user)?)?)?;
    let kubeconfig = scene.mock().write_file(user, &kubeconfig)?;
    let arguments = ["--kubeconfig", &kubeconfig, "--type", scene.namespace(), "--class", "garden"];
    let _controller = scene.start_bare(&arguments)?;
    let rules = json!([{ "succeed": { "after": "10ms" } }]);
    let spec = json!({ "type": scene.namespace(), "class": "garden", "providerConfig": script(&rules) });
    scene.create_object("a", &merged(asking("reconcile"), &json!({ "spec": spec }))).await?;
    scene.until_ready("a").await?;
    scene.ask("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    let refused = scene.audit()?.requests(|request| request.user == *user && request.code == 403)?;
    ensure(refused.is_empty(), format!("requested, but not allowed: {refused:?}"))
}

/// Resource, verb, and the object's name. `None` if the rule does not name objects.
type Permission = (String, String, Option<String>);

/// Fails if the rules do not allow a request that was made. If `is_exact`, fails also if
/// they allow a request that was not made.
fn check(scene: &MockScene, is_exact: bool) -> Result<(), Failed> {
    let allowed: BTreeSet<Permission> = scene.mock().rules.iter().flat_map(permissions).collect();
    let is_named =
        |resource: &str, verb: &str| allowed.iter().any(|(r, v, name)| r == resource && v == verb && name.is_some());
    let ours = scene.audit()?.requests(|request| request.user == scene.mock().user && request.code < 400)?;
    let mut made: BTreeSet<Permission> = BTreeSet::new();
    for request in ours.into_iter().filter(|request| !request.resource.is_empty()) {
        let resource = if request.subresource.is_empty() {
            request.resource
        } else {
            format!("{}/{}", request.resource, request.subresource)
        };
        // A request is logged when it ends, and a watch has not ended yet. The list before it is its evidence.
        if request.verb == "list" {
            made.insert((resource.clone(), "watch".to_owned(), None));
        }
        // An apply that creates an object is logged as patch. The API server authorizes it as create as well.
        if request.verb == "patch" && request.code == 201 {
            made.insert((resource.clone(), "create".to_owned(), None));
        }
        let name = is_named(&resource, &request.verb).then_some(request.name);
        made.insert((resource, request.verb, name));
    }
    let idle: Vec<_> = allowed.difference(&made).collect();
    let beyond: Vec<_> = made.difference(&allowed).collect();
    ensure(!is_exact || idle.is_empty(), format!("allowed, but never requested: {idle:?}"))?;
    ensure(beyond.is_empty(), format!("requested, but not allowed: {beyond:?}"))
}

fn permissions(rule: &PolicyRule) -> Vec<Permission> {
    let names = match &rule.resource_names {
        Some(names) => names.iter().cloned().map(Some).collect(),
        None => vec![None],
    };
    let mut permissions = Vec::new();
    for resource in rule.resources.iter().flatten() {
        for verb in &rule.verbs {
            permissions.extend(names.iter().map(|name| (resource.clone(), verb.clone(), name.clone())));
        }
    }
    permissions
}
