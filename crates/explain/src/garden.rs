//! What the garden knows of extensions: which registration serves a kind and type, and whether it is installed.

use extension_contract::json::{list, text};
use serde::Serialize;
use serde_json::Value;

/// The registrations and installations of a garden.
#[derive(Clone, Debug, Default)]
pub struct Garden {
    /// The `ControllerRegistration`s.
    pub registrations: Vec<Value>,
    /// The `ControllerInstallation`s of all seeds.
    pub installations: Vec<Value>,
}

/// Who serves a kind and type on a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// No registration has the kind and type.
    Unregistered,
    /// The registration with this name has it, but is not installed on the seed.
    NotInstalled(String),
    /// It is installed.
    Installed(Installation),
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Installation {
    /// Name of the ControllerRegistration.
    pub registration: String,
    /// Name of the ControllerInstallation.
    pub name: String,
    /// Namespace of the extension on the seed.
    pub namespace: String,
    /// Conditions that say that something is wrong: `Healthy is False: …`.
    pub problems: Vec<String>,
    /// Whether one of them says more than that a rollout is under way.
    #[serde(skip)]
    pub is_broken: bool,
}

impl Garden {
    /// Who serves a kind and type on a seed. Without the seed's name, any installation counts. Types are compared exactly
    /// (`pkg/gardenlet/controller/shoot/care/health.go`).
    #[must_use]
    pub fn server(&self, kind: &str, type_: &str, seed: Option<&str>) -> Server {
        let Some(registration) = self.registration(kind, type_) else { return Server::Unregistered };
        let name = text(registration, "metadata.name").unwrap_or_default();
        let of_seed = |installation: &&Value| {
            text(installation, "spec.registrationRef.name") == Some(name)
                && seed.is_none_or(|seed| text(installation, "spec.seedRef.name") == Some(seed))
        };
        match self.installations.iter().find(of_seed) {
            None => Server::NotInstalled(name.to_owned()),
            Some(installation) => Server::Installed(Installation::of(name, installation)),
        }
    }

    /// How long gardenlet waits for an object of this type, in Go's notation, if its registration says so. Only kind
    /// Extension heeds it (`pkg/component/shared/extension.go`).
    #[must_use]
    pub fn reconcile_timeout(&self, kind: &str, type_: &str) -> Option<&str> {
        text(resource(self.registration(kind, type_)?, kind, type_)?, "reconcileTimeout")
    }

    /// The namespaces of all installations, on their seeds.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = String> {
        self.installations.iter().filter_map(|installation| text(installation, "metadata.name")).map(namespace)
    }

    fn registration(&self, kind: &str, type_: &str) -> Option<&Value> {
        self.registrations.iter().find(|registration| resource(registration, kind, type_).is_some())
    }
}

fn resource<'a>(registration: &'a Value, kind: &str, type_: &str) -> Option<&'a Value> {
    let mut resources = list(registration, "spec.resources").iter();
    resources.find(|resource| text(resource, "kind") == Some(kind) && text(resource, "type") == Some(type_))
}

/// The namespace of an installation on its seed (`pkg/utils/gardener/controllerinstallation.go`).
fn namespace(installation: &str) -> String {
    format!("extension-{installation}")
}

impl Installation {
    /// `pkg/gardenlet/controller/controllerinstallation/care/reconciler.go` writes the conditions.
    fn of(registration: &str, installation: &Value) -> Self {
        let name = text(installation, "metadata.name").unwrap_or_default().to_owned();
        let wrong = |condition: &&Value| {
            let wanted = match text(condition, "type") {
                Some("Valid" | "Installed" | "Healthy") => "True",
                Some("Progressing") => "False",
                _ => return false,
            };
            text(condition, "status") != Some(wanted)
        };
        let conditions = list(installation, "status.conditions").iter().filter(wrong);
        let is_broken = conditions.clone().any(|condition| text(condition, "type") != Some("Progressing"));
        let problems = conditions.map(|condition| {
            let field = |field| text(condition, field).unwrap_or_default();
            format!("{} is {}: {}", field("type"), field("status"), field("message"))
        });
        let problems: Vec<_> = if list(installation, "status.conditions").is_empty() {
            vec!["gardenlet has not reported on it".to_owned()]
        } else {
            problems.collect()
        };
        Self { registration: registration.to_owned(), namespace: namespace(&name), name, problems, is_broken }
    }
}
