//! BackupBucket keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_backupbucket::BackupBucket;
use mock_core::kind::SecretKey;
use mock_promises::{
    Candidate, MockScene, asking, credentials, ensure, merged, only_secrets_of_the_kind_may_be_written, text,
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<BackupBucket>(Candidate {
        given: || vec![credentials("garden", "bucket")],
        secrets: |_, name| vec![SecretKey { namespace: "garden".to_owned(), name: format!("generated-bucket-{name}") }],
        ..Candidate::new(
            env!("CARGO_BIN_EXE_mock-backupbucket"),
            || json!({ "region": "nowhere", "secretRef": { "name": "bucket", "namespace": "garden" } }),
            mock_promises::promises![
                generated_secret_is_there_before_the_success_and_goes_with_the_bucket,
                generated_secret_is_in_the_namespace_of_the_annotation,
                bucket_whose_generated_secret_is_gone_is_deleted,
                only_secrets_of_the_kind_may_be_written,
            ],
        )
    })
}

/// gardenlet copies the Secret in the round that sees the success
/// (`pkg/gardenlet/controller/backupbucket/reconciler.go`).
async fn generated_secret_is_there_before_the_success_and_goes_with_the_bucket(scene: MockScene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    let (namespace, name) = generated(&object);
    ensure((namespace, name) == ("garden", &format!("generated-bucket-{}", text(&object, "/metadata/name"))), name)?;
    let garden = scene.in_namespace("garden".to_owned());
    let secret = garden.secret(name).await?.ok_or("gardenlet finds no Secret")?;
    // Versions of all objects come from etcd's one counter, so they can be compared.
    let written: u64 = secret.metadata.resource_version.as_deref().unwrap_or_default().parse()?;
    ensure(written < text(&object, "/metadata/resourceVersion").parse()?, "the Secret was written after the success")?;
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    ensure(garden.secret(name).await?.is_none(), "the Secret is still there")
}

async fn generated_secret_is_in_the_namespace_of_the_annotation(scene: MockScene) -> Result<(), Failed> {
    let key = "backupbucket.extensions.gardener.cloud/generated-secret-namespace";
    let annotations = json!({ "metadata": { "annotations": { key: scene.namespace() } } });
    scene.create_object("a", &merged(asking("reconcile"), &annotations)).await?;
    let object = scene.until_ready("a").await?;
    let (namespace, name) = generated(&object);
    ensure(namespace == scene.namespace(), format!("{object:#}"))?;
    ensure(scene.secret(name).await?.is_some(), "gardenlet finds no Secret")?;
    scene.delete("a").await?;
    scene.until_gone("a").await?;
    ensure(scene.secret(name).await?.is_none(), "the Secret is still there")
}

async fn bucket_whose_generated_secret_is_gone_is_deleted(scene: MockScene) -> Result<(), Failed> {
    let object = scene.create_ready().await?;
    scene.in_namespace("garden".to_owned()).delete_secret(generated(&object).1).await?;
    scene.delete("a").await?;
    scene.until_gone("a").await
}

/// Namespace and name of the generated Secret.
fn generated(object: &Value) -> (&str, &str) {
    (text(object, "/status/generatedSecretRef/namespace"), text(object, "/status/generatedSecretRef/name"))
}
