//! The Secrets that a controller may write: RBAC allows all of them, and a policy of the API server limits it.

use extension_conformance::{LIMIT, ensure, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use libtest_mimic::Failed;
use serde_json::json;

use crate::scene::MockScene;

/// The controller's user can write a Secret as the controller does, and no other. A refused write shows nothing of the
/// Secret either.
pub async fn only_secrets_of_the_kind_may_be_written(scene: MockScene) -> Result<(), Failed> {
    let kubeconfig: Kubeconfig = serde_json::from_value(scene.mock().kubeconfig()?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let own = scene.secrets("a").into_iter().next().ok_or("the kind writes no Secret")?;
    let attacker: Api<Secret> = Api::namespaced(Client::try_from(config)?, &own.namespace);
    let admin: Api<Secret> = Api::namespaced(scene.client(), &own.namespace);
    // Its name is allowed, but its type is not.
    let (of_account, new_of_account) = (format!("{}-token", own.name), format!("{}-new", own.name));
    let own = own.name;
    let token = json!({ "kubernetes.io/service-account.name": "default" });
    for (name, kind) in [("victim", "Opaque"), (of_account.as_str(), "kubernetes.io/service-account-token")] {
        let secret = json!({ "metadata": { "name": name, "annotations": token }, "type": kind });
        admin.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    }

    // The policy takes effect a moment after its creation.
    let apply = |name: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
    eventually(LIMIT, || async { refused(attacker.patch("new", &by(true), &Patch::Apply(apply("new"))).await) })
        .await?;
    for (name, patch) in [
        ("victim", Patch::Apply(apply("victim"))),
        ("victim", Patch::Merge(json!({}))),
        ("victim", Patch::Strategic(json!({ "stringData": { "a": "b" } }))),
        ("victim", Patch::Merge(json!({ "metadata": { "annotations": { "a": "b" } } }))),
        (&of_account, Patch::Merge(json!({}))),
    ] {
        for dry_run in [true, false] {
            let params = PatchParams { dry_run, ..by(matches!(patch, Patch::Apply(_))) };
            refused(attacker.patch(name, &params, &patch).await)?;
        }
    }
    for secret in [
        json!({ "metadata": { "name": "new" } }),
        json!({ "metadata": { "generateName": "new-" } }),
        json!({ "metadata": { "name": new_of_account, "annotations": token },
            "type": "kubernetes.io/service-account-token" }),
    ] {
        refused(attacker.create(&PostParams::default(), &serde_json::from_value(secret)?).await)?;
    }

    let applied = attacker.patch(&own, &by(true), &Patch::Apply(apply(&own))).await?;
    ensure(applied.type_.as_deref() == Some("Opaque"), "the controller's own Secret was changed")
}

/// Parameters of an apply, which must name its field manager, or of another patch.
fn by(is_apply: bool) -> PatchParams {
    if is_apply { PatchParams::apply("attacker").force() } else { PatchParams::default() }
}

fn refused(answer: kube::Result<Secret>) -> Result<(), Failed> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("may write only Secrets") => {
            Ok(())
        }
        Err(error) => Err(format!("another error: {error}").into()),
        Ok(secret) => Err(format!("the write is accepted: {:?}", secret.metadata.name).into()),
    }
}
