//! What a benchmark measures, as plain data: the JSON that it writes, and what its table and its chart are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A whole benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Where and when.
    pub(crate) machine: Machine,
    /// What was asked for.
    pub(crate) load: Load,
    /// The same load that nobody answers: what gardenlet's own requests cost, which is in everybody's figures.
    #[serde(default)]
    pub(crate) alone: Contestant,
    /// In the order in which they are shown; the first is the raw limit.
    pub(crate) contestants: Vec<Contestant>,
}

/// Where and when it was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    /// RFC 3339, UTC.
    pub(crate) date: String,
    /// Model name of the CPU.
    pub(crate) cpu: String,
    /// How many of it are there.
    pub(crate) cores: usize,
    /// In bytes.
    pub(crate) memory: u64,
    /// Operating system and kernel.
    pub(crate) system: String,
    /// Version of kube-apiserver.
    pub(crate) kube_apiserver: String,
    /// Version of etcd.
    pub(crate) etcd: String,
}

/// The load that everybody got.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    /// Shoots.
    pub(crate) shoots: usize,
    /// Extension objects of all shoots.
    pub(crate) objects: usize,
    /// Size of one Cluster as it is sent, in bytes.
    pub(crate) cluster_bytes: usize,
    /// Requests of the load generator under way at the same time.
    pub(crate) writers: usize,
    /// Objects a second of an open loop; a burst if absent.
    pub(crate) rate: Option<f64>,
    /// Seconds that passed between a Cluster and its objects, and count for nobody.
    pub(crate) lead: f64,
    /// The most turns that a contestant had.
    pub(crate) rounds: usize,
}

/// Who serves the load.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contestant {
    /// For people.
    pub(crate) name: String,
    /// The shell command of a set of controllers that is not ours.
    pub(crate) command: Option<String>,
    /// Its turns.
    pub(crate) rounds: Vec<Round>,
    /// How it starts beside objects that are there already, if that was asked for.
    pub(crate) standing: Option<Standing>,
}

/// Controllers that start where everything is there already.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    /// Shoots.
    pub(crate) shoots: usize,
    /// Extension objects of all shoots.
    pub(crate) objects: usize,
    /// Seconds from the start of the controllers until all objects, which nobody had served, were ready.
    pub(crate) all_ready_after: f64,
    /// By name; memory and CPU are those after all objects were ready.
    pub(crate) processes: BTreeMap<String, Process>,
    /// The same for controllers that start when all objects are served.
    pub(crate) again: BTreeMap<String, Process>,
}

/// One turn on an API server of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    /// In the order in which they were played.
    pub(crate) phases: Vec<Phase>,
    /// Latency of single requests while nothing else happens, in ms, in no order.
    pub(crate) idle_latencies: Vec<f64>,
    /// Controllers by name.
    pub(crate) processes: BTreeMap<String, Process>,
}

/// What happened to all objects once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    /// create, reconcile, migrate, restore or delete.
    pub(crate) name: String,
    /// How many objects became ready.
    pub(crate) objects: usize,
    /// From the first request, which is for a Cluster, to the event that made the last object ready.
    pub(crate) seconds: f64,
    /// One for each object.
    pub(crate) samples: Vec<Sample>,
    /// Requests of the controllers by verb and resource, as the API server counted them.
    pub(crate) requests: Vec<Requests>,
    /// Bodies of those requests, as the API server counted them.
    pub(crate) bodies: Vec<Bodies>,
    /// Watch events that the API server sent to everybody.
    pub(crate) watch_events: u64,
    /// Their size, in bytes.
    pub(crate) watch_bytes: u64,
    /// CPU time, in seconds.
    pub(crate) cpu: Cpu,
    /// How the load generator did.
    pub(crate) generator: Generator,
}

/// How one object got ready.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// Its kind.
    pub(crate) kind: String,
    /// When its request was acknowledged, in seconds since the phase began.
    pub(crate) at: f64,
    /// From the acknowledged request to the event on which gardenlet's rule held, in ms.
    pub(crate) latency: f64,
}

/// Requests of one form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    /// As Kubernetes names it, such as `patch`.
    pub(crate) verb: String,
    /// Plural, with the subresource: `networks/status`.
    pub(crate) resource: String,
    /// All of them.
    pub(crate) count: u64,
    /// Those that were refused as a conflict (409, and 422 for a failed test of a JSON patch).
    pub(crate) conflicts: u64,
    /// Those that failed for another reason.
    pub(crate) failures: u64,
}

/// Bodies of requests, which the API server does not count by subresource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bodies {
    /// As Kubernetes names it, such as `patch`.
    pub(crate) verb: String,
    /// Plural.
    pub(crate) resource: String,
    /// All of them together.
    pub(crate) bytes: u64,
}

/// CPU time of a phase, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cpu {
    /// All controllers together; of the raw limit none.
    pub(crate) controllers: f64,
    /// kube-apiserver.
    pub(crate) api_server: f64,
    /// etcd.
    pub(crate) etcd: f64,
    /// The load generator; of the raw limit with the writes that a controller would make.
    pub(crate) generator: f64,
}

/// Whether the load generator kept up.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generator {
    /// When the last of its own requests was acknowledged, in seconds since the phase began.
    pub(crate) sent_after: f64,
    /// How much later than it should a timer of its event loop fired, in ms: p99.
    pub(crate) lag: f64,
    /// How much later than planned an open loop sent a request, in ms: the worst.
    pub(crate) delay: f64,
}

/// One process, or a set of them under one command.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    /// Seconds from its start until it said that its own objects are listed; only ours say so.
    pub(crate) listed_after: Option<f64>,
    /// Seconds from its start until it said that it is ready, which takes the Clusters as well; only ours say so.
    pub(crate) ready_after: Option<f64>,
    /// Resident memory before there were any objects, in bytes.
    pub(crate) memory_empty: u64,
    /// The most resident memory that it ever had, in bytes.
    pub(crate) memory_peak: u64,
    /// Resident memory after the last phase but deletion, in bytes.
    pub(crate) memory_rest: u64,
    /// CPU at rest with all objects there, in percent of one core.
    pub(crate) cpu_rest: f64,
}
