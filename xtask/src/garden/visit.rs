//! Commands for a garden that another command keeps.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use gardener_testbed::assets::{GARDENER, GardenPrograms};
use mock_garden::isolation::Isolation;
use mock_garden::{Layout, Settings, control, outside};
use mock_view::say;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::{Which, absolute, programs};

/// How often a log is read, and a garden that ends is looked after.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Kubectl {
    #[command(flatten)]
    which: Which,
    /// Use the cluster of this Seed, or of the first one, instead of the garden cluster
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    seed: Option<String>,
    /// Use this awake Shoot, given as name or namespace/name
    #[arg(long, value_name = "SHOOT", conflicts_with = "seed")]
    shoot: Option<String>,
    /// Arguments of kubectl
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(clap::Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// The process
    #[arg(value_name = "PROCESS")]
    process: String,
    /// Go on showing what it writes, until Ctrl-C or the end of the garden
    #[arg(short, long)]
    follow: bool,
}

#[derive(clap::Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,
    /// The process, such as gardenlet
    #[arg(value_name = "PROCESS")]
    process: String,
    /// Build its program out of this checkout of Gardener first
    #[arg(long, value_name = "PATH")]
    gardener_dir: Option<PathBuf>,
}

/// Ends a garden. Returns when nothing of it is left.
pub(super) async fn down(which: &Which) -> Result<ExitCode> {
    let running = which.running()?;
    let process = Pid::from_raw(running.process.cast_signed()).context("the garden has no process")?;
    kill_process(process, Signal::TERM).with_context(|| format!("cannot end process {}", running.process))?;
    while which.running().is_ok_and(|now| now.folder == running.folder) {
        sleep(PAUSE).await;
    }
    say!("the garden {} has ended", which.name);
    Ok(ExitCode::SUCCESS)
}

/// Becomes a shell inside.
pub(super) fn shell(which: &Which) -> Result<ExitCode> {
    let running = which.running()?;
    let layout = Layout::new(running.folder.clone());
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (garden, seed) = (layout.kubeconfig_inside("garden"), layout.kubeconfig_inside("seed"));
    say!("KUBECONFIG is that of the garden; $SEED is the file of the seed. The shell ends with the garden.");
    let mut command = Isolation::find()?.enter(running.first_process()?, &shell);
    let error = command.env("KUBECONFIG", garden).env("SEED", seed).exec();
    Err(error).context("cannot start nsenter: run `apt-get install util-linux`")
}

/// Becomes kubectl.
pub(super) fn kubectl(args: &Kubectl) -> Result<ExitCode> {
    let layout = Layout::new(args.which.running()?.folder);
    let kubeconfig = match (&args.shoot, &args.seed) {
        (Some(shoot), _) => of_shoot(&layout, shoot)?,
        (None, Some(seed)) => {
            let seed = Some(seed.as_str()).filter(|name| !name.is_empty());
            layout.kubeconfig(Settings::read(&layout)?.cluster_of(seed)?)
        }
        (None, None) => layout.kubeconfig("garden"),
    };
    let kubectl = layout.programs().join("kubectl");
    let error = Command::new(&kubectl).args(&args.arguments).env("KUBECONFIG", kubeconfig).exec();
    Err(error).with_context(|| format!("cannot start {}", kubectl.display()))
}

/// The kubeconfig of an awake Shoot.
fn of_shoot(layout: &Layout, shoot: &str) -> Result<PathBuf> {
    let mut awake = Vec::new();
    // The folder appears with the first awake Shoot.
    for namespace in layout.shoots().read_dir().into_iter().flatten() {
        for file in namespace?.path().read_dir()? {
            awake.push(file?.path());
        }
    }
    let told =
        |file: &PathBuf| file.with_extension("").strip_prefix(layout.shoots()).map(|path| path.display().to_string());
    let is_meant = |file: &&PathBuf| told(file).is_ok_and(|told| told == shoot || told.ends_with(&format!("/{shoot}")));
    match awake.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [file] => Ok(file.clone()),
        [] if awake.is_empty() => {
            bail!("no Shoot is awake, {shoot} neither: it sleeps, is being created, or does not exist")
        }
        [] => bail!(
            "no Shoot {shoot} is awake: use one of {}",
            awake.iter().flat_map(told).collect::<Vec<_>>().join(", ")
        ),
        _ => bail!("several Shoots {shoot} are awake: give the namespace too, as in garden-dev/{shoot}"),
    }
}

/// Shows a log.
pub(super) async fn logs(args: &Logs) -> Result<ExitCode> {
    let layout = Layout::new(args.which.running()?.folder);
    let path = layout.log(&args.process);
    let Ok(mut log) = File::open(&path) else {
        return Err(no_process(&args.process, &processes(&layout)?, &args.which.name));
    };
    let mut text = Vec::new();
    loop {
        text.clear();
        log.read_to_end(&mut text)?;
        // The reader of a pipe may have seen enough.
        if io::stdout().write_all(&text).and_then(|()| io::stdout().flush()).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        if !args.follow || !path.exists() {
            return Ok(ExitCode::SUCCESS);
        }
        sleep(PAUSE).await;
    }
}

/// The error for a process that does not run. Controllers that gardenlet installs run in Pods, and have no log here.
fn no_process(name: &str, running: &[String], garden: &str) -> Error {
    anyhow!(
        "no process {name} runs: use one of {}; what gardenlet installs runs in Pods: see `cargo xtask garden kubectl --name \
         {garden} --seed get pods --all-namespaces`",
        running.join(", ")
    )
}

/// The processes that have a log.
fn processes(layout: &Layout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in layout.logs().read_dir()? {
        let file = file?.path();
        names.extend(file.file_stem().map(|name| name.display().to_string()));
    }
    names.sort();
    Ok(names)
}

/// Ends a process and starts it again.
pub(super) async fn restart(args: &Restart) -> Result<ExitCode> {
    let layout = Layout::new(args.which.running()?.folder);
    let running = processes(&layout)?;
    if !running.contains(&args.process) {
        return Err(no_process(&args.process, &running, &args.which.name));
    }
    if let Some(checkout) = args.gardener_dir.clone().map(absolute).transpose()? {
        let built = Which::names()?.join(format!("{}.built", args.which.name));
        programs::check(&checkout, &built)?;
        // The second Seed has a `gardenlet-2` of the same program.
        let name = args.process.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        let program = GardenPrograms::rebuild(name, &checkout, &built, &|step| say!("{step}"))?;
        let program = program.with_context(|| {
            let of_gardener = |process: &&String| GARDENER.iter().any(|program| process.starts_with(program));
            let known: Vec<_> = running.iter().filter(of_gardener).map(String::as_str).collect();
            format!("{} is no program of Gardener: use one of {}", args.process, known.join(", "))
        })?;
        outside::replace(&layout, &program)?;
    }
    control::restart(&layout, &args.process).await?;
    say!("{} runs again", args.process);
    Ok(ExitCode::SUCCESS)
}
