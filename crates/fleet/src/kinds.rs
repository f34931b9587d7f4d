//! The one list of kinds that have a controller. Every command goes by it.

use crossterm::style::Color;
use k8s_openapi::api::rbac::v1::PolicyRule;
use mock_core::deploy::{admission, rbac, secrets};
use mock_core::kind::{Class, Kind, MockKind};
use mock_core::rehearse::{Act, NoScene, Scene, rehearse};
use serde_json::{Map, Value};

/// The package of a controller, which serves one kind.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The kind in lower case, such as `controlplane`; also the name of the package's folder below `crates`.
    pub name: &'static str,
    /// Values of `spec.type` that the controller serves by default.
    pub types: &'static [&'static str],
    /// The finalizer that the controller adds.
    pub finalizer: &'static str,
    kind: &'static Kind,
    registration: fn(&str) -> Map<String, Value>,
    rules: fn(&[Class]) -> Vec<PolicyRule>,
    companion_rules: fn() -> Option<Vec<PolicyRule>>,
    admission: fn(&str, &str) -> Option<Value>,
    policy: fn(&str, &[String]) -> Option<[Value; 2]>,
    secrets: fn(&str) -> Option<Value>,
    rehearse: fn(&Scene<'_>) -> Result<Act, NoScene>,
}

/// All packages, in the order in which gardenlet creates objects of their kinds.
pub const ALL: &[Package] = &[
    Package::of::<mock_backupbucket::BackupBucket>("backupbucket"),
    Package::of::<mock_dnsrecord::DNSRecord>("dnsrecord"),
    Package::of::<mock_infrastructure::Infrastructure>("infrastructure"),
    Package::of::<mock_backupentry::BackupEntry>("backupentry"),
    Package::of::<mock_extension::Extension>("extension"),
    Package::of::<mock_controlplane::ControlPlane>("controlplane"),
    Package::of::<mock_containerruntime::ContainerRuntime>("containerruntime"),
    Package::of::<mock_operatingsystemconfig::OperatingSystemConfig>("operatingsystemconfig"),
    Package::of::<mock_network::Network>("network"),
    Package::of::<mock_worker::Worker>("worker"),
    Package::of::<mock_bastion::Bastion>("bastion"),
    Package::of::<mock_selfhostedshootexposure::SelfHostedShootExposure>("selfhostedshootexposure"),
];

const COLOURS: [Color; 12] = [
    Color::DarkCyan,
    Color::DarkMagenta,
    Color::Cyan,
    Color::DarkYellow,
    Color::DarkGreen,
    Color::Magenta,
    Color::DarkBlue,
    Color::Yellow,
    Color::Blue,
    Color::Green,
    Color::DarkRed,
    Color::DarkGrey,
];

impl Package {
    const fn of<K: MockKind>(name: &'static str) -> Self {
        Self {
            name,
            types: K::TYPES,
            finalizer: K::FINALIZER,
            kind: K::KIND,
            registration: K::registration,
            rules: rbac::rules::<K>,
            companion_rules: rbac::companion_rules::<K>,
            admission: admission::spec::<K>,
            policy: admission::policy_and_binding::<K>,
            secrets: secrets::spec::<K>,
            rehearse: rehearse::<K>,
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

    /// What a registration says of a type of this kind, besides kind and type.
    #[must_use]
    pub fn registration(self, provider: &str) -> Map<String, Value> {
        (self.registration)(provider)
    }

    /// Whether Gardener creates objects of this kind in the garden's runtime cluster.
    #[must_use]
    pub fn is_in_garden(self) -> bool {
        self.kind.classes.contains(&Class::Garden)
    }

    /// The rules of the controller's ClusterRole on a seed.
    #[must_use]
    pub fn rules(self) -> Vec<PolicyRule> {
        (self.rules)(self.kind.usual_classes())
    }

    /// The rules of the controller's ClusterRole in the garden's runtime cluster. Returns `None` if the kind has no objects
    /// there.
    #[must_use]
    pub fn rules_in_garden(self) -> Option<Vec<PolicyRule>> {
        self.is_in_garden().then(|| (self.rules)(&[Class::Garden]))
    }

    /// The further rules of the controller's ClusterRole with its companion. Returns `None` if the kind has none.
    #[must_use]
    pub fn companion_rules(self) -> Option<Vec<PolicyRule>> {
        (self.companion_rules)()
    }

    /// The colour of the controller's lines where the output of several controllers is mixed.
    #[must_use]
    pub fn colour(self) -> Color {
        let place = ALL.iter().position(|package| *package == self).unwrap_or_default();
        COLOURS.into_iter().cycle().nth(place).unwrap_or(Color::Reset)
    }

    /// The values of `spec.class` that the controller serves on a seed.
    #[must_use]
    pub fn classes(self) -> Vec<&'static str> {
        self.kind.usual_classes().iter().map(|class| class.as_str()).collect()
    }

    /// The spec of the kind's admission policy; `types` and `classes` are CEL lists of values of `spec.type` and
    /// `spec.class`. Returns `None` if the way in which gardenlet reads the kind forbids a policy.
    #[must_use]
    pub fn admission(self, types: &str, classes: &str) -> Option<Value> {
        (self.admission)(types, classes)
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

    /// What the controller does with an object of this kind.
    pub fn rehearse(self, scene: &Scene<'_>) -> Result<Act, NoScene> {
        (self.rehearse)(scene)
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

    /// The packages that `--only` names, each once and in the order of [`ALL`]; all if it names none.
    #[must_use]
    pub fn only(named: &[Self]) -> Vec<Self> {
        ALL.iter().copied().filter(|package| named.is_empty() || named.contains(package)).collect()
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
        let error = Package::parse("bastille").unwrap_err();
        assert!(ALL.iter().all(|package| error.contains(package.name)), "{error}");
    }

    #[test]
    fn rules_in_the_garden_are_those_on_a_seed_without_clusters_and_namespaces() {
        let elsewhere = ["clusters", "namespaces"];
        let is_elsewhere =
            |rule: &PolicyRule| rule.resources.iter().flatten().any(|resource| elsewhere.contains(&resource.as_str()));
        for package in ALL.iter().filter(|package| package.is_in_garden()) {
            let mut rules = package.rules();
            rules.retain(|rule| !is_elsewhere(rule));
            assert_eq!(package.rules_in_garden(), Some(rules), "{}", package.name);
        }
    }

    #[test]
    fn kind_that_is_named_twice_counts_once() {
        let names = |named: &[&str]| -> Vec<_> {
            let named: Vec<_> = named.iter().map(|name| Package::parse(name).unwrap()).collect();
            Package::only(&named).into_iter().map(|package| package.name).collect()
        };
        assert_eq!(names(&["worker", "network", "Worker"]), ["network", "worker"]);
        assert_eq!(names(&[]).len(), ALL.len());
    }

    #[test]
    fn name_is_the_kind_in_lower_case() {
        for package in ALL {
            assert_eq!(package.kind().to_lowercase(), package.name);
        }
    }
}
