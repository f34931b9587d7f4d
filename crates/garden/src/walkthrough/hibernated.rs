//! A hibernated Shoot, which needs no nodes.

use super::Stage;
use crate::error::GardenError;
use crate::shoot::Shoot;

/// Creates the hibernated Shoot of the examples, and reconciles it.
pub(super) async fn create(stage: &Stage<'_>) -> Result<Shoot, GardenError> {
    let created = async {
        let shoot = stage.apply("56-shoot-hibernated.yaml").await?;
        stage.succeeds(&shoot).await.map(|()| shoot)
    };
    let shoot = stage.steps.run("a hibernated Shoot is created", created).await?;
    let reconciled = async {
        shoot.request_reconciliation().await?;
        stage.succeeds(&shoot).await
    };
    stage.steps.run("it is reconciled", reconciled).await?;
    Ok(shoot)
}

/// Deletes it. gardenlet wakes its control plane to clean up what is in it.
pub(super) async fn delete(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    stage.delete(shoot, "the hibernated Shoot is deleted").await
}
