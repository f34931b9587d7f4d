//! The controller of mock Bastion objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_bastion::Bastion>()
}
