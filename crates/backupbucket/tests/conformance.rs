//! BackupBucket keeps the extension contract, and what our controllers promise beyond it.

use std::process::ExitCode;

use mock_backupbucket::BackupBucket;
use mock_promises::Candidate;
use serde_json::json;

fn main() -> ExitCode {
    mock_promises::main::<BackupBucket>(Candidate {
        binary: env!("CARGO_BIN_EXE_mock-backupbucket"),
        spec: || json!({}),
        secrets: 0,
        promises: mock_promises::promises![],
    })
}
