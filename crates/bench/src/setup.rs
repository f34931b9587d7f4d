//! What all contestants have in common: the servers, the programs and the load; and how the controllers of an contestant
//! start.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use extension_contract::{OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION};
use gardener_testbed::admission;
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options as BedOptions, TestBed};
use kube::Client;
use mock_fleet::kinds::Package;
use mock_fleet::{Fleet, StartTimes, cargo, kinds};
use mock_gardenlet::shoot::{Landscape, Planned};
use serde_json::{Value, json};

use crate::args::Args;
use crate::contestants::Contestant;
use crate::load::{Answer, Options, Phase, kinds_of, padded};

/// Size of one Cluster, in bytes: that of a Cluster in real landscapes.
const CLUSTER_BYTES: usize = 100_000;
/// etcd's largest supported quota, in bytes, for tens of thousands of objects.
const ETCD_QUOTA: u64 = 8 << 30;
/// How many single requests are sent to measure latency at rest.
const IDLE: usize = 300;
/// The number of the first Shoot that only warms everything up.
pub(crate) const WARM_UP: usize = 1_000_000;

/// What all contestants have in common.
pub(crate) struct Setup {
    pub(crate) assets: Assets,
    /// Our controllers.
    programs: Vec<(Package, PathBuf)>,
    /// Arguments for our controllers.
    arguments: Vec<String>,
    pub(crate) landscape: Landscape,
    /// The load; each run has its own [`Options::answer`].
    pub(crate) options: Options,
    pub(crate) phases: Vec<Phase>,
    /// How many single requests are sent to measure latency at rest.
    pub(crate) idle: usize,
    apiserver_flags: Vec<String>,
}

impl Setup {
    /// Locates the servers and builds the controllers.
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let assets = Assets::locate(&|step| eprintln!("{step}"))?;
        let landscape = landscape(&args.kinds)?;
        let programs = cargo::build(&packages(&landscape), true, env!("CARGO_PKG_NAME"))?;
        let mut phases = vec![Phase::Create, Phase::Reconcile];
        if args.full {
            phases.extend([Phase::Migrate, Phase::Restore]);
        }
        phases.push(Phase::Delete);
        Ok(Self {
            assets,
            programs,
            arguments: args.arguments.clone(),
            landscape: padded(&landscape, CLUSTER_BYTES),
            options: Options {
                first: 0,
                shoots: usize::try_from(args.shoots)?,
                writers: args.writers.into(),
                rate: args.rate,
                lead: args.lead.unwrap_or(Duration::from_secs(u64::from(args.rate.is_some()))),
                answer: Answer::Controllers,
            },
            phases,
            idle: IDLE,
            apiserver_flags: args.apiserver_flag.clone(),
        })
    }

    /// Starts an API server, with the admission policies if the contestant has them.
    pub(crate) async fn bed(&self, contestant: &Contestant) -> Result<TestBed> {
        let options = BedOptions {
            etcd_quota_bytes: Some(ETCD_QUOTA),
            apiserver_flags: self.apiserver_flags.clone(),
            audit: false,
            janitor: false,
            ..BedOptions::default()
        };
        let bed = TestBed::start(&self.assets, options).await?;
        if matches!(contestant, Contestant::Assisted) {
            assist(&self.landscape, &bed.client()).await?;
        }
        Ok(bed)
    }

    /// Starts the contestant's controllers, if it has some. Returns also how long ours took to start.
    pub(crate) async fn start(
        &self,
        contestant: &Contestant,
        bed: &TestBed,
    ) -> Result<Option<(Fleet, Vec<(String, StartTimes)>)>> {
        Ok(match contestant {
            Contestant::Alone | Contestant::RawLimit => None,
            Contestant::Ours | Contestant::Assisted => {
                Some(Fleet::ours(&self.programs, &self.arguments, bed.kubeconfig(), bed.dir()).await?)
            }
            Contestant::Other { name, command } => {
                Some((Fleet::other(name, command, bed.kubeconfig(), bed.dir())?, Vec::new()))
            }
        })
    }
}

/// The Shoot of the examples, with its CloudProfile and Seed: that with the kinds that every Shoot with workers has, or
/// objects of these kinds alone.
pub(crate) fn landscape(measured: &[Package]) -> Result<Landscape> {
    let file = if measured.is_empty() { "55-shoot.yaml" } else { "58-shoot-extensions.yaml" };
    let landscape = Landscape::example(&cargo::root().join("example").join(file))?;
    if measured.is_empty() {
        return Ok(landscape);
    }
    let landscape = landscape.of_kinds(measured.iter().map(|package| package.kind()).collect());
    Ok(landscape)
}

/// The controllers that serve the objects of the load.
pub(crate) fn packages(landscape: &Landscape) -> Vec<Package> {
    let kinds = kinds_of(landscape);
    kinds::ALL.iter().copied().filter(|package| kinds.contains(&package.kind())).collect()
}

/// Installs the admission policies of the measured kinds, and returns when they have effect.
pub(crate) async fn assist(landscape: &Landscape, client: &Client) -> Result<()> {
    let assisted: Vec<_> =
        packages(landscape).into_iter().filter_map(|package| Some((package.kind(), package.policy()?))).collect();
    let kinds: Vec<_> = assisted.iter().map(|(kind, _)| *kind).collect();
    let policies: Vec<Value> = assisted.into_iter().flat_map(|(_, policy)| policy).collect();
    let annotations = json!({
        OPERATION_ANNOTATION: OperationAnnotation::Reconcile.as_str(),
        TIMESTAMP_ANNOTATION: "2026-01-02T03:04:05Z",
    });
    let probe = |planned: Planned| {
        let mut object = planned.object;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata
                .extend([("namespace".to_owned(), json!("default")), ("annotations".to_owned(), annotations.clone())]);
        }
        object
    };
    let objects = landscape.plan(Some(WARM_UP)).objects().into_iter();
    let probes: Vec<Value> = objects.filter(|planned| kinds.contains(&planned.kind)).map(probe).collect();
    Ok(admission::install(client, &policies, &probes).await?)
}

/// Awaits work that needs all controllers. Fails as soon as one of them ends: the work would only wait.
pub(crate) async fn unless_ended<T>(fleet: Option<&Fleet>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(fleet) = fleet else { return work.await };
    tokio::select! {
        done = work => done,
        error = fleet.ended() => Err(error),
    }
}
