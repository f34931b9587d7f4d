//! Which objects, and which fields of them, belong to the controller.

use std::time::Duration;

use extension_contract::{Class, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION, readiness};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::object::{annotation, asking, ensure, excerpt, merged, text};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "ownership";

    Must foreign_type_is_never_written needs [] from "extensions/pkg/predicate/default.go":
        "The controller compares spec.type exactly, and ignores objects of other types."
        otherwise "Two controllers fight over one object.";

    Must foreign_class_is_never_written needs [] from "extensions/pkg/predicate/default.go":
        "The controller ignores objects of a class that it does not serve."
        otherwise "Two controllers fight over one object where the garden's cluster is a seed as well.";

    Must class_in_the_spec_is_served needs [] from "extensions/pkg/predicate/default.go":
        "An object that names a served class is served; for class shoot, also an object without class."
        otherwise "gardenlet waits until its timeout.";

    Must labels_and_annotations_of_others_survive needs [] from "extensions/pkg/controller/status.go":
        "The controller's writes keep labels and annotations that others write at the same time."
        otherwise "gardenlet waits until its timeout if the lost annotation was its next request.";
}

/// How many changes another writer makes at least. Further ones follow until the last request is served.
const CHANGES: u32 = 20;

async fn foreign_type_is_never_written(scene: Scene) -> Result<(), Failed> {
    let own = &scene.suite().subject().type_;
    let mut capital = own.chars();
    let capital: String = capital.next().iter().flat_map(|first| first.to_uppercase()).chain(capital).collect();
    for (name, foreign) in [("a", format!("not-{own}")), ("b", capital), ("c", format!("{own}ery"))] {
        left_alone(&scene, name, json!({ "type": foreign }), "the controller does not serve this type").await?;
    }
    Ok(())
}

async fn foreign_class_is_never_written(scene: Scene) -> Result<(), Failed> {
    let own = &scene.suite().subject().classes;
    let foreign = Class::ALL.into_iter().filter(|class| !own.contains(class)).map(Class::as_str);
    for class in foreign.chain(["Shoot", "of-another-gardener"]) {
        let name = class.to_lowercase();
        left_alone(&scene, &name, json!({ "class": class }), "the controller does not serve this class").await?;
    }
    if own.contains(&Class::Shoot) {
        return Ok(());
    }
    left_alone(&scene, "a", json!({ "class": null }), "the controller does not serve class shoot").await
}

/// Fails if the controller writes an annotated object with this spec.
async fn left_alone(scene: &Scene, name: &str, spec: Value, why: &str) -> Result<(), Failed> {
    let before = scene.create_object(name, &merged(asking("reconcile"), &json!({ "spec": spec }))).await?;
    ensure(
        annotation(&before, OPERATION_ANNOTATION).is_some() && !scene.holds(&before),
        "the API server changed the object at its creation",
    )?;
    scene.unchanged(name, &before, why).await
}

async fn class_in_the_spec_is_served(scene: Scene) -> Result<(), Failed> {
    for class in scene.suite().subject().classes.clone() {
        let name = class.as_str();
        scene.create_object(name, &json!({ "spec": { "class": name } })).await?;
        scene.until_ready(name).await?;
    }
    Ok(())
}

async fn labels_and_annotations_of_others_survive(scene: Scene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    let mut versions = scene.follow("a").await?;
    let mut asked = Value::Null;
    for round in 0..CHANGES {
        scene.patch("a", numbered(round)).await?;
        if round % 5 == 0 {
            asked = scene.ask("a", "reconcile").await?;
        }
    }
    // A slow controller reads the object only now, and it can lose only a change that comes after that. Each change makes the
    // API server refuse a write with an older resourceVersion. Growing pauses give such a controller the time to write.
    let timestamp = annotation(&asked, TIMESTAMP_ANNOTATION);
    let (mut newest, mut pause) = (CHANGES, Duration::from_millis(10));
    loop {
        newest += 1;
        let object = scene.patch("a", numbered(newest)).await?;
        match readiness::check(&object, timestamp) {
            Ok(()) => break,
            Err(_) if pause <= scene.suite().subject().patience => sleep(pause).await,
            Err(unmet) => return Err(format!("gave up waiting for readiness ({unmet}): {}", excerpt(&object)).into()),
        }
        pause *= 2;
    }
    let mut before = [None, None];
    while before != [Some(newest); 2] {
        let object = versions.next().await?;
        let now = [Some(text(&object, "/metadata/labels/n")), annotation(&object, "t/n")];
        let now = now.map(|number| number?.parse().ok());
        let is_kept = before.iter().zip(&now).all(|(before, now)| before <= now);
        ensure(is_kept, format!("a label or an annotation is gone, or has an older value: {}", excerpt(&object)))?;
        before = now;
    }
    Ok(())
}

/// A merge patch of another writer: a label and an annotation with a number.
fn numbered(number: u32) -> Value {
    let number = number.to_string();
    json!({ "metadata": { "labels": { "n": number }, "annotations": { "t/n": number } } })
}
