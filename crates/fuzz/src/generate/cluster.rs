//! Clusters. Their CRD says only that the Shoot is an object.

use extension_contract::FORCE_DELETION_ANNOTATION;
use extension_contract::json::annotate;
use mock_core::script::SCRIPT_ANNOTATION;
use serde_json::{Value, json};

use super::script;
use crate::dice::Dice;

const FAMILIES: &[&str] = &["IPv4", "IPv6", "IPv5"];
const NETWORKS: &[&str] = &["10.250.0.0/16", "100.64.0.0/13", "fd00::/8", "10.250.0.1/16", "10.0.0.0/8", "x"];

/// A Cluster, most often like that of a real Shoot.
pub(crate) fn cluster(dice: &mut Dice<'_>) -> Value {
    let mut shoot = json!({
        "spec": { "networking": networking(dice) },
        "status": {
            "technicalID": if dice.one_in(8) { dice.text() } else { "shoot--a--b".to_owned() },
            "lastOperation": { "state": if dice.one_in(8) { "Failed" } else { "Processing" } },
            "networking": { "nodes": [dice.pick_text(NETWORKS)], "pods": null },
            "credentials": { "rotation": {
                "certificateAuthorities": { "lastInitiationTime": "2026-08-20T10:15:30Z", "pendingWorkersRollouts": [{ "name": "a" }] },
                "serviceAccountKey": { "lastInitiationTime": dice.pick_text(&["2026-08-20T10:15:30Z", "9999-12-31T23:59:59Z"]) },
            } },
        },
    });
    if dice.one_in(3) {
        annotate(&mut shoot, SCRIPT_ANNOTATION, script_text(dice));
    }
    if dice.one_in(8) {
        annotate(&mut shoot, FORCE_DELETION_ANNOTATION, "true");
    }
    let mut seed = json!({ "spec": { "networks": { "nodes": dice.pick_text(NETWORKS), "pods": "10.96.0.0/11" } } });
    if dice.one_in(3) {
        dice.spoil(&mut shoot, 2);
    }
    if dice.one_in(4) {
        dice.spoil(&mut seed, 1);
    }
    json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "Cluster",
        "metadata": { "name": "shoot--a--b", "uid": "c", "resourceVersion": "1" },
        "spec": { "shoot": shoot, "seed": seed, "cloudProfile": {} },
    })
}

fn networking(dice: &mut Dice<'_>) -> Value {
    let families: Vec<String> = (0..dice.below(3)).map(|_| dice.pick_text(FAMILIES)).collect();
    let network = |dice: &mut Dice<'_>| dice.one_in(2).then(|| dice.pick_text(NETWORKS));
    json!({ "ipFamilies": families, "nodes": network(dice), "pods": network(dice), "services": network(dice) })
}

/// An annotation is YAML of any sort.
fn script_text(dice: &mut Dice<'_>) -> String {
    match dice.below(8) {
        0..6 => script::script(dice).to_string(),
        6 => dice.text(),
        _ => {
            let rules = "rules: [&a {succeed: {after: 1s}}, *a]\n";
            format!("apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\n{rules}{}", dice.text())
        }
    }
}
