//! The controller of mock BackupBucket objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_backupbucket::BackupBucket>()
}
