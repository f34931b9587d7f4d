//! The controller of mock ControlPlane objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_controlplane::ControlPlane>()
}
