//! Restarts of the controller, and two controllers at the same time.

use extension_contract::{OPERATION_ANNOTATION, readiness};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::object::{annotation, ensure, last};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "restarts";

    May killed_controller_loses_no_request needs [Restart]
        from "extensions/pkg/predicate/default.go, extensions/pkg/controller/infrastructure/reconciler.go":
        "A controller that is killed in the middle of an operation finishes it after its next start."
        otherwise "gardenlet does not notice the restart, and waits until its timeout. Gardener's library loses a \
                   request if it is killed right after it has removed the annotation, and keeps the annotation of a \
                   migration if it is killed right before.";

    Should two_controllers_at_once_do_no_harm needs [Restart] from "pkg/extensions/customresources.go":
        "Two controllers that serve the same objects end with the same result."
        otherwise "A rolling update, which runs two for a while, leaves objects with errors.";

    Must request_from_before_the_start_is_served needs [Restart] from "extensions/pkg/predicate/default.go":
        "A controller serves the requests that it finds at its start."
        otherwise "gardenlet does not repeat the requests, and waits until its timeout.";
}

const OBJECTS: usize = 12;
/// How often the controller is killed during one operation.
const KILLS: usize = 6;

async fn killed_controller_loses_no_request(scene: Scene) -> Result<(), Failed> {
    let mut controller = scene.start_controller()?;
    for operation in operations(&scene) {
        let (is_done, names) = (done(operation), names());
        for name in &names {
            scene.ask_own(name, operation).await?;
        }
        // Each kill waits for one more success, and interrupts the other objects.
        for kill in 0..KILLS {
            let succeeded = |object: &Value| !object.is_null() && last(object).ends_with("/Succeeded");
            if let Some(name) = names.get(kill * OBJECTS / KILLS) {
                scene.until(name, "a success", succeeded).await?;
            }
            controller.kill().await?;
            controller = scene.start_controller()?;
        }
        for name in &names {
            scene.until(name, operation, |object| is_done(&scene, object)).await?;
        }
    }
    for name in names() {
        scene.delete(&name).await?;
        controller.kill().await?;
        controller = scene.start_controller()?;
    }
    for name in names() {
        scene.until_gone(&name).await?;
    }
    Ok(())
}

async fn two_controllers_at_once_do_no_harm(scene: Scene) -> Result<(), Failed> {
    let _controllers = [scene.start_controller()?, scene.start_controller()?];
    for operation in operations(&scene) {
        let is_done = done(operation);
        // gardenlet asks to restore on another seed, where no request to migrate can be under way.
        let seed = if *operation == "restore" { "new" } else { "old" };
        let names: Vec<_> = names().iter().map(|name| format!("{seed}-{name}")).collect();
        for name in &names {
            scene.ask_own(name, operation).await?;
        }
        for name in &names {
            scene.until(name, operation, |object| is_done(&scene, object)).await?;
        }
    }
    Ok(())
}

async fn request_from_before_the_start_is_served(scene: Scene) -> Result<(), Failed> {
    for name in names() {
        scene.ask_own(&name, "reconcile").await?;
    }
    let _controller = scene.start_controller()?;
    for name in names() {
        let object = scene.until_ready(&name).await?;
        ensure(last(&object) == "Create/Succeeded", last(&object))?;
    }
    Ok(())
}

/// The requests that an object gets during its life.
fn operations(scene: &Scene) -> &'static [&'static str] {
    if scene.suite().subject().migrates() {
        &["reconcile", "reconcile", "migrate", "restore"]
    } else {
        &["reconcile", "reconcile"]
    }
}

fn names() -> Vec<String> {
    (0..OBJECTS).map(|index| format!("o{index}")).collect()
}

fn done(operation: &str) -> impl Fn(&Scene, &Value) -> bool + use<'_> {
    move |scene, object| match operation {
        "migrate" => {
            readiness::check_migrated(object).is_ok()
                && !scene.holds(object)
                && annotation(object, OPERATION_ANNOTATION).is_none()
        }
        _ => readiness::check(object, None).is_ok() && scene.holds(object),
    }
}
