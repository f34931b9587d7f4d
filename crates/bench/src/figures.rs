//! The figures of a benchmark as plain data. They are written as JSON; tables and picture show them.

use std::collections::BTreeMap;

use mock_view::Machine;
use serde::{Deserialize, Serialize};

/// A whole benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Where and when it was measured.
    pub(crate) machine: Machine,
    /// The load that each contestant gets.
    pub(crate) load: LoadFigures,
    /// The same load without answers: the cost of gardenlet's own requests, which is part of all other figures.
    #[serde(default)]
    pub(crate) alone: ContestantFigures,
    /// In the order in which they are shown; the first is the raw limit.
    pub(crate) contestants: Vec<ContestantFigures>,
}

/// The load that each contestant gets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadFigures {
    /// Number of Shoots.
    pub(crate) shoots: usize,
    /// Number of extension objects of all Shoots.
    pub(crate) objects: usize,
    /// Size of one Cluster as it is sent, in bytes.
    pub(crate) cluster_bytes: usize,
    /// Requests of the load generator in flight at the same time.
    pub(crate) writers: usize,
    /// Objects per second, requested even if earlier ones are not ready; absent for a burst.
    pub(crate) rate: Option<f64>,
    /// Seconds between the request for a Cluster and those for its objects. They do not count as part of a phase.
    pub(crate) lead: f64,
    /// Number of runs of the contestant with the most runs.
    pub(crate) rounds: usize,
}

/// The figures of a party that answers the load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContestantFigures {
    /// The name for people.
    pub(crate) name: String,
    /// The shell command of other controllers.
    pub(crate) command: Option<String>,
    /// Its runs.
    pub(crate) rounds: Vec<Round>,
    /// How its controllers start when objects exist already, if that was measured.
    pub(crate) standing: Option<Standing>,
}

/// How controllers start when objects exist already.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    /// Number of Shoots.
    pub(crate) shoots: usize,
    /// Number of extension objects of all Shoots.
    pub(crate) objects: usize,
    /// Seconds from the start of the controllers until all objects were ready; none had been served before.
    pub(crate) all_ready_after: f64,
    /// Controllers by name; memory and CPU are those after all objects were ready.
    pub(crate) processes: BTreeMap<String, Process>,
    /// The same for controllers that start when all objects are served already.
    pub(crate) again: BTreeMap<String, Process>,
}

/// One run, on a separate API server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    /// In the order in which they were played.
    pub(crate) phases: Vec<PhaseFigures>,
    /// Latencies of single requests while nothing else happens, in ms, unsorted.
    pub(crate) idle_latencies: Vec<f64>,
    /// Controllers by name.
    pub(crate) processes: BTreeMap<String, Process>,
}

/// The figures of one phase, in which gardenlet requests the same of all objects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PhaseFigures {
    /// create, reconcile, migrate, restore or delete.
    pub(crate) name: String,
    /// Number of objects that became ready.
    pub(crate) objects: usize,
    /// Seconds from the first request, which is for a Cluster, to the event that made the last object ready.
    pub(crate) seconds: f64,
    /// One sample per object.
    pub(crate) samples: Vec<SampleFigures>,
    /// Requests of the controllers by verb and resource, as the API server counted them.
    pub(crate) requests: Vec<RequestFigures>,
    /// Bodies of those requests, as the API server counted them.
    pub(crate) bodies: Vec<Bodies>,
    /// Watch events that the API server sent, on all watches.
    pub(crate) watch_events: u64,
    /// Size of these events, in bytes.
    pub(crate) watch_bytes: u64,
    /// CPU time, in seconds.
    pub(crate) cpu: Cpu,
    /// Whether the load generator kept up.
    pub(crate) generator: Generator,
}

/// When one object was requested and got ready.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SampleFigures {
    /// The kind of the object.
    pub(crate) kind: String,
    /// When the request was acknowledged, in seconds since the phase began.
    pub(crate) at: f64,
    /// Time from the acknowledged request to the first event for which gardenlet's rule holds, in ms.
    pub(crate) latency: f64,
}

/// Requests with the same verb and resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestFigures {
    /// The verb as in RBAC, such as `patch`; also `apply`.
    pub(crate) verb: String,
    /// The resource with its subresource, such as `networks/status`.
    pub(crate) resource: String,
    /// Number of all requests.
    pub(crate) count: u64,
    /// Number of requests that were refused as a conflict (409, and 422 for a failed test in a JSON patch).
    pub(crate) conflicts: u64,
    /// Number of requests that failed for another reason.
    pub(crate) failures: u64,
}

/// Bodies of requests with the same verb and resource. The API server does not count them by subresource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bodies {
    /// The verb as in RBAC, such as `patch`; also `apply`.
    pub(crate) verb: String,
    /// The resource.
    pub(crate) resource: String,
    /// Size of all bodies, in bytes.
    pub(crate) bytes: u64,
}

/// CPU time of a phase, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cpu {
    /// All controllers; zero for the raw limit.
    pub(crate) controllers: f64,
    /// kube-apiserver.
    pub(crate) api_server: f64,
    /// etcd.
    pub(crate) etcd: f64,
    /// The load generator; for the raw limit, this includes the writes that a controller would make.
    pub(crate) generator: f64,
}

/// Whether the load generator kept up.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generator {
    /// When the last request of the generator was acknowledged, in seconds since the phase began.
    pub(crate) sent_after: f64,
    /// How late a timer of its event loop fired, in ms: p99.
    pub(crate) lag: f64,
    /// How late the requests for a Shoot were sent, at a given rate, in ms: the maximum.
    pub(crate) delay: f64,
}

/// One process, or all processes of a command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    /// Seconds from its start until it logged that its own objects are listed; absent for other controllers.
    pub(crate) listed_after: Option<f64>,
    /// Seconds from its start until it logged that it is ready, which needs the Clusters as well; absent for other
    /// controllers.
    pub(crate) ready_after: Option<f64>,
    /// Resident memory before any object was created, in bytes.
    pub(crate) memory_empty: u64,
    /// Peak of resident memory, in bytes.
    pub(crate) memory_peak: u64,
    /// Resident memory after the last phase before deletion, in bytes.
    pub(crate) memory_rest: u64,
    /// CPU at rest while all objects exist, in percent of one core.
    pub(crate) cpu_rest: f64,
}
