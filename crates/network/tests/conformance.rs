//! Network keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_network::Network;
use mock_promises::{Candidate, MockScene, ensure};
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<Network>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-network"),
        spec: || json!({ "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16", "ipFamilies": ["IPv4"] }),
        given: Vec::new,
        secrets: |_, _| Vec::new(),
        promises: mock_promises::promises![reported_ip_families_are_those_of_the_spec],
    })
}

async fn reported_ip_families_are_those_of_the_spec(scene: MockScene) -> Result<(), Failed> {
    scene.create_annotated("a", "reconcile").await?;
    scene.until_ready("a").await?;
    scene.patch("a", json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"] } })).await?;
    let object = scene.until_ready("a").await?;
    ensure(object.pointer("/status/ipFamilies") == Some(&json!(["IPv4", "IPv6"])), "not reported")
}
