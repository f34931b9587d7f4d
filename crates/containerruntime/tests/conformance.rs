//! ContainerRuntime keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use mock_containerruntime::ContainerRuntime;
use mock_promises::Candidate;
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<ContainerRuntime>(Candidate::new(
        env!("CARGO_BIN_EXE_mock-containerruntime"),
        || {
            let selector = json!({ "matchLabels": { "worker.gardener.cloud/pool": "w" } });
            json!({ "binaryPath": "/usr/local/bin", "workerPool": { "name": "w", "selector": selector } })
        },
        mock_promises::promises![],
    ))
}
