//! Which objects, and which fields of them, belong to the controller.

use extension_contract::{Class, OPERATION_ANNOTATION};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking, ensure, merged, text};
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
    for round in 0..20 {
        let value = round.to_string();
        scene.patch("a", json!({ "metadata": { "labels": { "n": value }, "annotations": { "t/n": value } } })).await?;
        if round % 5 == 0 {
            scene.ask("a", "reconcile").await?;
        }
    }
    let object = scene.until_ready("a").await?;
    ensure(text(&object, "/metadata/labels/n") == "19", "a label was lost")?;
    ensure(annotation(&object, "t/n") == Some("19"), "an annotation was lost")
}
