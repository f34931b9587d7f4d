//! `extension-conformance`: judges the controller of any provider by Gardener's extension contract.

use std::process::ExitCode;

fn main() -> ExitCode {
    extension_conformance::cli::main()
}
