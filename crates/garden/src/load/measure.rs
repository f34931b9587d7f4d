//! What is measured while a load runs: CPU time and memory, gardenlet's metrics, and those of the API servers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::process;
use std::time::Duration;

use gardener_testbed::metrics::samples;
use gardener_testbed::requests::Counters;
use gardener_testbed::usage;
use http::Request;
use kube::Client;
use tokio::time::{MissedTickBehavior, interval};

use super::records::{Gardenlet, Recorder, Requests, Usage, What};
use crate::error::GardenError;
use crate::processes::Processes;

/// The period of what costs a few milliseconds.
const OFTEN: Duration = Duration::from_secs(2);

/// Every so many periods, also what costs more: the kernel counts the pages of every process, and an API server has
/// megabytes of metrics.
const SELDOM: u32 = 5;

/// The work queue of Shoots in gardenlet's metrics (`pkg/gardenlet/controller/shoot/shoot/add.go`).
const QUEUE: &str = "shoot";

/// An API server whose requests are counted.
pub(crate) struct Server {
    name: &'static str,
    client: Client,
    /// What it had counted before the load.
    before: Counters,
}

impl Server {
    /// Counts the requests of an API server from now on.
    pub(crate) async fn count(name: &'static str, client: Client) -> Result<Self, GardenError> {
        let before = Counters::read(&client).await?;
        Ok(Self { name, client, before })
    }

    async fn requests(&self) -> Result<Requests, GardenError> {
        let now = Counters::read(&self.client).await?;
        let requests = now.since(&self.before).requests.into_iter();
        let counts = requests.map(|((verb, resource), requests)| (format!("{verb} {resource}"), requests.count));
        Ok(Requests { server: self.name.to_owned(), counts: counts.collect(), watches: now.watches() })
    }
}

/// What is measured.
pub(crate) struct Usages<'a> {
    /// The processes that the garden has started.
    pub(crate) processes: &'a Processes,
    /// gardenlet's metrics.
    pub(crate) gardenlet: Client,
    /// The API servers, by the addresses that gardenlet sends its requests to.
    pub(crate) addresses: BTreeMap<String, &'static str>,
    /// The API servers.
    pub(crate) servers: Vec<Server>,
}

impl Usages<'_> {
    /// Measures until it is dropped.
    pub(super) async fn again_and_again(&self, recorder: &Recorder) -> Result<Infallible, GardenError> {
        let mut ticks = interval(OFTEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u32.. {
            ticks.tick().await;
            self.often(recorder).await?;
            if tick % SELDOM == SELDOM - 1 {
                self.seldom(recorder).await?;
            }
        }
        std::future::pending().await
    }

    /// Measures everything once.
    pub(super) async fn all(&self, recorder: &Recorder) -> Result<(), GardenError> {
        self.often(recorder).await?;
        self.seldom(recorder).await
    }

    async fn often(&self, recorder: &Recorder) -> Result<(), GardenError> {
        let (used, all) = usage::of_machine().map_err(GardenError::system("read the CPU time of the machine"))?;
        let mut now = Usage { used, all, ..Usage::default() };
        for (id, name) in self.named().await? {
            *now.cpu.entry(name.clone()).or_default() += usage::cpu(id);
            *now.memory.entry(name).or_default() += usage::memory(id).0;
        }
        recorder.note(What::Usage(now))?;
        let request = Request::get("/metrics").body(Vec::new()).map_err(kube::Error::HttpError);
        let answer = async { self.gardenlet.request_text(request?).await };
        let metrics = answer.await.map_err(GardenError::request("read gardenlet's metrics"))?;
        recorder.note(What::Gardenlet(self.gardenlet(&metrics)))
    }

    async fn seldom(&self, recorder: &Recorder) -> Result<(), GardenError> {
        let mut memory = BTreeMap::new();
        for (id, name) in self.named().await? {
            *memory.entry(name).or_default() += usage::proportional(id);
        }
        recorder.note(What::Memory(memory))?;
        for server in &self.servers {
            recorder.note(What::Requests(server.requests().await?))?;
        }
        Ok(())
    }

    /// All processes in the garden. Those that the garden has started have the names of their logs; the others those of
    /// their programs.
    async fn named(&self) -> Result<Vec<(i32, String)>, GardenError> {
        let own = process::id().cast_signed();
        let started = self.processes.ids().await;
        let all = usage::all().map_err(GardenError::system("list the processes"))?;
        let name = |(id, program): (i32, String)| match started.get(&id) {
            Some(name) => (id, name.clone()),
            None if id == own => (id, "this command".to_owned()),
            None => (id, program),
        };
        Ok(all.into_iter().map(name).collect())
    }

    /// What gardenlet's metrics say.
    fn gardenlet(&self, metrics: &str) -> Gardenlet {
        let mut now = Gardenlet::default();
        for sample in samples(metrics) {
            match sample.name {
                "workqueue_depth" if sample.label("name") == QUEUE => now.waiting += sample.value,
                "controller_runtime_active_workers" if sample.label("controller") == QUEUE => {
                    now.working = sample.value;
                }
                "controller_runtime_max_concurrent_reconciles" if sample.label("controller") == QUEUE => {
                    now.workers = sample.value;
                }
                "rest_client_requests_total" => {
                    let server = self.addresses.get(sample.label("host")).copied().unwrap_or("others");
                    *now.sent.entry(server.to_owned()).or_default() += sample.value;
                }
                _ => {}
            }
        }
        now
    }
}
