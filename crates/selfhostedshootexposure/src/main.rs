//! The controller of mock SelfHostedShootExposure objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_selfhostedshootexposure::SelfHostedShootExposure>()
}
