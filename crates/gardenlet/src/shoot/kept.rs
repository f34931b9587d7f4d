//! The answers of gardener-apiserver for the examples of this repository, kept as generated data, so that demo,
//! benchmark and tests play an example without a gardener-apiserver. A test asks the real one and compares.

use std::collections::BTreeMap;
use std::path::Path;

use extension_contract::json::{get, remove, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::LandscapeError;
use super::hash::sha256_hex;
use super::landscape::Landscape;
use super::manifest::Manifests;

/// How the kept answers are renewed.
pub(super) const REMEDY: &str =
    "run `MOCK_KEEP=1 cargo test -p mock-promises --test garden examples` if the example was changed on purpose";

const KEPT: &str = include_str!("admitted.json");

/// The file of the kept answers, in the folder of this package.
pub const KEPT_FILE: &str = "src/shoot/admitted.json";

/// All examples have the same `CloudProfile`.
#[derive(Serialize, Deserialize)]
struct Kept {
    cloudprofile: Value,
    /// By their names.
    seeds: BTreeMap<String, Value>,
    /// By the name of the example's file.
    shoots: BTreeMap<String, KeptShoot>,
}

#[derive(Serialize, Deserialize)]
struct KeptShoot {
    /// The hash of the manifests that were admitted.
    given: String,
    shoot: Value,
}

impl Manifests {
    /// Returns the kept answer of gardener-apiserver, if these are the manifests of an example. The annotation `opaque`
    /// of the Shoot may differ: it must be one that gardener-apiserver does not interpret.
    #[must_use]
    pub fn kept(&self, opaque: &str) -> Option<Landscape> {
        let mut kept: Kept = serde_json::from_str(KEPT).ok()?;
        let given = self.hash(opaque);
        let mut shoot = kept.shoots.into_values().find(|kept| kept.given == given)?.shoot;
        let own = |object| get(object, "metadata.annotations")?.get(opaque).cloned();
        if let Some(annotations) = shoot.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(opaque);
            annotations.extend(own(&self.shoot.object).map(|own| (opaque.to_owned(), own)));
        }
        let seed = kept.seeds.remove(text(&shoot, "spec.seedName")?)?;
        let others = self.others.iter().map(|other| &other.object);
        Some(Landscape::new(shoot, kept.cloudprofile, seed).registering(others))
    }

    fn hash(&self, opaque: &str) -> String {
        let mut shoot = self.shoot.object.clone();
        if let Some(annotations) = shoot.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(opaque);
        }
        let others: Vec<&Value> = self.others.iter().map(|other| &other.object).collect();
        sha256_hex(&json!([shoot, others]).to_string())
    }
}

impl Landscape {
    /// Returns an example of this repository, with the kept answer of gardener-apiserver.
    ///
    /// # Errors
    /// The file is not an example, or the example has changed since the answer was kept.
    pub fn example(file: &Path) -> Result<Self, LandscapeError> {
        let stale = || LandscapeError::Stale { file: file.to_owned() };
        Manifests::read(file, None, None, None)?.kept("").ok_or_else(stale)
    }
}

/// Renders the answers of gardener-apiserver for all examples, as [`KEPT_FILE`] holds them. `opaque` is that of
/// [`Manifests::kept`].
#[must_use]
pub fn render(examples: &[(Manifests, Landscape)], opaque: &str) -> String {
    let (mut cloudprofile, mut seeds, mut shoots) = (Value::Null, BTreeMap::new(), BTreeMap::new());
    for (manifests, admitted) in examples {
        let name = manifests.shoot.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut shoot = admitted.shoot.clone();
        // gardener-apiserver draws it at random.
        remove(&mut shoot, "spec.maintenance.timeWindow");
        shoots.insert(name, KeptShoot { given: manifests.hash(opaque), shoot });
        cloudprofile = admitted.cloudprofile.clone();
        let name = text(&admitted.seed, "metadata.name").unwrap_or_default().to_owned();
        seeds.insert(name, admitted.seed.clone());
    }
    // Serialising values to a string cannot fail.
    serde_json::to_string_pretty(&Kept { cloudprofile, seeds, shoots }).unwrap_or_default() + "\n"
}
