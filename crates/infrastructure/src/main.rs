//! The controller of mock Infrastructure objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_infrastructure::Infrastructure>()
}
