//! A Shoot, its `CloudProfile` and its Seed, as gardener-apiserver has admitted them.

use extension_contract::GARDENER_VERSION;
use extension_contract::json::{remove, set, text};
use serde_json::{Value, json};

use super::plan::{ShootPlan, identify, is_workerless};

const PROJECT_NAMESPACE_PREFIX: &str = "garden-";

/// A Shoot with the `CloudProfile` and the Seed that it refers to, each with all defaults of gardener-apiserver.
#[derive(Clone, Debug)]
pub struct Landscape {
    pub(super) shoot: Value,
    pub(super) cloudprofile: Value,
    pub(super) seed: Value,
    project: String,
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
        Self { shoot, cloudprofile, seed, project }
    }

    /// Sets the name of the Shoot's project, if it does not follow from the namespace.
    pub(super) fn in_project(self, project: String) -> Self {
        Self { project, ..self }
    }

    /// The name of the project that usually has this namespace.
    pub(super) fn project_of(namespace: &str) -> &str {
        namespace.strip_prefix(PROJECT_NAMESPACE_PREFIX).unwrap_or(namespace)
    }

    /// Returns whether the Shoot has no workers. gardenlet then creates no extension object of the plan's kinds.
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
            let name = format!("{}-{index}", text(&shoot, "metadata.name").unwrap_or_default());
            set(&mut shoot, "metadata.name", name);
        }
        identify(&mut shoot, &self.project);
        ShootPlan::new(shoot, self.cloudprofile.clone(), self.seed.clone())
    }
}
