//! SelfHostedShootExposure keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_promises::{Candidate, MockScene, ensure};
use mock_selfhostedshootexposure::SelfHostedShootExposure;
use serde_json::{Value, json};

fn main() -> ExitCode {
    mock_promises::main::<SelfHostedShootExposure>(Candidate::new(
        env!("CARGO_BIN_EXE_mock-selfhostedshootexposure"),
        || {
            let addresses = json!([{ "type": "InternalIP", "address": "10.10.0.1" }]);
            json!({ "port": 443, "endpoints": [{ "nodeName": "a", "addresses": addresses }] })
        },
        mock_promises::promises![
            ingress_has_an_address_for_each_ip_family_of_the_shoot,
            object_of_a_failed_shoot_is_served,
        ],
    ))
}

async fn ingress_has_an_address_for_each_ip_family_of_the_shoot(scene: MockScene) -> Result<(), Failed> {
    let (four, six) = (json!({ "ip": "192.0.2.1" }), json!({ "ip": "2001:db8::1" }));
    for (name, families, expected) in [
        ("none", Value::Null, json!([four])),
        ("ipv6", json!(["IPv6"]), json!([six])),
        ("both", json!(["IPv6", "IPv4"]), json!([six, four])),
    ] {
        // gardenlet writes the Cluster right before the request. The controller's watch of Clusters may lag behind.
        scene.write_cluster(json!({ "spec": { "networking": { "ipFamilies": families } } })).await?;
        scene.create_annotated(name, "reconcile").await?;
        let object = scene.until_ready(name).await?;
        ensure(object.pointer("/status/ingress") == Some(&expected), format!("{name}: {object:#}"))?;
    }
    Ok(())
}

async fn object_of_a_failed_shoot_is_served(scene: MockScene) -> Result<(), Failed> {
    scene.fail_shoot().await?;
    scene.barrier().await?;
    scene.create_ready().await.map(drop)
}
