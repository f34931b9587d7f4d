//! Network keeps the extension contract.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_network::Network;
use mock_testbed::conformance::{self, Ground, Subject, ensure};
use serde_json::json;

fn main() -> ExitCode {
    conformance::main::<Network>(Subject {
        binary: env!("CARGO_BIN_EXE_mock-network"),
        spec: || json!({ "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16", "ipFamilies": ["IPv4"] }),
        secrets: 0,
        rules: mock_testbed::rules![ip_families_are_those_that_were_asked_for],
    })
}

async fn ip_families_are_those_that_were_asked_for(ground: Ground) -> Result<(), Failed> {
    ground.create_annotated("a", "reconcile").await?;
    ground.until_ready("a").await?;
    ground.patch("a", json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"] } })).await?;
    let object = ground.until_ready("a").await?;
    ensure(object.pointer("/status/ipFamilies") == Some(&json!(["IPv4", "IPv6"])), "not reported")
}
