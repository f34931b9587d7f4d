//! A Shoot, its `CloudProfile` and its Seed.

use std::path::Path;

use extension_contract::json::{set, text};
use serde_json::Value;

use super::defaults;
use super::manifest::{LandscapeError, Manifest};
use super::plan::{ShootPlan, is_workerless};

/// The default file of the `CloudProfile`, in the folder of the Shoot's file.
pub(super) const CLOUDPROFILE_FILE: &str = "20-cloudprofile.yaml";
/// The default file of the Seed, in the folder of the Shoot's file.
pub(super) const SEED_FILE: &str = "40-seed.yaml";

/// A Shoot with the `CloudProfile` and the Seed that it refers to. The Shoot has the defaults that gardener-apiserver
/// sets.
#[derive(Clone, Debug)]
pub struct Landscape {
    shoot: Value,
    cloudprofile: Value,
    seed: Value,
}

impl Landscape {
    /// Reads the manifests. The default files of `CloudProfile` and Seed are `20-cloudprofile.yaml` and `40-seed.yaml`
    /// in the folder of the Shoot's file. Each file may also contain objects of other kinds.
    pub fn load(shoot: &Path, cloudprofile: Option<&Path>, seed: Option<&Path>) -> Result<Self, LandscapeError> {
        let or_default =
            |given: Option<&Path>, name: &str| given.map_or_else(|| shoot.with_file_name(name), Path::to_owned);
        let shoot = Manifest::read(shoot, "Shoot")?;
        let cloudprofile = Manifest::read(&or_default(cloudprofile, CLOUDPROFILE_FILE), "CloudProfile")?;
        let seed = Manifest::read(&or_default(seed, SEED_FILE), "Seed")?;
        let defaulted = defaults::apply(&shoot, &cloudprofile, &seed)?;
        Ok(Self { shoot: defaulted, cloudprofile: cloudprofile.object, seed: seed.object })
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
        defaults::identify(&mut shoot);
        ShootPlan::new(shoot, self.cloudprofile.clone(), self.seed.clone())
    }
}
