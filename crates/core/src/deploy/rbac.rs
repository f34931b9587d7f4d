//! The permissions of a controller on the seed: exactly the requests that it makes.

use extension_contract::GROUP;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::context::has_cluster;
use crate::kind::{Class, HasCluster, MockKind, ShootView};
use crate::process::{heartbeat, lease};

/// The rules of the ClusterRole of one kind's controller that serves objects of these classes.
#[must_use]
pub fn rules<K: MockKind>(classes: &[Class]) -> Vec<PolicyRule> {
    let plural = K::KIND.plural;
    let mut rules = vec![
        // `get` reads the object again after a conflict.
        rule(GROUP, plural, &["get", "list", "watch", "patch"]),
        rule(GROUP, &format!("{plural}/status"), &["patch"]),
        // Events about scripts; `patch` counts a repeated one.
        rule("events.k8s.io", "events", &["create", "patch"]),
    ];
    let has_cluster = has_cluster::<K>(classes);
    if has_cluster != HasCluster::Never {
        let verbs: &[&str] = if K::Shoot::READ { &["get", "list", "watch"] } else { &["list", "watch"] };
        rules.push(rule(GROUP, "clusters", verbs));
    }
    if has_cluster == HasCluster::InShootNamespaces {
        rules.push(rule("", "namespaces", &["list", "watch"]));
    }
    let writes = !K::SECRET_PREFIXES.is_empty();
    // See `secrets` for the limits.
    let secrets = [
        ("get", K::READS_SECRETS),
        // Server-side apply needs `create` if the Secret does not exist yet.
        ("create", writes),
        ("patch", writes),
        ("delete", K::DELETES_SECRETS),
    ];
    let verbs: Vec<_> = secrets.into_iter().filter_map(|(verb, is_used)| is_used.then_some(verb)).collect();
    if !verbs.is_empty() {
        rules.push(rule("", "secrets", &verbs));
    }
    rules
}

/// The further rules of the ClusterRole of a controller with its companion. Returns `None` if the kind has none.
#[must_use]
pub fn companion_rules<K: MockKind>() -> Option<Vec<PolicyRule>> {
    K::COMPANION.map(|companion| (companion.rules)())
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
