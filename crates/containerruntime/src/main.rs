//! The controller of mock ContainerRuntime objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_containerruntime::ContainerRuntime>()
}
