//! A Shoot moves from one Seed to another.

use extension_contract::json::text;
use kube::api::{DynamicObject, PostParams};
use serde_json::{Value, json};

use super::{DONE_WITHIN, Shoot, describe};
use crate::error::GardenError;
use crate::news::Say;
use crate::{objects, wait};

impl Shoot {
    /// Requests that its control plane moves to another Seed.
    pub(crate) async fn bind(&self, seed: &str) -> Result<(), GardenError> {
        let doing = || format!("move the Shoot {} to the Seed {seed}", self.name);
        let mut shoot = self.api.get(&self.name).await.map_err(GardenError::request(doing()))?;
        json_patch::merge(&mut shoot.data, &json!({"spec": {"seedName": seed}}));
        let bound = self.api.replace_subresource("binding", &self.name, &PostParams::default(), &shoot).await;
        bound.map(|_: DynamicObject| ()).map_err(GardenError::request(doing()))
    }

    /// Returns when the gardenlet of another Seed has restored its control plane there.
    pub(crate) async fn is_restored_on(&self, seed: &str, say: Say<'_>) -> Result<(), GardenError> {
        let mut shown = String::new();
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            self.show(&shoot, &mut shown, say);
            if is_on(&shoot, seed) { Ok(()) } else { Err(describe(&shoot)) }
        };
        wait::until(DONE_WITHIN, &format!("the Shoot {} has not left its Seed", self.name), check).await?;
        self.succeeds(say).await
    }

    /// The name of its namespace in the Seed.
    pub(crate) async fn technical_id(&self) -> Result<String, GardenError> {
        let shoot = objects::get(&self.api, &self.name).await.map_err(GardenError::Unusable)?;
        let id = shoot.as_ref().and_then(|shoot| text(shoot, "status.technicalID"));
        id.map(str::to_owned).ok_or_else(|| self.unexpected("has no technical ID"))
    }
}

/// Whether the gardenlet of this Seed has taken over a Shoot. After a migration, it restores it.
fn is_on(shoot: &Value, seed: &str) -> bool {
    text(shoot, "status.seedName") == Some(seed) && text(shoot, "status.lastOperation.type") == Some("Restore")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shoot_whose_migration_has_succeeded_is_not_on_the_other_seed_yet() {
        let shoot =
            |seed: &str, operation: &str| json!({"status": {"seedName": seed, "lastOperation": {"type": operation}}});
        assert!(is_on(&shoot("b", "Restore"), "b"));
        assert!(!is_on(&shoot("b", "Migrate"), "b"));
        assert!(!is_on(&shoot("a", "Restore"), "b"));
    }
}
