//! The controller of mock DNSRecord objects.

fn main() -> std::process::ExitCode {
    mock_core::main::<mock_dnsrecord::DNSRecord>()
}
