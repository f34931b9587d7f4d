//! The controller of mock Extension objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_extension::Extension>()
}
