//! `cargo xtask demo`: mock shoots live through their phases on a real API server, and one can watch.

mod controllers;
mod screen;
mod table;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{TryStreamExt as _, stream};
use mock_testbed::{
    assets::Assets,
    bed::{Options, TestBed},
    gardenlet::{Gardenlet, Phase},
    shoot::{Landscape, ShootPlan},
};
use tokio::sync::mpsc;

use self::{controllers::Controllers, screen::Screen, table::Board};
use crate::{cargo, kinds, script::Story, signals::Interrupts, words::duration};

/// How many shoots gardenlet works on at a time: its own default (`concurrentSyncs` of its shoot controller) is 20.
const AT_ONCE: usize = 20;

/// Gardener's own timeouts are minutes; here nothing takes longer than a controller's restart.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also hibernate, wake, migrate, restore and delete
    #[arg(long)]
    full: bool,
    /// Leave everything running, undeleted, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// How many shoots to play
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    shoots: u32,
    /// The manifest of the Shoot [default: example/55-shoot.yaml]
    #[arg(long, value_name = "FILE")]
    shoot: Option<PathBuf>,
    /// A script of delays and failures, or the name of a story in example/; also deletes the shoots
    #[arg(long, value_name = "FILE|NAME")]
    script: Option<String>,
    /// The manifest of its cloud profile
    #[arg(long, value_name = "FILE")]
    cloudprofile: Option<PathBuf>,
    /// The manifest of its Seed
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
}

impl Args {
    fn phases(&self) -> Vec<Phase> {
        let mut phases = vec![Phase::Create, Phase::Reconcile];
        if self.full {
            phases.extend([Phase::Hibernate, Phase::Wake, Phase::Migrate, Phase::Restore]);
            // Who keeps the shoots wants to look at them.
            if !self.keep {
                phases.push(Phase::Delete);
            }
        } else if self.script.is_some() && !self.keep {
            phases.push(Phase::Delete);
        }
        phases
    }

    fn plans(&self, story: Option<&Story>) -> Result<Vec<ShootPlan>> {
        let default = cargo::root().join("example/55-shoot.yaml");
        let story = story.filter(|story| story.is_shoot).map(|story| story.file.as_path());
        if story.is_some() && self.shoot.is_some() {
            bail!("--script names a Shoot, and --shoot another one: give a script by itself, or one of the two");
        }
        let shoot = self.shoot.as_deref().or(story).unwrap_or(&default);
        let landscape = Landscape::load(shoot, self.cloudprofile.as_deref(), self.seed.as_deref())?;
        if landscape.is_workerless() {
            eprintln!("a Shoot without workers: Gardener creates no object of the kinds that are mocked");
        }
        Ok(match usize::try_from(self.shoots)? {
            1 => vec![landscape.plan(None)],
            several => (0..several).map(|index| landscape.plan(Some(index))).collect(),
        })
    }
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    // What can be wrong on this machine or in the manifests comes before what takes minutes.
    let story = args.script.as_deref().map(Story::find).transpose()?;
    let mut plans = args.plans(story.as_ref())?;
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let programs = cargo::build(kinds::ALL, false)?;

    let started = Instant::now();
    let mut interrupts = Interrupts::listen()?;
    let bed = tokio::select! {
        bed = TestBed::start(&assets, Options { audit: false, ..Options::default() }) => bed?,
        () = interrupts.next() => bail!("interrupted"),
    };
    let bed_up = started.elapsed();
    let script = story.filter(|story| !story.is_shoot).map(|story| story.file);
    let controllers = Controllers::new(&bed, programs, script, served(&plans));
    let mut board = Board::new(plans.len());
    let result = session(&args, &bed, &controllers, &mut plans, &mut board, &mut interrupts, |board, result| {
        let verdict = if result.is_ok() { "" } else { "FAILED: " };
        let (bed_up, all) = (duration(bed_up), duration(started.elapsed()));
        println!("{verdict}{}; bed up in {bed_up}, all in {all}", board.summary());
    });
    let result = result.await;
    let stopped = bed.stop().await.context("cannot end the test bed");
    result.and(stopped).map(|()| ExitCode::SUCCESS)
}

/// The kinds and types of the objects to come, so that the mocks stand in for whatever the Shoot asks for.
fn served(plans: &[ShootPlan]) -> BTreeSet<(&'static str, String)> {
    // All plans are of one manifest.
    let planned = plans.first().map(ShootPlan::objects).unwrap_or_default();
    let served = planned.into_iter().filter_map(|planned| {
        let spec_type = planned.object.pointer("/spec/type")?.as_str()?;
        Some((planned.kind, spec_type.to_owned()))
    });
    served.collect()
}

/// All that happens while the test bed is up.
async fn session(
    args: &Args,
    bed: &TestBed,
    controllers: &Controllers<'_>,
    plans: &mut [ShootPlan],
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
        // Moved in here, so that the last sender of reports goes when all is played.
        let gardenlet = Gardenlet::new(bed.client(), reports, PATIENCE);
        play(&gardenlet, plans, &args.phases()).await
    };
    let mut screen = Screen::new();
    let result = tokio::select! {
        (result, ()) = async { tokio::join!(playing, screen.show(board, &mut reported, &mut restarts)) } => result,
        error = &mut running => Err(error),
        () = interrupts.next() => bail!("interrupted"),
    };
    screen.last(board);
    if result.is_err() {
        eprint!("{}", controllers.last_words(board.stuck()));
    }
    summarise(board, &result);
    if !args.keep {
        return result;
    }
    if let Err(error) = &result {
        eprintln!("error: {}", crate::text(error));
    }
    println!("\nexport KUBECONFIG={}\n\nCtrl-C ends everything", bed.kubeconfig().display());
    loop {
        tokio::select! {
            Some(note) = restarts.recv() => println!("{note}"),
            error = &mut running => return Err(error),
            () = interrupts.next() => return result,
        }
    }
}

/// Plays one phase after the other, each for all shoots; ends at the first failure.
async fn play(gardenlet: &Gardenlet, plans: &mut [ShootPlan], phases: &[Phase]) -> Result<()> {
    for phase in phases {
        stream::iter(plans.iter_mut().map(Ok))
            .try_for_each_concurrent(AT_ONCE, |plan| gardenlet.play(plan, *phase))
            .await?;
    }
    Ok(())
}
