//! `cargo xtask garden`: a whole real Gardener on this machine, without containers.

mod live;
mod load;
mod programs;
mod visit;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use extension_contract::json::text;
use gardener_testbed::manifests;
use mock_fleet::cargo;
use mock_fleet::signals::Interrupts;
use mock_garden::isolation::Isolation;
use mock_garden::outside::{self, Outside, Reservation, Running};
use mock_garden::{Layout, Wanted, Work, inside};
use mock_view::{Screen, say};

/// Everything that the commands of a garden share.
#[derive(clap::Args, Clone)]
pub(crate) struct Which {
    /// The name of the garden: several run side by side
    #[arg(long, global = true, default_value = "garden", value_parser = name)]
    name: String,
}

impl Which {
    fn names() -> Result<PathBuf> {
        Ok(cargo::target()?.join("garden"))
    }

    /// The garden of this name, which runs.
    fn running(&self) -> Result<Running> {
        Ok(outside::find(&Self::names()?, &self.name)?)
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// Build Gardener's programs out of this checkout of its repository, instead of the pinned release
    #[arg(long, value_name = "PATH")]
    gardener_dir: Option<PathBuf>,
    /// The number of Seeds [default: 1; for `test --full` 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    seeds: Option<u8>,
    /// Feature gates of gardenlet, such as DefaultSeccompProfile=true, separated by commas
    #[arg(long, value_name = "GATES", value_delimiter = ',', value_parser = gate)]
    feature_gates: Vec<(String, bool)>,
}

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Start a garden, and keep it until Ctrl-C
    Up {
        #[command(flatten)]
        args: Args,
        /// Create the Shoots of this manifest once the Seed is ready; may be given several times
        #[arg(long, value_name = "FILE")]
        shoot: Vec<PathBuf>,
    },
    /// Start a garden, play the life of a Shoot in it, and end it
    Test {
        #[command(flatten)]
        args: Args,
        /// Write the result of each step to this file, as XML that CI systems read
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Play all scenes, also those that take long
        #[arg(long)]
        full: bool,
    },
    /// Start a garden, create many hibernated Shoots in it, report what they cost and what saturates, and end it
    Load(load::Load),
    /// End a garden that `up` keeps
    Down(Which),
    /// Open a shell inside a garden, with kubeconfigs of garden and seed
    Shell(Which),
    /// Run kubectl in the garden cluster or in the seed
    Kubectl(visit::Kubectl),
    /// Show the output of one of a garden's processes
    Logs(visit::Logs),
    /// End one of a garden's processes, and start it again; with --gardener-dir, of a fresh build
    Restart(visit::Restart),
    /// Run the inside of a garden
    #[command(hide = true)]
    Inside {
        /// The folder of the garden
        folder: PathBuf,
    },
}

pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { args, shoot } => {
            let shoots = shoot.into_iter().map(absolute).collect::<Result<_>>()?;
            session(&args, shoots, Work::Up, |_| Ok(())).await
        }
        Command::Test { args, junit, full } => {
            let junit = junit.map(absolute).transpose()?;
            session(&args, Vec::new(), Work::Test { junit, full }, |_| Ok(())).await
        }
        Command::Load(args) => load::run(args).await,
        Command::Down(which) => visit::down(&which).await,
        Command::Shell(which) => visit::shell(&which),
        Command::Kubectl(args) => visit::kubectl(&args),
        Command::Logs(args) => visit::logs(&args).await,
        Command::Restart(args) => visit::restart(&args).await,
        Command::Inside { folder } => {
            let well = inside::run(folder, &|news| say!("{}", news.encoded())).await?;
            Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Builds everything, and runs a garden until its work is done or a signal ends it. Calls `report` before the garden's files
/// are removed.
async fn session(
    args: &Args,
    shoots: Vec<PathBuf>,
    work: Work,
    report: impl FnOnce(&Layout) -> Result<()>,
) -> Result<ExitCode> {
    // What the machine lacks is said before minutes are lost.
    let isolation = Isolation::find()?;
    let mut has_shoot = shoots.is_empty();
    for file in &shoots {
        ensure!(file.is_file(), "{} is no file: give the manifest of a Shoot", file.display());
        has_shoot |= manifests::read(file)?.iter().any(|object| text(object, "kind") == Some("Shoot"));
    }
    ensure!(has_shoot, "the files of --shoot have no Shoot: give the manifest of one");
    let is_full = matches!(work, Work::Test { full: true, .. });
    ensure!(!is_full || args.seeds != Some(1), "a Shoot moves between two Seeds in a full test: leave out --seeds 1");
    let names = Which::names()?;
    let reservation = Reservation::take(&names, &args.which.name)?;
    let own = reservation.keep(&env::current_exe()?)?;
    let gardener = args.gardener_dir.clone().map(absolute).transpose()?;
    let built = names.join(format!("{}.built", args.which.name));
    let parts = programs::build(own, gardener.as_deref(), &built)?;

    let mut interrupts = Interrupts::listen()?;
    let (endless, is_load) = (matches!(work, Work::Up), matches!(work, Work::Load { .. }));
    let wanted = Wanted {
        sources: cargo::root().to_owned(),
        seeds: args.seeds.unwrap_or(if is_full { 2 } else { 1 }),
        shoots,
        feature_gates: args.feature_gates.clone(),
        work,
    };
    let mut garden = Outside::start(reservation, isolation, &parts, wanted).await?;
    let mut screen = Screen::new();
    let shown = async {
        live::show(&mut garden, &mut screen, is_load).await;
        garden.ended().await
    };
    let ended = tokio::select! {
        ended = shown => Some(ended),
        () = interrupts.next() => None,
    };
    screen.draw(|_, _| String::new());
    let ended = ended.transpose()?;
    let well = ended.is_some_and(|status| status.success());
    if ended.is_some() && !well {
        keep_logs(garden.layout(), &names.join(format!("{}.log", args.which.name)));
    }
    let reported = report(garden.layout());
    garden.stop().await?;
    reported?;
    match ended {
        None if !endless => bail!("interrupted"),
        // Ctrl-C is the usual way to end a garden.
        None => Ok(ExitCode::SUCCESS),
        Some(_) if well => Ok(ExitCode::SUCCESS),
        Some(_) => Ok(ExitCode::FAILURE),
    }
}

/// Keeps the output of all processes of a garden that failed.
fn keep_logs(layout: &Layout, folder: &std::path::Path) {
    let copied = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for file in std::fs::read_dir(layout.logs())? {
            let file = file?;
            std::fs::copy(file.path(), folder.join(file.file_name()))?;
        }
        Ok(())
    };
    match copied() {
        Ok(()) => eprintln!("the output of all processes is in {}", folder.display()),
        Err(error) => eprintln!("cannot keep the output of the processes in {}: {error}", folder.display()),
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// Parses the name of a garden, which is also that of a file.
fn name(text: &str) -> Result<String, String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.len() <= 40 && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err("invalid name: use 1-40 of [a-z0-9-]".to_owned())
}

/// Parses a feature gate.
fn gate(text: &str) -> Result<(String, bool), String> {
    let parsed = text.split_once('=').and_then(|(name, on)| Some((name.trim(), on.trim().parse().ok()?)));
    let gate = parsed.filter(|(name, _)| !name.is_empty()).map(|(name, on)| (name.to_owned(), on));
    gate.ok_or_else(|| "invalid feature gate: use Name=true or Name=false".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_gardens_are_names_of_files() {
        assert_eq!(name("a-1").as_deref(), Ok("a-1"));
        for bad in ["", "a/b", "..", "A", "a b", &"x".repeat(41)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn feature_gates_have_a_name_and_a_value() {
        assert_eq!(gate("A=true"), Ok(("A".to_owned(), true)));
        for bad in ["", "A", "A=", "A=yes", "=true"] {
            assert!(gate(bad).is_err(), "{bad}");
        }
    }
}
