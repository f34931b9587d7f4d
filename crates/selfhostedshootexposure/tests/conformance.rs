//! SelfHostedShootExposure keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use mock_promises::Candidate;
use mock_selfhostedshootexposure::SelfHostedShootExposure;
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<SelfHostedShootExposure>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-selfhostedshootexposure"),
        spec: || json!({}),
        secrets: 0,
        promises: mock_promises::promises![],
    })
}
