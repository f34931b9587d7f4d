//! Objects outside of Shoots' namespaces: those of the seed, and of the garden's runtime cluster.

use gardener_testbed::bed::GARDEN;
use libtest_mimic::Failed;
use serde_json::json;

use crate::object::{asking, merged};
use crate::rule::rules;
use crate::scene::Scene;

rules! {
    section "outside of Shoots";

    Must object_outside_of_a_shoot_needs_no_cluster needs [OutsideOfShoots]
        from "pkg/utils/gardener/shoot.go, extensions/pkg/controller/dnsrecord/reconciler.go":
        "The controller serves objects in namespaces without the label of a Shoot's namespace."
        otherwise "A Seed waits for its own DNSRecord for ever: there is no Cluster in the namespace garden.";

    Should failed_shoot_of_the_same_name_does_not_concern_an_object_outside needs [OutsideOfShoots]
        from "pkg/utils/gardener/shoot.go, extensions/pkg/predicate/preconditions.go":
        "The label of the namespace alone decides whether an object belongs to a Shoot."
        otherwise "A Cluster that happens to have the name of another namespace keeps the controller from its \
                   objects.";
}

async fn object_outside_of_a_shoot_needs_no_cluster(scene: Scene) -> Result<(), Failed> {
    let mut places = vec![scene.outside_of_shoots().await?];
    // On a cluster that is not the kit's, the kit writes to its own namespaces alone.
    places.extend(scene.suite().is_own().then(|| scene.in_namespace(GARDEN.to_owned())));
    for place in &places {
        for class in scene.suite().subject().classes.clone() {
            // Other rules use the namespace garden as well.
            lives(place, &format!("{}-{}", scene.namespace(), class.as_str()), Some(class.as_str())).await?;
        }
    }
    Ok(())
}

async fn failed_shoot_of_the_same_name_does_not_concern_an_object_outside(scene: Scene) -> Result<(), Failed> {
    let place = scene.outside_of_shoots().await?;
    place.fail_shoot().await?;
    scene.barrier().await?;
    let class = scene.suite().subject().classes.first().map(|class| class.as_str());
    lives(&place, "a", class).await
}

/// Creates, reconciles and deletes an object.
async fn lives(place: &Scene, name: &str, class: Option<&str>) -> Result<(), Failed> {
    place.create_object(name, &merged(asking("reconcile"), &json!({ "spec": { "class": class } }))).await?;
    place.until_ready(name).await?;
    place.ask_and_wait(name, "reconcile").await?;
    place.delete(name).await?;
    place.until_gone(name).await
}
