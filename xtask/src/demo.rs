//! `cargo xtask demo`: Shoots go through their phases on a real API server, and a person can watch.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use extension_contract::kinds::{BACKUP_BUCKET, BACKUP_ENTRY};
use futures::{TryStreamExt as _, stream};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::causes;
use mock_fleet::kinds::Package;
use mock_fleet::signals::Interrupts;
use mock_fleet::{KeptAlive, cargo, kinds};
use mock_gardenlet::shoot::{Landscape, Manifests, SeedPlan, ShootPlan};
use mock_gardenlet::{Gardenlet, Phase, Stuck};
use mock_view::words::duration;
use mock_view::{Board, Screen, say};
use tokio::sync::mpsc;

use crate::landscape;
use crate::script::Story;

/// How many Shoots gardenlet works on at the same time: the default of `concurrentSyncs` of its Shoot controller.
const AT_ONCE: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also hibernate, wake, migrate, restore and delete
    #[arg(long)]
    full: bool,
    /// Keep everything running, without deleting the Shoots, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// How many Shoots to play
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    shoots: u32,
    /// Kinds of the objects to play, separated by commas, or `all` [default: the kinds that the Shoot needs]
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = kinds_of)]
    kinds: Vec<Kinds>,
    /// Manifest of the Shoot, which gardener-apiserver admits [default: example/58-shoot-extensions.yaml]
    #[arg(long, value_name = "FILE")]
    shoot: Option<PathBuf>,
    /// Script of delays and failures, or the name of a story in example/; also deletes the Shoots
    #[arg(long, value_name = "FILE|NAME")]
    script: Option<String>,
    /// How long to wait for each object, at most. gardenlet waits minutes
    // Without a script, nothing takes longer than the restart of a controller.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
    /// Manifest of the CloudProfile [default: in the Shoot's file, or 20-cloudprofile.yaml beside it]
    #[arg(long, value_name = "FILE")]
    cloudprofile: Option<PathBuf>,
    /// Manifest of the Seed [default: in the Shoot's file, or the Seed of its seedName beside it]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
}

impl Args {
    fn phases(&self) -> Vec<Phase> {
        let mut phases = vec![Phase::Create, Phase::Reconcile];
        if self.full {
            phases.extend([Phase::Hibernate, Phase::Wake, Phase::Migrate, Phase::Restore]);
        }
        if (self.full || self.script.is_some()) && !self.keep {
            phases.push(Phase::Delete);
        }
        phases
    }

    /// The Shoot and its Seed, restricted to the kinds that are played.
    async fn landscape(&self, story: Option<&Story>) -> Result<Landscape> {
        let default = cargo::root().join("example").join(landscape::DEFAULT_SHOOT);
        let story = story.filter(|story| story.is_shoot).map(|story| story.file.as_path());
        if story.is_some() && self.shoot.is_some() {
            bail!(
                "--script and --shoot both name a Shoot: leave --shoot out, or give --script a file with a script alone"
            );
        }
        let shoot = self.shoot.as_deref().or(story).unwrap_or(&default);
        let manifests = Manifests::read(shoot, self.cloudprofile.as_deref(), self.seed.as_deref(), None)?;
        let landscape = landscape::admitted(manifests).await?;
        let chosen: BTreeSet<_> = self.kinds.iter().flat_map(|kinds| kinds.0.iter().copied()).collect();
        let kinds = if chosen.is_empty() { needed(&landscape) } else { chosen };
        let landscape = landscape.of_kinds(kinds);
        if kinds_in(&landscape).is_empty() {
            bail!(
                "--kinds: gardenlet creates no object of these kinds for the Shoot and its Seed: name others, or --shoot"
            );
        }
        Ok(landscape)
    }

    fn plans(&self, landscape: &Landscape) -> Result<Vec<ShootPlan>> {
        Ok(match usize::try_from(self.shoots)? {
            1 => vec![landscape.plan(None)],
            several => (0..several).map(|index| landscape.plan(Some(index))).collect(),
        })
    }
}

/// Kinds as one argument names them.
#[derive(Clone, Debug)]
struct Kinds(Vec<&'static str>);

fn kinds_of(text: &str) -> Result<Kinds, String> {
    if text == "all" {
        return Ok(Kinds(kinds::ALL.iter().map(|package| package.kind()).collect()));
    }
    Package::parse(text).map(|package| Kinds(vec![package.kind()]))
}

/// The kinds of the Shoot's objects, and of what they wait for on their Seed: the bucket of their backups.
fn needed(landscape: &Landscape) -> BTreeSet<&'static str> {
    let mut kinds: BTreeSet<_> = landscape.plan(None).objects().iter().map(|planned| planned.kind).collect();
    if kinds.contains(BACKUP_ENTRY.name) {
        kinds.insert(BACKUP_BUCKET.name);
    }
    kinds
}

/// The kinds of the objects of the Shoot and of its Seed.
fn kinds_in(landscape: &Landscape) -> BTreeSet<&'static str> {
    served(landscape).into_iter().map(|(kind, _)| kind).collect()
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    // Read the manifests first, because building takes minutes.
    let story = args.script.as_deref().map(Story::find).transpose()?;
    let landscape = args.landscape(story.as_ref()).await?;
    let (seed, mut plans) = (landscape.seed(None), args.plans(&landscape)?);
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let played = kinds_in(&landscape);
    let packages: Vec<_> = kinds::ALL.iter().copied().filter(|package| played.contains(package.kind())).collect();
    let programs = cargo::build(&packages, false, env!("CARGO_PKG_NAME"))?;

    let started = Instant::now();
    let mut interrupts = Interrupts::listen()?;
    let bed = tokio::select! {
        bed = TestBed::start(&assets, Options { audit: false, ..Options::default() }) => bed?,
        () = interrupts.next() => bail!("interrupted"),
    };
    let bed_up = started.elapsed();
    let script = story.filter(|story| !story.is_shoot).map(|story| story.file);
    let controllers = KeptAlive::new(&bed, programs, script, served(&landscape));
    let mut board = Board::new(plans.len());
    let result =
        session(&args, &bed, &controllers, (&seed, &mut plans), &mut board, &mut interrupts, |board, result| {
            let verdict = if result.is_ok() { "" } else { "FAILED: " };
            let (bed_up, all) = (duration(bed_up), duration(started.elapsed()));
            say!("{verdict}{}; bed up in {bed_up}, all in {all}", board.summary());
        });
    let result = result.await;
    let stopped = bed.stop().await.context("cannot end the test bed");
    result.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// The kinds and types of the objects. The controllers serve all of them, so that a manifest with the types of a real
/// provider can be played.
fn served(landscape: &Landscape) -> BTreeSet<(&'static str, String)> {
    let planned = landscape.seed(None).objects().into_iter().chain(landscape.plan(None).objects());
    let served = planned.filter_map(|planned| {
        let spec_type = planned.object.pointer("/spec/type")?.as_str()?;
        Some((planned.kind, spec_type.to_owned()))
    });
    served.collect()
}

/// Everything that happens while the test bed runs. Calls `summarise` when the Shoots have been played.
async fn session(
    args: &Args,
    bed: &TestBed,
    controllers: &KeptAlive<'_>,
    (seed, plans): (&SeedPlan, &mut [ShootPlan]),
    board: &mut Board,
    interrupts: &mut Interrupts,
    summarise: impl FnOnce(&Board, &Result<()>),
) -> Result<()> {
    let (notes, mut restarts) = mpsc::unbounded_channel();
    let running = controllers.run(notes);
    tokio::pin!(running);

    let (reports, mut reported) = mpsc::unbounded_channel();
    let playing = async {
        controllers.ready().await;
        // It owns the sender of reports, so that the reports end when all Shoots have been played.
        let gardenlet = Gardenlet::new(bed.client(), reports, Duration::from_secs(args.timeout.into()));
        play(&gardenlet, seed, plans, &args.phases()).await
    };
    let mut screen = Screen::new();
    let result = tokio::select! {
        (result, ()) = async { tokio::join!(playing, screen.show(board, &mut reported, &mut restarts)) } => result,
        error = &mut running => Err(error),
        () = interrupts.next() => bail!("interrupted"),
    };
    screen.last(board);
    if let Err(error) = &result {
        eprint!("{}", controllers.log_ends(board.stuck()));
        if matches!(error.downcast_ref(), Some(Stuck::Waiting { .. })) {
            eprintln!("the demo waited {} s, gardenlet waits minutes: --timeout SECONDS waits longer", args.timeout);
        }
    }
    summarise(board, &result);
    if !args.keep {
        return result;
    }
    if let Err(error) = &result {
        eprintln!("error: {}", causes(error.as_ref()));
    }
    say!("\nexport KUBECONFIG={}\n\nCtrl-C ends everything", bed.kubeconfig().display());
    loop {
        tokio::select! {
            Some(note) = restarts.recv() => say!("{note}"),
            error = &mut running => return Err(error),
            () = interrupts.next() => return result,
        }
    }
}

/// Plays one phase after the other, each for all Shoots. Their Seed comes first, and goes last. Ends at the first
/// failure.
async fn play(gardenlet: &Gardenlet, seed: &SeedPlan, plans: &mut [ShootPlan], phases: &[Phase]) -> Result<()> {
    for phase in phases {
        let is_last = *phase == Phase::Delete;
        if !is_last {
            gardenlet.play_seed(seed, *phase).await?;
        }
        stream::iter(plans.iter_mut().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |plan| gardenlet.play(plan, *phase))
            .await?;
        if is_last {
            gardenlet.play_seed(seed, *phase).await?;
        }
    }
    Ok(())
}
