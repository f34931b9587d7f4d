//! Extension keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use libtest_mimic::Failed;
use mock_extension::Extension;
use mock_promises::{Candidate, MockScene};
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<Extension>(Candidate::new(
        env!("CARGO_BIN_EXE_mock-extension"),
        || json!({}),
        mock_promises::promises![type_of_each_lifecycle_is_served],
    ))
}

async fn type_of_each_lifecycle_is_served(scene: MockScene) -> Result<(), Failed> {
    for type_ in ["mock", "mock-before-kube-apiserver", "mock-after-worker"] {
        scene.ask_of_type(type_, type_, "reconcile").await?;
        scene.until_ready(type_).await?;
    }
    Ok(())
}
