//! The mode of a suite, and the tests that it selects.

use std::path::{Path, PathBuf};

use crate::promise::Promise;
use crate::rules::{assisted, installed, is_about_processes, privileges};

/// The variable that makes the suite run installed controllers.
const IMAGES: &str = "MOCK_IMAGES";
/// The variable that makes the suite apply the kind's admission policy.
const ASSISTED: &str = "MOCK_ASSISTED";
/// The variable that makes every suite run every test.
const FULL: &str = "MOCK_FULL";

/// The kinds for which every suite runs every test. They differ most: a Worker is namespaced, its outcome uses the
/// Shoot, gardenlet polls it, and waits for it twice. A `BackupEntry` is cluster-scoped, has no Cluster, reads and writes
/// Secrets, and gardenlet watches it.
pub const FULL_KINDS: [&str; 2] = ["BackupEntry", "Worker"];

/// The common tests about processes that the other kinds run. Their processes are the same code; these tests make every
/// request that a process makes besides those for objects.
pub const SAMPLE_OF_PROCESSES: [&str; 3] = [
    "sigterm_hands_the_lease_to_the_standby",
    "heartbeat_is_renewed",
    "readyz_follows_the_first_list_and_sigterm_ends_the_process",
];

/// The common tests that the other kinds run in the two modes, besides those of the mode and of the kind. A mode changes
/// who makes which write, and with which rights. Each of these tests takes another path through the controller.
pub const SAMPLE: [&str; 12] = [
    // One operation of each type, with the exact number of its writes.
    "annotated_create_costs_the_fewest_writes",
    "reconcile_costs_the_fewest_writes",
    "migrate_costs_two_writes",
    "restore_costs_a_metadata_write",
    "confirmed_deletion_costs_the_fewest_writes",
    // A request that the policy leaves to the controller, and concurrent requests.
    "request_in_the_second_of_the_last_success_costs_a_metadata_write",
    "request_patched_in_between_is_never_erased",
    // Objects that the controller must ignore.
    "foreign_type_is_never_written",
    // The Cluster, a script with its Event, and the election's Lease need further rights.
    "object_of_a_failed_shoot_waits_until_the_shoot_recovers",
    "delay_shows_as_processing_with_progress_rule_and_seed",
    "sigterm_hands_the_lease_to_the_standby",
    // All state is in the objects.
    "killed_controller_loses_no_request",
];

/// How a suite runs.
#[derive(Clone, Debug)]
pub(crate) struct Mode {
    images: Option<PathBuf>,
    is_assisted: bool,
    /// Whether the kind's suite runs every test.
    is_full: bool,
}

impl Mode {
    /// The mode of a kind's suite, from the variables of this process.
    pub(crate) fn of_environment(kind: &str) -> Self {
        let is_set = |name| std::env::var_os(name).is_some();
        Self::new(kind, std::env::var_os(IMAGES).map(PathBuf::from), is_set(ASSISTED), is_set(FULL))
    }

    pub(crate) fn new(kind: &str, images: Option<PathBuf>, is_assisted: bool, is_full: bool) -> Self {
        Self { images, is_assisted, is_full: is_full || FULL_KINDS.contains(&kind) }
    }

    /// The folder of the images. `None` if the controller runs from its program.
    pub(crate) fn images(&self) -> Option<&Path> {
        self.images.as_deref()
    }

    /// Whether the kind's admission policy is in force.
    pub(crate) fn is_assisted(&self) -> bool {
        self.is_assisted
    }

    /// Whether the mode runs a common test with this name.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.is_full
            || if self.repeats() {
                SAMPLE.contains(&name)
            } else {
                !is_about_processes(name) || SAMPLE_OF_PROCESSES.contains(&name)
            }
    }

    /// Whether the mode repeats what another pass has proven.
    fn repeats(&self) -> bool {
        self.images.is_some() || self.is_assisted
    }

    /// The promises of the mode itself.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        let installed = if self.images.is_some() { installed::PROMISES } else { &[] };
        let assisted = if self.is_assisted { assisted::PROMISES } else { &[] };
        [installed, assisted].concat()
    }

    /// The promise that looks back at all requests of the suite. A sample does not make all of them.
    pub(crate) fn closing(&self) -> Promise {
        if self.repeats() && !self.is_full { privileges::ENOUGH } else { privileges::EXACT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_kinds_run_a_sample_and_repeating_modes_a_smaller_one() {
        let (of_sample, about_processes) =
            ("migrate_costs_two_writes", "stolen_lease_ends_the_process_with_exit_code_1");
        let other = "spec_is_never_written";
        for (kind, images, is_assisted, is_full, selected) in [
            ("Network", None, false, false, [true, true, false]),
            ("Network", None, true, false, [true, false, false]),
            ("Network", Some(PathBuf::new()), false, false, [true, false, false]),
            ("Network", None, false, true, [true, true, true]),
            ("Network", Some(PathBuf::new()), true, true, [true, true, true]),
            ("Worker", None, false, false, [true, true, true]),
            ("Worker", Some(PathBuf::new()), true, false, [true, true, true]),
        ] {
            let mode = Mode::new(kind, images, is_assisted, is_full);
            assert_eq!([of_sample, other, about_processes].map(|name| mode.selects(name)), selected, "{kind} {mode:?}");
        }
    }

    #[test]
    fn sample_of_processes_is_about_processes() {
        assert!(SAMPLE_OF_PROCESSES.iter().all(|name| is_about_processes(name)));
    }
}
