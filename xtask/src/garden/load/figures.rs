//! The figures of a load as plain data. They are written as JSON; tables and picture show them.

use std::collections::BTreeMap;

use mock_view::Machine;
use mock_view::statistics::{Latency, count, ratio};
use serde::Serialize;

/// A whole load.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Where and when it was measured.
    pub(super) machine: Machine,
    /// How many Shoots were asked for.
    pub(super) wanted: u32,
    /// How many Shoots were created in a second.
    pub(super) rate: f64,
    /// The most Shoots that gardenlet works on at once.
    pub(super) workers: f64,
    /// Each Shoot, in the order of their creation.
    pub(super) shoots: Vec<ShootFigures>,
    /// The times of all Shoots.
    pub(super) times: Vec<Time>,
    /// gardenlet's steps; those first that take most of a Shoot's time.
    pub(super) steps: Vec<StepFigures>,
    /// The machine and gardenlet over time.
    pub(super) moments: Vec<Moment>,
    /// Each process; those first that took most CPU time.
    pub(super) processes: Vec<ProcessFigures>,
    /// Each API server.
    pub(super) servers: Vec<ServerFigures>,
    /// How often gardenlet logged that a request waited for more than a second for gardenlet's own limit of requests.
    pub(super) throttled: usize,
    /// What limits the speed.
    pub(super) limit: Option<Limit>,
}

/// One Shoot. Times are in seconds since the load began.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShootFigures {
    /// The name.
    pub(super) name: String,
    /// When the request to create it was sent.
    pub(super) asked: f64,
    /// When the API server answered.
    pub(super) created: Option<f64>,
    /// When gardener-scheduler had chosen a Seed.
    pub(super) scheduled: Option<f64>,
    /// When gardenlet's first write was seen.
    pub(super) begun: Option<f64>,
    /// When gardenlet had succeeded.
    pub(super) succeeded: Option<f64>,
    /// Why gardenlet failed, each time that it tried again.
    pub(super) errors: Vec<String>,
    /// Why it was not created.
    pub(super) failure: Option<String>,
}

/// How long something took, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Time {
    /// From what to what.
    pub(super) what: &'static str,
    /// All Shoots.
    pub(super) all: Latency,
    /// The median of the third of the Shoots that were created first.
    pub(super) early: f64,
    /// The median of the third of the Shoots that were created last.
    pub(super) late: f64,
}

/// A step of gardenlet's flow, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StepFigures {
    /// The name, as in the Shoot's status.
    pub(super) name: String,
    /// How often it was done.
    pub(super) count: usize,
    /// How long it took.
    pub(super) all: Latency,
    /// The median of the third of the Shoots that were created first.
    pub(super) early: f64,
    /// The median of the third of the Shoots that were created last.
    pub(super) late: f64,
    /// How much of a Shoot's time it takes, as a mean: the part of it that no other step overlaps counts.
    pub(super) critical: f64,
    /// How much of that gardenlet sleeps between two looks, as a mean.
    pub(super) asleep: f64,
}

/// The machine and gardenlet at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moment {
    /// Seconds since the load began.
    pub(super) at: f64,
    /// The part of the machine's CPU that was used since the moment before, from 0 to 1.
    pub(super) cpu: f64,
    /// The part of the machine's CPU that the garden's processes used.
    pub(super) garden: f64,
    /// The part of the machine's CPU that our controllers and the players used.
    pub(super) ours: f64,
    /// The part of the machine's CPU that gardenlet used.
    pub(super) gardenlet: f64,
    /// Resident memory of all processes, in bytes, by whose they are.
    pub(super) memory: BTreeMap<Owner, f64>,
    /// Shoots in gardenlet's work queue.
    pub(super) waiting: f64,
    /// Shoots that gardenlet works on.
    pub(super) working: f64,
    /// gardenlet's requests a second, by API server.
    pub(super) requests: BTreeMap<String, f64>,
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Owner {
    /// This project's: controllers and players.
    Mock,
    /// Gardener's.
    Gardener,
    /// Kubernetes', with etcd.
    Kubernetes,
    /// What measures, and shells that hold everything together.
    Others,
}

/// A process, or all processes of a program in Pods.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessFigures {
    /// The name.
    pub(super) name: String,
    /// Whose it is.
    pub(super) owner: Owner,
    /// CPU time during the load, in seconds.
    pub(super) cpu: f64,
    /// Resident memory before the load, in bytes.
    pub(super) resident_before: f64,
    /// The most resident memory, in bytes.
    pub(super) resident_peak: f64,
    /// Proportional set size before the load, in bytes.
    pub(super) proportional_before: f64,
    /// Proportional set size at the end, in bytes.
    pub(super) proportional_after: f64,
}

/// The requests that an API server has answered during the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerFigures {
    /// The name.
    pub(super) name: String,
    /// By verb and resource.
    pub(super) requests: BTreeMap<String, u64>,
    /// Open watches before the load.
    pub(super) watches_before: u64,
    /// Open watches at the end.
    pub(super) watches_after: u64,
}

/// What limits the speed. Parts are from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Limit {
    /// The machine's CPU.
    #[serde(rename_all = "camelCase")]
    Cpu {
        /// The part of all moments with Shoots in work in which the CPU was used.
        moments: f64,
        /// The part of the used CPU that the garden's processes used.
        garden: f64,
        /// How many Shoots were in work when it was first so.
        working: f64,
    },
    /// gardenlet's own limit of requests.
    Throttling,
    /// gardenlet's workers.
    Workers {
        /// The part of all moments with Shoots in work in which all workers were busy, and further Shoots waited.
        moments: f64,
    },
    /// Nothing: gardenlet mostly waits for what others do, or sleeps between two looks.
    Nothing,
}

impl Report {
    /// How many Shoots succeeded.
    pub(super) fn succeeded(&self) -> usize {
        self.shoots.iter().filter(|shoot| shoot.succeeded.is_some()).count()
    }

    /// How many Shoots failed.
    pub(super) fn failed(&self) -> usize {
        self.shoots.iter().filter(|shoot| shoot.failure.is_some()).count()
    }

    /// A figure of all Shoots, for each that succeeded. Returns `None` if none did.
    pub(super) fn a_shoot(&self, of_all: f64) -> Option<f64> {
        ratio(of_all, count(self.succeeded()))
    }

    /// Shoots that succeeded in a minute, from the first request to the last success.
    pub(super) fn pace(&self) -> Option<f64> {
        let first = self.shoots.first()?.asked;
        let last = self.shoots.iter().filter_map(|shoot| shoot.succeeded).max_by(f64::total_cmp)?;
        ratio(count(self.succeeded()) * 60.0, last - first)
    }
}
