//! The permissions of a controller on the seed: exactly the requests that it makes.

use extension_contract::GROUP;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::kind::{MockKind, ShootView};
use crate::process::{heartbeat, lease};

/// The rules of the ClusterRole of one kind's controller.
#[must_use]
pub fn rules<K: MockKind>() -> Vec<PolicyRule> {
    let plural = K::KIND.plural;
    let mut rules = vec![
        // `get` reads the object again after a conflict.
        rule(GROUP, plural, &["get", "list", "watch", "patch"]),
        rule(GROUP, &format!("{plural}/status"), &["patch"]),
        // Events about scripts; `patch` counts a repeated one.
        rule("events.k8s.io", "events", &["create", "patch"]),
    ];
    if K::WATCHES_CLUSTERS {
        let verbs: &[&str] = if K::Shoot::READ { &["get", "list", "watch"] } else { &["list", "watch"] };
        rules.push(rule(GROUP, "clusters", verbs));
    }
    if K::SECRET_PREFIX.is_some() {
        // Server-side apply needs `create` if the Secret does not exist yet. See `secrets` for the limits.
        rules.push(rule("", "secrets", &["create", "patch"]));
    }
    rules
}

/// The rules of the Role in the namespace of the controller's Pod, for leader election and heartbeat.
#[must_use]
pub fn lease_rules(name: &str) -> Vec<PolicyRule> {
    let leases = |verbs, names: Option<&str>| PolicyRule {
        resource_names: names.map(|name| vec![name.to_owned()]),
        ..rule("coordination.k8s.io", "leases", verbs)
    };
    vec![
        // RBAC cannot restrict `create` by name.
        leases(&["create"], None),
        leases(&["get", "update"], Some(&lease::name(name))),
        leases(&["patch"], Some(heartbeat::NAME)),
    ]
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}
