//! The controller of mock OperatingSystemConfig objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_operatingsystemconfig::OperatingSystemConfig>()
}
