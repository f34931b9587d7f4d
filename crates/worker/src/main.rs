//! The controller of mock Worker objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_worker::Worker>()
}
