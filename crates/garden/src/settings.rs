//! What the outside tells the inside.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::GardenError;
use crate::layout::Layout;

/// A port of this machine that leads to an API server inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Door {
    /// The cluster: `garden`, `seed`, `seed-2`…
    pub cluster: String,
    /// The Seed whose cluster it is. The garden cluster has none.
    pub seed: Option<String>,
    /// The port.
    pub port: u16,
    /// The port that leads to the gateway of the Seed, behind which are its awake Shoots.
    pub shoots: Option<u16>,
}

/// What a garden is started for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// It runs until the command ends.
    Up,
    /// It plays the walkthrough, and ends.
    Test {
        /// Where the result is written as `JUnit`, if anywhere.
        junit: Option<PathBuf>,
        /// Whether it plays all scenes, which takes much longer than the first ones.
        full: bool,
    },
    /// It creates hibernated Shoots, and measures.
    Load {
        /// How many Shoots.
        shoots: u32,
        /// How many Shoots in a second.
        rate: f64,
    },
}

/// What a garden consists of, and what it is started for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The root of the sources, with `deploy` and `example`.
    pub sources: PathBuf,
    /// The number of Seeds, at least 1.
    pub seeds: u8,
    /// Files with Shoots that are created once the Seed is ready.
    pub shoots: Vec<PathBuf>,
    /// Gardener's feature gates that differ from their defaults, as `Name=true`, for gardenlet.
    pub feature_gates: Vec<(String, bool)>,
    /// What the garden is started for.
    pub work: Work,
}

/// What the outside tells the inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// What is wanted.
    pub wanted: Wanted,
    /// The doors, first that of the garden.
    pub doors: Vec<Door>,
}

impl Settings {
    /// The cluster of a Seed: of the first one if no name is given.
    ///
    /// # Errors
    /// No Seed has this name.
    pub fn cluster_of(&self, seed: Option<&str>) -> Result<&str, GardenError> {
        let seeds = || self.doors.iter().filter_map(|door| Some((door.seed.as_deref()?, door.cluster.as_str())));
        let found = seeds().find(|(name, _)| seed.is_none_or(|seed| seed == *name));
        found.map(|(_, cluster)| cluster).ok_or_else(|| {
            let known: Vec<_> = seeds().map(|(name, _)| name).collect();
            GardenError::Unusable(format!("no Seed {} is here: use {}", seed.unwrap_or_default(), known.join(" or ")))
        })
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<(), GardenError> {
        let file = layout.settings();
        let text = serde_json::to_vec(self).map_err(|error| GardenError::Unusable(error.to_string()))?;
        fs::write(&file, text).map_err(GardenError::system(format!("write {}", file.display())))
    }

    /// Reads what the outside has written.
    ///
    /// # Errors
    /// The file cannot be read, or another version of this program has written it.
    pub fn read(layout: &Layout) -> Result<Self, GardenError> {
        let file = layout.settings();
        let text = fs::read(&file).map_err(GardenError::system(format!("read {}", file.display())))?;
        serde_json::from_slice(&text).map_err(|error| GardenError::File { file, problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_is_found_by_its_name_and_the_first_one_without_a_name() {
        let door = |cluster: &str, seed: Option<&str>| Door {
            cluster: cluster.to_owned(),
            seed: seed.map(str::to_owned),
            port: 1,
            shoots: None,
        };
        let doors = vec![door("garden", None), door("seed", Some("a")), door("seed-2", Some("a-2"))];
        let (sources, shoots, feature_gates) = (PathBuf::new(), Vec::new(), Vec::new());
        let wanted = Wanted { sources, seeds: 2, shoots, feature_gates, work: Work::Up };
        let settings = Settings { wanted, doors };
        assert_eq!(settings.cluster_of(None).unwrap(), "seed");
        assert_eq!(settings.cluster_of(Some("a-2")).unwrap(), "seed-2");
        let unknown = settings.cluster_of(Some("garden")).unwrap_err().to_string();
        assert_eq!(unknown, "no Seed garden is here: use a or a-2");
    }
}
