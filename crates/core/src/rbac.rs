//! What a controller may do on the seed: exactly the requests that it makes.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::contract::GROUP;
use crate::extension::Extension;
use crate::{heartbeat, lease};

/// The rules of the ClusterRole of one kind's controller.
#[must_use]
pub fn rules<K: Extension>() -> Vec<PolicyRule> {
    let plural = K::plural(&()).into_owned();
    let mut rules = vec![
        // `get` looks again after a conflict.
        rule(GROUP, &plural, &["get", "list", "watch", "patch"]),
        rule(GROUP, &format!("{plural}/status"), &["patch"]),
        // What scripts did: `patch` counts one that comes again.
        rule("events.k8s.io", "events", &["create", "patch"]),
    ];
    if K::WATCHES_CLUSTERS {
        let verbs: &[&str] = if K::READS_SHOOT { &["get", "list", "watch"] } else { &["list", "watch"] };
        rules.push(rule(GROUP, "clusters", verbs));
    }
    if K::WRITES_SECRETS {
        // `patch` alone applies to a Secret that is there, `create` makes one that is not.
        rules.push(rule("", "secrets", &["create", "patch"]));
    }
    rules
}

/// The rules of the Role that the controller `name` needs in the namespace of its Pod, for its leader election and its
/// heartbeat.
#[must_use]
pub fn lease_rules(name: &str) -> Vec<PolicyRule> {
    let leases = |verbs, names: Option<&str>| PolicyRule {
        resource_names: names.map(|name| vec![name.to_owned()]),
        ..rule("coordination.k8s.io", "leases", verbs)
    };
    vec![
        // What is to be created has no name yet that could be asked for.
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
