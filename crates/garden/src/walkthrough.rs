//! What `cargo xtask garden test` plays: the lives of Shoots under the real gardenlet, with our controllers as it installs
//! them. Each scene has a file of its own.

mod awake;
mod controllers;
mod hibernated;
mod migration;
mod registrations;
mod scripts;
mod stories;
mod web_server;

use std::path::{Path, PathBuf};

use gardener_testbed::manifests;
use kube::Client;
use serde_json::{Value, json};

use crate::error::GardenError;
use crate::layout::Layout;
use crate::news::Say;
use crate::objects;
use crate::shoot::{Shoot, with_all_waits};
use crate::steps::Steps;

/// A garden whose Seeds are ready.
pub(crate) struct Stage<'a> {
    pub(crate) garden: Client,
    /// The Seeds: the name of each, and a client of its cluster.
    pub(crate) seeds: Vec<(String, Client)>,
    pub(crate) layout: &'a Layout,
    /// The root of the sources, with `deploy` and `example`.
    pub(crate) sources: PathBuf,
    /// Whether all scenes are played.
    pub(crate) full: bool,
    pub(crate) steps: &'a Steps<'a>,
    /// Shows a line.
    pub(crate) say: Say<'a>,
}

/// Plays the scenes. Ends at the first failure.
pub(crate) async fn play(stage: &Stage<'_>) -> Result<(), GardenError> {
    let shoot = hibernated::create(stage).await?;
    scripts::fail_for_good(stage, &shoot).await?;
    if stage.full {
        controllers::stopped(stage, &shoot).await?;
        registrations::changed(stage, &shoot).await?;
        hibernated::delete(stage, &shoot).await?;
        migration::moved(stage).await?;
    }
    awake::live(stage).await?;
    if stage.full {
        stories::told(stage).await?;
    }
    Ok(())
}

impl Stage<'_> {
    /// The folder of the manifests that a user applies.
    fn examples(&self) -> PathBuf {
        self.sources.join("example")
    }

    /// Applies a file of the examples, whose last object is a Shoot.
    async fn apply(&self, file: &str) -> Result<Shoot, GardenError> {
        self.apply_changed(file, &json!({})).await
    }

    /// Applies a file of the examples after `change` was merged into its last object, which is a Shoot.
    async fn apply_changed(&self, file: &str, change: &Value) -> Result<Shoot, GardenError> {
        let file = self.examples().join(file);
        let mut manifests: Vec<_> = manifests::read(&file)?.into_iter().map(with_all_waits).collect();
        if let Some(shoot) = manifests.last_mut() {
            json_patch::merge(shoot, change);
        }
        objects::apply_all(&self.garden, &manifests).await?;
        shoot(&self.garden, &manifests, &file)
    }

    /// The cluster of the Seed that has a Shoot.
    async fn seed_of(&self, shoot: &Shoot) -> Result<&Client, GardenError> {
        let name = shoot.seed().await?;
        let seed = self.seeds.iter().find(|(seed, _)| *seed == name);
        seed.map(|(_, client)| client)
            .ok_or_else(|| GardenError::Unusable(format!("the Shoot {} is in no Seed", shoot.name)))
    }

    /// Returns when gardenlet has succeeded in what was demanded of a Shoot.
    async fn succeeds(&self, shoot: &Shoot) -> Result<(), GardenError> {
        shoot.succeeds(self.say).await
    }

    /// Deletes a Shoot, as a step of this name.
    async fn delete(&self, shoot: &Shoot, step: &str) -> Result<(), GardenError> {
        let deleted = async {
            shoot.delete().await?;
            shoot.is_gone(self.say).await
        };
        self.steps.run(step, deleted).await
    }
}

/// The Shoot of a file.
fn shoot(garden: &Client, manifests: &[Value], file: &Path) -> Result<Shoot, GardenError> {
    let missing = || GardenError::File { file: file.to_owned(), problem: "it has no Shoot".to_owned() };
    manifests.last().map(|manifest| Shoot::of(garden, manifest)).ok_or_else(missing)
}
