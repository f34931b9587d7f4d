//! A Shoot, its `CloudProfile` and its Seed, as gardener-apiserver has admitted them.

use std::collections::BTreeSet;

use extension_contract::GARDENER_VERSION;
use extension_contract::json::{remove, set, text};
use serde_json::{Value, json};

use super::plan::{ShootPlan, identify, is_workerless};
use super::registrations::Registrations;
use super::seed::SeedPlan;

const PROJECT_NAMESPACE_PREFIX: &str = "garden-";

/// A Shoot with the `CloudProfile` and the Seed that it refers to, each with all defaults of gardener-apiserver.
#[derive(Clone, Debug)]
pub struct Landscape {
    pub(super) shoot: Value,
    pub(super) cloudprofile: Value,
    pub(super) seed: Value,
    pub(super) project: String,
    pub(super) registrations: Registrations,
    pub(super) kinds: Option<BTreeSet<&'static str>>,
}

impl Landscape {
    /// Takes objects as gardener-apiserver has admitted them, and adds what gardenlet writes into the Shoot's status.
    pub(super) fn new(mut shoot: Value, mut cloudprofile: Value, mut seed: Value) -> Self {
        for object in [&mut shoot, &mut cloudprofile, &mut seed] {
            // They differ in each garden.
            for field in ["creationTimestamp", "managedFields", "resourceVersion", "uid"] {
                remove(object, &format!("metadata.{field}"));
            }
        }
        set(&mut shoot, "status.observedGeneration", 1);
        let gardener = json!({"id": "gardener-testbed", "name": "gardenlet", "version": GARDENER_VERSION});
        set(&mut shoot, "status.gardener", gardener);
        let project = Self::project_of(text(&shoot, "metadata.namespace").unwrap_or_default()).to_owned();
        Self { shoot, cloudprofile, seed, project, registrations: Registrations::ours(), kinds: None }
    }

    /// Adds the `ControllerRegistration`s among manifests.
    pub(super) fn registering<'a>(self, manifests: impl IntoIterator<Item = &'a Value>) -> Self {
        Self { registrations: self.registrations.with(manifests), ..self }
    }

    /// Restricts the plans to objects of these kinds. A plan has a Bastion or a SelfHostedShootExposure only if this
    /// method names the kind: gardenlet creates a Bastion if a user asks for SSH access, and an exposure for a
    /// self-hosted Shoot.
    #[must_use]
    pub fn of_kinds(self, kinds: BTreeSet<&'static str>) -> Self {
        Self { kinds: Some(kinds), ..self }
    }

    /// Sets the name of the Shoot's project, if it does not follow from the namespace.
    pub(super) fn in_project(self, project: String) -> Self {
        Self { project, ..self }
    }

    /// The name of the project that usually has this namespace.
    pub(super) fn project_of(namespace: &str) -> &str {
        namespace.strip_prefix(PROJECT_NAMESPACE_PREFIX).unwrap_or(namespace)
    }

    /// Returns whether the Shoot has no workers.
    #[must_use]
    pub fn is_workerless(&self) -> bool {
        is_workerless(&self.shoot)
    }

    /// Returns the landscape with a changed `CloudProfile`.
    #[must_use]
    pub fn with_cloudprofile(&self, change: impl FnOnce(&mut Value)) -> Self {
        let mut changed = self.clone();
        change(&mut changed.cloudprofile);
        changed
    }

    /// Returns the plan of the Shoot. An index makes it one of many similar Shoots: it is appended to the Shoot's name.
    #[must_use]
    pub fn plan(&self, index: Option<usize>) -> ShootPlan {
        let mut shoot = self.shoot.clone();
        if let Some(index) = index {
            let name = text(&shoot, "metadata.name").unwrap_or_default().to_owned();
            let domain = text(&shoot, "spec.dns.domain").and_then(|domain| domain.strip_prefix(&name));
            if let Some(parent) = domain.map(str::to_owned) {
                set(&mut shoot, "spec.dns.domain", format!("{name}-{index}{parent}"));
            }
            set(&mut shoot, "metadata.name", format!("{name}-{index}"));
        }
        identify(&mut shoot, &self.project);
        ShootPlan::new(shoot, self)
    }

    /// Returns the plan of the Seed. An index makes it one of many similar Seeds.
    #[must_use]
    pub fn seed(&self, index: Option<usize>) -> SeedPlan {
        SeedPlan::new(self, index)
    }
}
