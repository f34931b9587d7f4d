//! The promises of all our controllers.

use crate::promise::Promise;

mod access;
pub(crate) mod assisted;
mod attempts;
mod costs;
mod faults;
pub(crate) mod installed;
mod leases;
pub(crate) mod privileges;
mod processes;
mod requests;
pub(crate) mod schema;
mod scripts;
pub(crate) mod secrets;

/// Promises that hold in every mode.
pub(crate) fn all() -> Vec<Promise> {
    [
        leases::PROMISES,
        requests::PROMISES,
        processes::PROMISES,
        access::PROMISES,
        attempts::PROMISES,
        scripts::PROMISES,
        faults::PROMISES,
        costs::PROMISES,
        schema::PROMISES,
        privileges::PROMISES,
    ]
    .concat()
}

/// Whether a promise is about what all processes have in common, whichever kind they serve.
pub(crate) fn is_about_processes(name: &str) -> bool {
    let of_processes = [leases::PROMISES, processes::PROMISES, access::PROMISES, DISTURBING];
    of_processes.into_iter().flatten().any(|promise| promise.name == name)
}

/// Promises whose proof would disturb other tests of the same suite.
pub(crate) const DISTURBING: &[Promise] = processes::DISTURBING;
