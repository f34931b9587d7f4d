//! `cargo xtask bench`: how fast the controllers are, beside the limit that the API server sets and beside others.

mod chart;
mod cost;
mod figures;
mod fleet;
mod standing;
mod statistics;
mod table;
mod turn;
mod usage;
mod words;

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use mock_testbed::{
    assets::Assets,
    load::{self, Answer, Options, swollen},
    shoot::Landscape,
};

use self::figures::{Contestant, Machine, Report};
use crate::{
    cargo,
    kinds::{self, Kind},
    signals::Interrupts,
};

/// Bytes of one Cluster: what those of real landscapes have.
const CLUSTER_BYTES: usize = 100_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many Shoots, of six objects each
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    shoots: u32,
    /// Also migrate and restore
    #[arg(long)]
    full: bool,
    /// Ask for that many objects a second, whatever becomes of them [default: a burst]
    #[arg(long, value_name = "OBJECTS", value_parser = positive, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// How many seconds before its objects a Cluster is written, as gardenlet does; they are part of CPU times, and of
    /// nothing else [default: 0 in a burst, 1 at a rate]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    lead: Option<Duration>,
    /// How many of the load generator's requests are under way at a time in a burst
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(allow_negative_numbers = true)]
    writers: u16,
    /// How often everybody has a turn; figures are medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(allow_negative_numbers = true)]
    rounds: u16,
    /// Also measure our controllers assisted by admission policies
    #[arg(long)]
    assisted: bool,
    /// A shell command that runs other controllers against KUBECONFIG until it is killed, under a name that
    /// begins in lower case, if one is given; may be repeated
    #[arg(long, value_name = "[NAME=]COMMAND", value_parser = Entrant::parse)]
    against: Vec<Entrant>,
    /// Also start the controllers where this many Shoots are there already; of 10000 the API server alone takes 30 GB, or
    /// 17 with GOGC=40 in the environment
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(allow_negative_numbers = true)]
    standing: Option<u32>,
    /// Only count the requests and bytes of each operation, without a clock, and compare them with what is expected or
    /// keep them as what is expected from now on
    #[arg(long, exclusive = true, value_name = "WHAT")]
    cost: Option<cost::Then>,
    /// Where all figures go [default: target/bench.json, in the workspace]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the chart goes [default: target/bench.svg, in the workspace]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// A further flag of kube-apiserver; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    apiserver_flag: Vec<String>,
    /// Arguments for each of our controllers, such as `-- --concurrency 8`
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

/// What everybody gets.
struct Bench {
    assets: Assets,
    programs: Vec<(Kind, PathBuf)>,
    arguments: Vec<String>,
    landscape: Landscape,
    options: Options,
    phases: Vec<load::Phase>,
    /// How many single requests idle latency is made of.
    idle: usize,
    apiserver_flags: Vec<String>,
}

/// Who takes part.
#[derive(Clone)]
enum Entrant {
    /// Nobody answers.
    Alone,
    /// The load generator answers itself.
    Raw,
    /// Our five controllers.
    Ours,
    /// The same, assisted by admission policies.
    Assisted,
    /// Somebody else's.
    Other { name: String, command: String },
}

impl Entrant {
    fn parse(against: &str) -> Result<Self, String> {
        // A name is one word; what has anything else before the first equals sign is a command with a variable or flag.
        let named = against.split_once('=').filter(|(name, _)| {
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        });
        let (name, command) = named.unwrap_or((against, against));
        if command.trim().is_empty() {
            return Err("names no command: give one, such as NAME=COMMAND".to_owned());
        }
        Ok(Self::Other { name: name.to_owned(), command: command.to_owned() })
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Alone => Answer::Nobody,
            Self::Raw => Answer::Raw,
            Self::Ours | Self::Assisted | Self::Other { .. } => Answer::Controllers,
        }
    }

    fn contestant(&self) -> Contestant {
        let (name, command) = match self {
            Self::Alone => ("load alone", None),
            Self::Raw => ("raw limit", None),
            Self::Ours => ("mock", None),
            Self::Assisted => ("mock assisted", None),
            Self::Other { name, command } => (name.as_str(), Some(command.clone())),
        };
        Contestant { name: name.to_owned(), command, ..Contestant::default() }
    }
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    if let Some(then) = args.cost {
        return cost::run(then).await;
    }
    let names: Vec<String> = entrants(&args).iter().map(|entrant| entrant.contestant().name).collect();
    if let Some(twice) = twice(&names) {
        bail!("two would be called {twice:?}: give each --against a name of its own: --against 'NAME=COMMAND'");
    }
    if cfg!(debug_assertions) {
        return optimised();
    }
    // What cannot be written is said before everything is measured.
    let files = Files::open(&args)?;
    let assets = Assets::locate(&|step| eprintln!("{step}"))?;
    let programs = cargo::build(kinds::ALL, true)?;
    let landscape = Landscape::load(&cargo::root().join("example/55-shoot.yaml"), None, None)?;
    let mut phases = vec![load::Phase::Create, load::Phase::Reconcile];
    if args.full {
        phases.extend([load::Phase::Migrate, load::Phase::Restore]);
    }
    phases.push(load::Phase::Delete);
    let bench = Bench {
        assets,
        programs,
        arguments: args.arguments.clone(),
        landscape: swollen(&landscape, CLUSTER_BYTES),
        options: Options {
            first: 0,
            shoots: usize::try_from(args.shoots)?,
            writers: args.writers.into(),
            rate: args.rate,
            lead: args.lead.unwrap_or(Duration::from_secs(u64::from(args.rate.is_some()))),
            answer: Answer::Controllers,
        },
        phases,
        idle: 300,
        apiserver_flags: args.apiserver_flag.clone(),
    };
    let mut interrupts = Interrupts::listen()?;
    let mut report = report(&bench, &args)?;
    let ended = tokio::select! {
        ended = measure(&bench, &args, &mut report) => ended,
        () = interrupts.next() => Err(anyhow!("interrupted")),
    };
    // Whatever ended it: what was measured before is worth as much as ever, unless it is the raw limit alone.
    report.load.rounds = report.contestants.iter().map(|contestant| contestant.rounds.len()).max().unwrap_or_default();
    if report.contestants.iter().skip(1).any(|contestant| !contestant.rounds.is_empty()) {
        println!("{}", table::render(&report));
        files.write(&report)?;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// A load generator without optimisation would take the CPU that it is to measure: this program again, built with it.
/// It takes the place of this process, so that whoever ends this one ends it.
fn optimised() -> Result<ExitCode> {
    let mut command = cargo::command();
    command.args(["run", "--release", "--package", "xtask", "--manifest-path"]).arg(cargo::root().join("Cargo.toml"));
    command.arg("--").args(std::env::args_os().skip(1)).current_dir(std::env::current_dir()?);
    Err(Error::new(command.exec()).context("cannot start cargo"))
}

/// The first name that two have.
fn twice(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

fn entrants(args: &Args) -> Vec<Entrant> {
    let ours = [Entrant::Raw, Entrant::Ours].into_iter().chain(args.assisted.then_some(Entrant::Assisted));
    ours.chain(args.against.iter().cloned()).collect()
}

/// A report without any figures yet.
fn report(bench: &Bench, args: &Args) -> Result<Report> {
    Ok(Report {
        machine: machine(bench)?,
        load: figures::Load {
            shoots: bench.options.shoots,
            objects: bench.options.shoots * bench.landscape.plan(Some(0)).objects().len(),
            cluster_bytes: bench.landscape.plan(Some(0)).cluster().to_string().len(),
            writers: bench.options.writers,
            rate: bench.options.rate,
            lead: bench.options.lead.as_secs_f64(),
            rounds: 0,
        },
        alone: Entrant::Alone.contestant(),
        contestants: entrants(args).iter().map(Entrant::contestant).collect(),
    })
}

/// Fills the report.
async fn measure(bench: &Bench, args: &Args, report: &mut Report) -> Result<()> {
    let all: Vec<Entrant> = [Entrant::Alone].into_iter().chain(entrants(args)).collect();
    for round in 1..=args.rounds {
        // Nobody is always the first or the last: machines get warm, and neighbours come and go.
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.rotate_left(usize::from(round - 1) % all.len());
        for index in order {
            let contestant = match index.checked_sub(1) {
                None => Some(&mut report.alone),
                Some(index) => report.contestants.get_mut(index),
            };
            let (Some(entrant), Some(contestant)) = (all.get(index), contestant) else { continue };
            eprintln!("round {round} of {}: {}", args.rounds, contestant.name);
            let played = turn::play(bench, entrant).await;
            contestant.rounds.extend(unless_foreign(entrant, contestant, played)?);
        }
    }
    for (entrant, contestant) in all.iter().skip(1).zip(&mut report.contestants) {
        if let Some(shoots) = args.standing.filter(|_| !matches!(entrant, Entrant::Raw)) {
            eprintln!("start beside the objects of {shoots} Shoots: {}", contestant.name);
            let standing = standing::play(bench, entrant, usize::try_from(shoots)?).await;
            contestant.standing = unless_foreign(entrant, contestant, standing)?;
        }
    }
    Ok(())
}

/// What others cannot do must not cost the figures of everybody else: it is said, and left out.
fn unless_foreign<T>(entrant: &Entrant, contestant: &Contestant, played: Result<T>) -> Result<Option<T>> {
    match played.with_context(|| contestant.name.clone()) {
        Ok(played) => Ok(Some(played)),
        Err(error) if matches!(entrant, Entrant::Other { .. }) => {
            eprintln!("left out: {}", crate::text(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn machine(bench: &Bench) -> Result<Machine> {
    let (cpu, cores, memory, system) = usage::machine()?;
    let version = |program: &PathBuf| {
        let output = Command::new(program).arg("--version").output();
        let output = output.with_context(|| format!("cannot start {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{} --version fails", program.display());
        let line = text.lines().next().unwrap_or_default();
        Ok(line.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    Ok(Machine {
        date: k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        cpu,
        cores,
        memory,
        system,
        kube_apiserver: version(&bench.assets.kube_apiserver)?,
        etcd: version(&bench.assets.etcd)?,
    })
}

/// Where the results go.
#[derive(Debug)]
struct Files {
    json: PathBuf,
    svg: PathBuf,
}

impl Files {
    /// Tries whether both can be written; what is there stays until there is something new.
    fn open(args: &Args) -> Result<Self> {
        let target = cargo::root().join("target");
        let file = |given: &Option<PathBuf>, name| given.clone().unwrap_or_else(|| target.join(name));
        let files = Self { json: file(&args.json, "bench.json"), svg: file(&args.svg, "bench.svg") };
        for file in [&files.json, &files.svg] {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            let is_there = file.exists();
            let opened = OpenOptions::new().create(true).append(true).open(file);
            opened.with_context(|| format!("cannot write {}", file.display()))?;
            if !is_there {
                fs::remove_file(file)?;
            }
        }
        Ok(files)
    }

    fn write(&self, report: &Report) -> Result<()> {
        let json = serde_json::to_string_pretty(report)?;
        for (file, content) in [(&self.json, json), (&self.svg, chart::render(report)?)] {
            fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))?;
            println!("{}", file.display());
        }
        Ok(())
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("must be a finite number above 0".to_owned()) }
}

/// Up to an hour.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.0..=3600.0).contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("must be a number from 0 to 3600".to_owned())
    }
}

#[cfg(test)]
mod tests;
