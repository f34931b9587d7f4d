//! The one list of kinds that have a controller. Every command goes by it.

use crossterm::style::Color;
use k8s_openapi::api::rbac::v1::PolicyRule;
use mock_core::deploy::{admission, rbac, secrets};
use mock_core::kind::{Kind, MockKind};
use serde_json::Value;

/// The package of a controller, which serves one kind.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The kind in lower case, such as `controlplane`; also the name of the package's folder below `crates`.
    pub name: &'static str,
    /// The colour of the controller's lines where the output of several controllers is mixed.
    pub colour: Color,
    /// Values of `spec.type` that the controller serves by default.
    pub types: &'static [&'static str],
    kind: &'static Kind,
    rules: fn() -> Vec<PolicyRule>,
    admission: fn(&str) -> Option<Value>,
    policy: fn(&str, &[String]) -> Option<[Value; 2]>,
    secrets: fn(&str) -> Option<Value>,
}

/// All packages, in the order in which gardenlet creates objects of their kinds.
pub const ALL: &[Package] = &[
    Package::of::<mock_infrastructure::Infrastructure>("infrastructure", Color::Cyan),
    Package::of::<mock_controlplane::ControlPlane>("controlplane", Color::Magenta),
    Package::of::<mock_operatingsystemconfig::OperatingSystemConfig>("operatingsystemconfig", Color::Yellow),
    Package::of::<mock_network::Network>("network", Color::Blue),
    Package::of::<mock_worker::Worker>("worker", Color::Green),
];

impl Package {
    const fn of<K: MockKind>(name: &'static str, colour: Color) -> Self {
        Self {
            name,
            colour,
            types: K::TYPES,
            kind: K::KIND,
            rules: rbac::rules::<K>,
            admission: admission::spec::<K>,
            policy: admission::policy_and_binding::<K>,
            secrets: secrets::spec::<K>,
        }
    }

    /// The name that cargo gives the package and its binary, such as `mock-controlplane`. Images and everything that
    /// the chart deploys have the same name.
    #[must_use]
    pub fn full_name(self) -> String {
        format!("mock-{}", self.name)
    }

    /// The kind as Kubernetes writes it, such as `ControlPlane`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        self.kind.name
    }

    /// The rules of the controller's ClusterRole on a seed.
    #[must_use]
    pub fn rules(self) -> Vec<PolicyRule> {
        (self.rules)()
    }

    /// The spec of the kind's admission policy; `types` is a CEL list of values of `spec.type`. Returns `None` if the
    /// way in which gardenlet reads the kind forbids a policy.
    #[must_use]
    pub fn admission(self, types: &str) -> Option<Value> {
        (self.admission)(types)
    }

    /// The admission policy for the default types, and its binding. Returns `None` if the kind can have no policy.
    #[must_use]
    pub fn policy(self) -> Option<[Value; 2]> {
        let types: Vec<String> = self.types.iter().map(ToString::to_string).collect();
        (self.policy)(&self.full_name(), &types)
    }

    /// The spec of the policy that limits which Secrets the controller may write; `user` is a CEL expression. Returns
    /// `None` if it writes none.
    #[must_use]
    pub fn secrets(self, user: &str) -> Option<Value> {
        (self.secrets)(user)
    }

    /// Finds the package of a kind. Upper and lower case count the same.
    #[must_use]
    pub fn find(kind: &str) -> Option<Self> {
        ALL.iter().copied().find(|package| package.name.eq_ignore_ascii_case(kind))
    }

    /// Parses a kind on the command line. The error lists all kinds.
    pub fn parse(kind: &str) -> Result<Self, String> {
        Self::find(kind).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|package| package.name).collect();
            format!("no controller serves this kind; use one of {}", known.join(", "))
        })
    }
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Package {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_found_in_any_spelling_and_the_error_lists_all_kinds() {
        assert_eq!(Package::find("OperatingSystemConfig").unwrap().full_name(), "mock-operatingsystemconfig");
        assert!(Package::parse("bastille").unwrap_err().ends_with("network, worker"));
    }

    #[test]
    fn name_is_the_kind_in_lower_case() {
        for package in ALL {
            assert_eq!(package.kind().to_lowercase(), package.name);
        }
    }
}
