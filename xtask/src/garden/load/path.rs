//! What a Shoot's time consists of: the steps of gardenlet's flow that no other step overlaps, one after the other.

use mock_garden::load::steps::Step;

/// A step that begins when another ends can be logged some milliseconds earlier.
const TOLERANCE: f64 = 0.02;

/// The steps that each had to end before the next began, from the last to the first.
///
/// gardenlet starts a step at once when the last of the steps before it has ended (`pkg/utils/flow/flow.go`). Of all steps
/// that had ended when a step began, it is therefore the one that ended last.
pub(super) fn critical<'a>(steps: &[&'a Step]) -> Vec<&'a Step> {
    let mut sorted = steps.to_vec();
    sorted.sort_by(|a, b| a.ended.total_cmp(&b.ended));
    let mut path: Vec<&Step> = Vec::new();
    let mut until = f64::INFINITY;
    while let Some(step) = sorted.pop() {
        if step.ended <= until + TOLERANCE && step.began < until {
            until = step.began;
            path.push(step);
        }
    }
    path
}

/// gardenlet looks whether something is ready, and if it is not, sleeps for this long before it looks again, in seconds.
/// Returns `None` for steps that do not wait like that.
///
/// It looks at extension objects, Deployments and Pods every 5 s, but at an Infrastructure every 10 s
/// (`pkg/component/extensions/<kind>`, `pkg/component/gardener/resourcemanager`), and at `ManagedResources` every 2 s
/// (`pkg/utils/managedresources/managedresources.go`).
fn pause(step: &str) -> Option<f64> {
    // This step waits until a control plane has no Pods (`pkg/gardenlet/operation/botanist/controlplane.go`).
    let hibernating = Some("Pods").filter(|_| step == "Hibernating control plane");
    let awaited = step.strip_prefix("Waiting until ").or(hibernating)?;
    let is = |words: &[&str]| words.iter().any(|word| awaited.contains(word));
    Some(if is(&["infrastructure"]) {
        10.0
    } else if is(&["namespaces", "system component"]) {
        2.0
    } else {
        5.0
    })
}

/// How much of a step gardenlet sleeps, in seconds: whole pauses, as it ends at one of its looks.
pub(super) fn asleep(step: &Step) -> f64 {
    let took = step.ended - step.began;
    pause(&step.name).map_or(0.0, |pause| (took / pause).floor() * pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, began: f64, ended: f64) -> Step {
        Step { shoot: "a".to_owned(), name: name.to_owned(), began, ended }
    }

    #[test]
    fn path_leads_back_over_the_step_that_ended_last_before_each_began() {
        let all = [
            step("first", 0.0, 1.0),
            step("short", 0.0, 0.5),
            step("long", 1.001, 7.0),
            step("beside", 1.001, 3.0),
            // It was logged 5 ms before the end of the step that it waited for.
            step("last", 6.995, 8.0),
        ];
        let path = |steps: &[&Step]| critical(steps).iter().map(|step| step.name.clone()).collect::<Vec<_>>();
        assert_eq!(path(&all.iter().collect::<Vec<_>>()), ["last", "long", "first"]);
        assert!(path(&[]).is_empty());
    }

    #[test]
    fn gardenlet_sleeps_whole_pauses_of_the_steps_that_wait() {
        for (name, took, expected) in [
            ("Waiting until Shoot infrastructure has been reconciled", 10.3, 10.0),
            ("Waiting until Shoot infrastructure has been reconciled", 9.0, 0.0),
            ("Waiting until worker pools have been reconciled", 10.3, 10.0),
            ("Waiting until shoot namespaces have been reconciled", 5.0, 4.0),
            ("Hibernating control plane", 5.3, 5.0),
            ("Deploying main and events ETCDs", 30.0, 0.0),
        ] {
            assert!((asleep(&step(name, 1.0, 1.0 + took)) - expected).abs() < 1e-9, "{name}");
        }
    }
}
