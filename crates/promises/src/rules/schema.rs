//! The controller's writes, compared with the schema of the CRD.

use libtest_mimic::Failed;
use serde_json::json;

use crate::promise::Promise;
use crate::promises;
use crate::scene::MockScene;

pub(crate) const PROMISES: &[Promise] = promises![written_status_paths_exist_in_the_crd];

async fn written_status_paths_exist_in_the_crd(scene: MockScene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    let crd = json!(scene.crds().get(&scene.crd()).await?);
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status");
    (scene.mock().check_schema)(&object, schema.ok_or("the CRD has no status")?)
}
