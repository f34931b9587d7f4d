//! What gardenlet reads from `ControllerRegistration`s: how it handles each type of Extension.

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use extension_contract::json::{get, list, text};
use extension_contract::kinds;
use gardener_testbed::manifests;
use gardener_testbed::workspace::root;
use serde_json::Value;

use super::parts::Lifecycle;

/// The registrations in `deploy`.
static OURS: LazyLock<Registrations> = LazyLock::new(|| {
    let files = fs::read_dir(root().join("deploy/controllerregistrations")).into_iter().flatten().flatten();
    let objects: Vec<Value> = files.filter_map(|file| manifests::read(&file.path()).ok()).flatten().collect();
    Registrations::default().with(&objects)
});

/// How gardenlet handles an Extension (`pkg/apis/core/v1beta1/types_controllerregistration.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handling {
    pub(crate) reconcile: Lifecycle,
    pub(crate) delete: Lifecycle,
    pub(crate) migrate: Lifecycle,
    /// gardenlet waits this long until an Extension is ready.
    pub(crate) reconcile_timeout: Duration,
}

impl Default for Handling {
    /// (`pkg/component/extensions/extension/filters.go`)
    fn default() -> Self {
        Self {
            reconcile: Lifecycle::AfterKubeAPIServer,
            delete: Lifecycle::BeforeKubeAPIServer,
            migrate: Lifecycle::BeforeKubeAPIServer,
            reconcile_timeout: kinds::EXTENSION.timeout,
        }
    }
}

/// A registered type of Extension.
#[derive(Clone, Debug, Default)]
struct Registered {
    handling: Handling,
    /// The clusters that have the Extension unless they disable it: `shoot`, `seed`, `garden`.
    auto_enable: Vec<String>,
    workerless_supported: bool,
}

/// The registered types of Extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registrations(BTreeMap<String, Registered>);

impl Registrations {
    /// The registrations of this repository, in `deploy`. Without the folder, there are none.
    pub(crate) fn ours() -> Self {
        OURS.clone()
    }

    /// Adds the registrations among `objects`. They replace those of the same type.
    pub(crate) fn with<'a>(mut self, objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let registrations = objects.into_iter().filter(|object| text(object, "kind") == Some("ControllerRegistration"));
        for resource in registrations.flat_map(|registration| list(registration, "spec.resources")) {
            if let (Some("Extension"), Some(name)) = (text(resource, "kind"), text(resource, "type")) {
                self.0.insert(name.to_owned(), registered(resource));
            }
        }
        self
    }

    /// How gardenlet handles a type. A type without a registration, for which Gardener would refuse the Shoot, is
    /// handled by the defaults.
    pub(crate) fn handling(&self, extension_type: &str) -> Handling {
        self.0.get(extension_type).map(|registered| registered.handling).unwrap_or_default()
    }

    /// The types and the `providerConfig`s of the Extensions of a cluster: those of its spec, and those that are
    /// enabled for its class (`mergeExtensions` in `pkg/component/shared/extension.go`).
    pub(crate) fn required<'a>(
        &'a self,
        class: &str,
        is_workerless: bool,
        spec: &'a [Value],
    ) -> BTreeMap<&'a str, Option<&'a Value>> {
        let is_enabled = |registered: &Registered| {
            registered.auto_enable.iter().any(|enabled| enabled == class)
                && (!is_workerless || registered.workerless_supported)
        };
        let enabled = self.0.iter().filter(|(_, registered)| is_enabled(registered));
        let mut required: BTreeMap<_, _> = enabled.map(|(name, _)| (name.as_str(), None)).collect();
        for extension in spec {
            let Some(name) = text(extension, "type") else { continue };
            if get(extension, "disabled") == Some(&Value::Bool(true)) {
                required.remove(name);
            } else {
                required.insert(name, get(extension, "providerConfig"));
            }
        }
        required
    }
}

fn registered(resource: &Value) -> Registered {
    let default = Handling::default();
    let lifecycle = |field: &str| match text(resource, &format!("lifecycle.{field}")) {
        Some("BeforeKubeAPIServer") => Some(Lifecycle::BeforeKubeAPIServer),
        Some("AfterKubeAPIServer") => Some(Lifecycle::AfterKubeAPIServer),
        Some("AfterWorker") => Some(Lifecycle::AfterWorker),
        _ => None,
    };
    let timeout = text(resource, "reconcileTimeout").and_then(|timeout| timeout.parse().ok());
    Registered {
        handling: Handling {
            reconcile: lifecycle("reconcile").unwrap_or(default.reconcile),
            delete: lifecycle("delete").unwrap_or(default.delete),
            migrate: lifecycle("migrate").unwrap_or(default.migrate),
            reconcile_timeout: timeout
                .and_then(|timeout: k8s_openapi::jiff::SignedDuration| timeout.try_into().ok())
                .unwrap_or(default.reconcile_timeout),
        },
        auto_enable: list(resource, "autoEnable").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        workerless_supported: get(resource, "workerlessSupported") == Some(&Value::Bool(true)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn registration_says_when_an_extension_is_handled_and_which_clusters_have_it() {
        let registration = json!({"kind": "ControllerRegistration", "spec": {"resources": [
            {"kind": "Worker", "type": "w", "autoEnable": ["shoot"]},
            {"kind": "Extension", "type": "auto", "autoEnable": ["shoot", "seed"], "reconcileTimeout": "5m0s"},
            {"kind": "Extension", "type": "both", "autoEnable": ["shoot"], "workerlessSupported": true,
                "lifecycle": {"reconcile": "AfterWorker", "migrate": "AfterKubeAPIServer"}},
        ]}});
        let registrations = Registrations::default().with([&registration]);
        let spec = [json!({"type": "asked", "providerConfig": {"a": 1}}), json!({"type": "auto", "disabled": true})];
        let names = |class, is_workerless, spec| {
            registrations.required(class, is_workerless, spec).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(names("shoot", false, &[]), ["auto", "both"]);
        assert_eq!(names("shoot", true, &[]), ["both"]);
        assert_eq!(names("seed", false, &[]), ["auto"]);
        assert_eq!(names("shoot", false, &spec), ["asked", "both"]);
        assert_eq!(registrations.required("shoot", false, &spec)["asked"], Some(&json!({"a": 1})));

        assert_eq!(registrations.handling("auto").reconcile_timeout, Duration::from_secs(300));
        let both = registrations.handling("both");
        assert_eq!((both.reconcile, both.migrate), (Lifecycle::AfterWorker, Lifecycle::AfterKubeAPIServer));
        assert_eq!(Handling { reconcile: Lifecycle::AfterKubeAPIServer, ..both }.delete, Handling::default().delete);
        assert_eq!(registrations.handling("unknown"), Handling::default());
    }
}
