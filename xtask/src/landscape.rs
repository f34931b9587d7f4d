//! The Shoot of a command, as gardener-apiserver admits it.

use anyhow::{Context as _, Result, bail};
use extension_contract::GARDENER_VERSION;
use gardener_testbed::assets::{self, Assets};
use mock_core::script::SCRIPT_ANNOTATION;
use mock_fleet::signals::Interrupts;
use mock_gardenlet::shoot::{Garden, Landscape, Manifests};

/// The example that is played if nobody names a Shoot: it has all that a Shoot can have.
pub(crate) const DEFAULT_SHOOT: &str = "58-shoot-extensions.yaml";

/// Lets gardener-apiserver admit a Shoot and set the defaults. For the examples of
/// this repository, its answer is at hand; a changed script changes nothing about it.
pub(crate) async fn admitted(manifests: Manifests) -> Result<Landscape> {
    if let Some(kept) = manifests.kept(SCRIPT_ANNOTATION) {
        return Ok(kept);
    }
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        admitted = admit(&manifests) => admitted,
        () = interrupts.next() => bail!("interrupted"),
    }
}

async fn admit(manifests: &Manifests) -> Result<Landscape> {
    let say = |step: &str| eprintln!("{step}");
    // First what only Go can build, and only here: without Go, the error comes at once.
    let without = || format!("{} is no example, so that gardener-apiserver must admit it", manifests.describe());
    let apiserver = assets::gardener_apiserver(&say).with_context(without)?;
    let controller_manager =
        manifests.need_controller_manager().then(|| assets::gardener_controller_manager(&say)).transpose()?;
    let assets = Assets::locate(&say)?;
    say(&format!("starting gardener-apiserver {GARDENER_VERSION}, which admits {}: about 10 s", manifests.describe()));
    let mut garden = Garden::start(&assets, &apiserver, controller_manager.as_deref()).await?;
    let admitted = garden.admit(manifests, &say).await;
    let stopped = garden.stop().await.context("cannot end the garden");
    let admitted = admitted?;
    stopped?;
    Ok(admitted)
}
