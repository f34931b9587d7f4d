//! The mode of a suite, and the tests that it selects.

use std::path::{Path, PathBuf};

use crate::promise::Promise;
use crate::rules::{assisted, installed, privileges};

/// The variable that makes the suite run installed controllers.
const IMAGES: &str = "MOCK_IMAGES";
/// The variable that makes the suite apply the kind's admission policy.
const ASSISTED: &str = "MOCK_ASSISTED";
/// The variable that makes every mode run every test for every kind.
const FULL: &str = "MOCK_FULL";

/// The kinds for which every mode runs every test. They differ most: an OperatingSystemConfig has a Secret, and its
/// outcome does not use the Shoot. A Worker has pools, its outcome uses the Shoot, and gardenlet waits for it twice.
pub const FULL_KINDS: [&str; 2] = ["OperatingSystemConfig", "Worker"];

/// The common tests that the other kinds run, besides those of the mode and of the kind. A mode changes who makes which
/// write, and with which rights. Each of these tests takes another path through the controller.
pub const SAMPLE: [&str; 12] = [
    // One operation of each type, with the exact number of its writes.
    "annotated_create_costs_the_fewest_writes",
    "reconcile_costs_the_fewest_writes",
    "migrate_costs_two_writes",
    "restore_costs_two_writes",
    "confirmed_deletion_costs_one_write",
    // A request that the policy leaves to the controller, and concurrent requests.
    "request_in_the_second_of_the_last_success_costs_two_writes",
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
    is_sample: bool,
}

impl Mode {
    /// The mode of a kind's suite, from the variables of this process.
    pub(crate) fn of_environment(kind: &str) -> Self {
        let is_set = |name| std::env::var_os(name).is_some();
        Self::new(kind, std::env::var_os(IMAGES).map(PathBuf::from), is_set(ASSISTED), is_set(FULL))
    }

    pub(crate) fn new(kind: &str, images: Option<PathBuf>, is_assisted: bool, is_full: bool) -> Self {
        // Only the two modes repeat what another pass has proven.
        let repeats = images.is_some() || is_assisted;
        Self { images, is_assisted, is_sample: repeats && !is_full && !FULL_KINDS.contains(&kind) }
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
        !self.is_sample || SAMPLE.contains(&name)
    }

    /// The promises of the mode itself.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        let installed = if self.images.is_some() { installed::PROMISES } else { &[] };
        let assisted = if self.is_assisted { assisted::PROMISES } else { &[] };
        [installed, assisted].concat()
    }

    /// The promise that looks back at all requests of the suite. A sample does not make all of them.
    pub(crate) fn closing(&self) -> Promise {
        if self.is_sample { privileges::ENOUGH } else { privileges::EXACT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repeating_modes_of_most_kinds_run_a_sample() {
        for (kind, images, is_assisted, is_full, is_sample) in [
            ("Network", None, false, false, false),
            ("Network", None, true, false, true),
            ("Network", Some(PathBuf::new()), false, false, true),
            ("Network", Some(PathBuf::new()), true, true, false),
            ("Worker", Some(PathBuf::new()), true, false, false),
        ] {
            let mode = Mode::new(kind, images, is_assisted, is_full);
            assert_eq!(mode.is_sample, is_sample, "{kind} {mode:?}");
        }
    }
}
