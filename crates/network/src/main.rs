//! The controller of mock Network objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_network::Network>()
}
