//! The kinds that have a controller: the one list that every chore goes by.

use crossterm::style::Color;
use k8s_openapi::api::rbac::v1::PolicyRule;
use mock_core::{admission, extension::Extension, rbac};
use serde_json::Value;

/// A kind with a controller of its own, the binary of the package of the same name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The kind in lower case: its folder below `crates`.
    pub(crate) name: &'static str,
    /// The colour of its lines where the output of several controllers is mixed.
    pub(crate) colour: Color,
    /// Values of `spec.type` that its controller serves by default.
    pub(crate) types: &'static [&'static str],
    pascal_case: fn() -> String,
    rules: fn() -> Vec<PolicyRule>,
    admission: fn(&str) -> Option<Value>,
    policy: fn(&str, &[String]) -> Option<[Value; 2]>,
}

/// All kinds, in the order in which gardenlet creates them.
pub(crate) const ALL: &[Kind] = &[
    Kind::of::<mock_infrastructure::Infrastructure>("infrastructure", Color::Cyan),
    Kind::of::<mock_controlplane::ControlPlane>("controlplane", Color::Magenta),
    Kind::of::<mock_operatingsystemconfig::OperatingSystemConfig>("operatingsystemconfig", Color::Yellow),
    Kind::of::<mock_network::Network>("network", Color::Blue),
    Kind::of::<mock_worker::Worker>("worker", Color::Green),
];

impl Kind {
    const fn of<K: Extension>(name: &'static str, colour: Color) -> Self {
        Self {
            name,
            colour,
            types: K::TYPES,
            pascal_case: || K::kind(&()).into_owned(),
            rules: rbac::rules::<K>,
            admission: admission::spec::<K>,
            policy: admission::objects::<K>,
        }
    }

    /// The name of the package, of its binary and of everything that is deployed of it.
    pub(crate) fn package(self) -> String {
        format!("mock-{}", self.name)
    }

    /// The kind as Kubernetes writes it, such as `ControlPlane`.
    pub(crate) fn kind(self) -> String {
        (self.pascal_case)()
    }

    /// What its controller may do on the seed.
    pub(crate) fn rules(self) -> Vec<PolicyRule> {
        (self.rules)()
    }

    /// Spec of the policy that takes up requests for it inside of them, for a CEL list of types; none if its readers
    /// forbid one.
    pub(crate) fn admission(self, types: &str) -> Option<Value> {
        (self.admission)(types)
    }

    /// That policy for the default types, and its binding.
    pub(crate) fn policy(self) -> Option<[Value; 2]> {
        let types: Vec<String> = self.types.iter().map(ToString::to_string).collect();
        (self.policy)(&self.package(), &types)
    }

    /// The kind of a name as Kubernetes writes it, such as `ControlPlane`, or as people type it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|kind| kind.name.eq_ignore_ascii_case(name))
    }

    /// For the command line.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Self::find(name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|kind| kind.name).collect();
            format!("there is no such kind: known are {}", known.join(", "))
        })
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_in_any_spelling_and_the_error_lists_them() {
        assert_eq!(Kind::find("OperatingSystemConfig").unwrap().package(), "mock-operatingsystemconfig");
        assert!(Kind::parse("bastille").unwrap_err().ends_with("network, worker"));
    }

    #[test]
    fn names_are_the_kinds_in_lower_case() {
        for kind in ALL {
            assert_eq!(kind.kind().to_lowercase(), kind.name);
        }
    }
}
