//! A Shoot fails as a script in its annotation says.

use serde_json::{Value, json};

use super::Stage;
use crate::error::GardenError;
use crate::shoot::Shoot;

/// The annotation of a Shoot's script.
const SCRIPT: &str = "mock.extensions.gardener.cloud/script";
/// With this code, gardenlet does not try again (`pkg/api/core/v1beta1/helper/errors.go`).
const CODE: &str = "ERR_INFRA_UNAUTHENTICATED";

/// Lets the Shoot's credentials expire and be renewed. gardenlet gives up, and goes on when its user says so.
pub(super) async fn fail_for_good(stage: &Stage<'_>, shoot: &Shoot) -> Result<(), GardenError> {
    let script = json!({
        "apiVersion": "mock.extensions.gardener.cloud/v1alpha1",
        "kind": "Script",
        "rules": [{
            "match": {"kinds": ["ControlPlane"], "operations": ["Reconcile"]},
            "fail": {"message": "the credentials have expired", "codes": [CODE], "retryAfter": "2s"},
        }],
    });
    let expired = async {
        shoot.change(requested("reconcile", &json!(script.to_string()))).await?;
        shoot.fails_with(CODE, stage.say).await
    };
    stage.steps.run("with a script that lets it fail for good, it fails with the code of the script", expired).await?;

    let renewed = async {
        shoot.change(requested("retry", &Value::Null)).await?;
        stage.succeeds(shoot).await
    };
    stage.steps.run("without the script, a retry succeeds", renewed).await
}

/// A change of the Shoot's script that requests an operation as well.
fn requested(operation: &str, script: &Value) -> Value {
    json!({"metadata": {"annotations": {"gardener.cloud/operation": operation, SCRIPT: script}}})
}
