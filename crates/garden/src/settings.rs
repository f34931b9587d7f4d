//! What the outside tells the inside.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::GardenError;
use crate::layout::Layout;

/// The ports of this machine that lead to API servers inside.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Doors {
    /// The port of the garden cluster.
    pub garden: u16,
    /// The port of the seed cluster.
    pub seed: u16,
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
}

/// What the outside tells the inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The root of the sources, with `deploy` and `example`.
    pub sources: PathBuf,
    /// Files with Shoots that are created once the Seed is ready.
    pub shoots: Vec<PathBuf>,
    /// Gardener's feature gates that differ from their defaults, as `Name=true`, for gardenlet.
    pub feature_gates: Vec<(String, bool)>,
    /// The doors.
    pub doors: Doors,
    /// What the garden is started for.
    pub work: Work,
}

impl Settings {
    pub(crate) fn write(&self, layout: &Layout) -> Result<(), GardenError> {
        let file = layout.settings();
        let text = serde_json::to_vec(self).map_err(|error| GardenError::Unusable(error.to_string()))?;
        fs::write(&file, text).map_err(GardenError::system(format!("write {}", file.display())))
    }

    pub(crate) fn read(layout: &Layout) -> Result<Self, GardenError> {
        let file = layout.settings();
        let text = fs::read(&file).map_err(GardenError::system(format!("read {}", file.display())))?;
        serde_json::from_slice(&text).map_err(|error| GardenError::File { file, problem: error.to_string() })
    }
}
