//! The controller of mock BackupEntry objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_backupentry::BackupEntry>()
}
