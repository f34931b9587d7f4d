//! BackupEntry keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_backupentry::BackupEntry;
use mock_core::k8s::Secret;
use mock_core::kind::SecretKey;
use mock_promises::{
    Candidate, MockScene, asking, credentials, ensure, last, merged, only_secrets_of_the_kind_may_be_written, text,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<BackupEntry>(Candidate {
        given: || vec![credentials("garden", "entry")],
        secrets: |namespace, _| vec![SecretKey { namespace: namespace.to_owned(), name: ETCD.to_owned() }],
        ..Candidate::new(
            env!("CARGO_BIN_EXE_mock-backupentry"),
            || {
                let secret = json!({ "name": "entry", "namespace": "garden" });
                json!({ "bucketName": "bucket", "region": "nowhere", "secretRef": secret })
            },
            mock_promises::promises![
                secret_of_etcd_has_credentials_and_bucket_before_the_success,
                source_entry_has_a_secret_of_its_own,
                entry_without_its_namespace_succeeds_without_a_secret,
                secret_goes_with_its_entry_but_not_with_another_one,
                migrated_entry_keeps_the_secret_and_needs_no_credentials,
                missing_credentials_are_an_error_and_hinder_no_deletion,
                only_secrets_of_the_kind_may_be_written,
            ],
        )
    })
}

/// The Secret with which etcd reaches its backups.
const ETCD: &str = "etcd-backup";
const CREATED_BY: &str = "backup.gardener.cloud/created-by";

async fn secret_of_etcd_has_credentials_and_bucket_before_the_success(scene: MockScene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    let secret = json!(scene.secret(ETCD).await?.ok_or("etcd finds no Secret")?);
    let expected = json!({ "user": "YQ==", "password": "Yg==", "bucketName": "YnVja2V0" });
    ensure(secret.pointer("/data") == Some(&expected), secret.to_string())?;
    let annotations = json!({ CREATED_BY: scene.full_name("a") });
    ensure(secret.pointer("/metadata/annotations") == Some(&annotations), secret.to_string())?;
    // Versions of all objects come from etcd's one counter, so they can be compared.
    let version = |object: &Value| text(object, "/metadata/resourceVersion").parse::<u64>();
    ensure(version(&secret)? < version(&object)?, "the Secret was written after the success")?;
    // gardenlet would save them for every Shoot of the seed (`pkg/utils/gardener/shootstate/shootstate.go`).
    ensure(object.pointer("/status/state").is_none() && object.pointer("/status/resources").is_none(), "has state")
}

async fn source_entry_has_a_secret_of_its_own(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    let source = scene.in_namespace(format!("source-{}", scene.namespace()));
    source.create_ready().await?;
    for (name, entry) in [(ETCD, scene.full_name("a")), ("source-etcd-backup", source.full_name("a"))] {
        let secret = scene.secret(name).await?.ok_or("etcd finds no Secret")?;
        ensure(created_by(&secret) == Some(&entry), format!("{secret:?}"))?;
    }
    source.delete("a").await?;
    source.until_gone("a").await?;
    ensure(scene.secret("source-etcd-backup").await?.is_none(), "the Secret is still there")?;
    ensure(scene.secret(ETCD).await?.is_some(), "the Secret of the other entry is gone")
}

async fn entry_without_its_namespace_succeeds_without_a_secret(scene: MockScene) -> Result<(), Failed> {
    let missing = scene.in_namespace(format!("{}-m", scene.namespace()));
    missing.create_ready().await?;
    missing.delete("a").await?;
    missing.until_gone("a").await?;

    // Something in it keeps the namespace.
    let kept = scene.outside_of_shoots().await?;
    kept.create_secret(&json!({ "metadata": { "name": "kept", "finalizers": ["t.example.org/kept"] } })).await?;
    kept.delete_namespace().await?;
    kept.create_ready().await?;
    ensure(kept.secret(ETCD).await?.is_none(), "there is a Secret in a namespace that goes")?;
    kept.delete("a").await?;
    kept.until_gone("a").await?;
    kept.patch_secret("kept", &json!({ "metadata": { "finalizers": null } })).await
}

async fn secret_goes_with_its_entry_but_not_with_another_one(scene: MockScene) -> Result<(), Failed> {
    scene.create_ready().await?;
    scene.create_annotated("b", "reconcile").await?;
    scene.until_ready("b").await?;
    for (name, remains) in [("a", true), ("b", false)] {
        scene.delete(name).await?;
        scene.until_gone(name).await?;
        let secret = scene.secret(ETCD).await?;
        ensure(secret.is_some() == remains, format!("after the deletion of {name}: {secret:?}"))?;
    }
    Ok(())
}

async fn migrated_entry_keeps_the_secret_and_needs_no_credentials(scene: MockScene) -> Result<(), Failed> {
    scene.create_secret(&credentials(scene.namespace(), "own")).await?;
    scene.create_object("a", &merged(asking("reconcile"), &own(&scene))).await?;
    scene.until_ready("a").await?;
    scene.delete_secret("own").await?;
    scene.ask("a", "migrate").await?;
    scene.until_released("a").await?;
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    // etcd still runs.
    ensure(scene.secret(ETCD).await?.is_some(), "the Secret is gone")
}

async fn missing_credentials_are_an_error_and_hinder_no_deletion(scene: MockScene) -> Result<(), Failed> {
    for name in ["a", "b"] {
        scene.create_object(name, &merged(asking("reconcile"), &own(&scene))).await?;
        let object = scene.until(name, "the error", |object| last(object) == "Create/Error").await?;
        let description = text(&object, "/status/lastError/description");
        ensure(description.contains("own") && description.contains("spec.secretRef"), description)?;
    }
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    scene.create_secret(&credentials(scene.namespace(), "own")).await?;
    scene.ask("b", "reconcile").await?;
    scene.until_ready("b").await?;
    ensure(scene.secret(ETCD).await?.is_some(), "etcd finds no Secret")
}

/// A patch that names a Secret of the scene alone.
fn own(scene: &MockScene) -> Value {
    json!({ "spec": { "secretRef": { "name": "own", "namespace": scene.namespace() } } })
}

fn created_by(secret: &Secret) -> Option<&String> {
    secret.metadata.annotations.as_ref()?.get(CREATED_BY)
}
