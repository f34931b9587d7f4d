//! `extension-conformance`: judges a controller by its command line, in a new test bed.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use extension_conformance::launcher::CommandLine;
use extension_conformance::run::{self, Run};
use extension_conformance::{Case, Feature, Subject, Suite, report, rules};
use extension_contract::{Class, Kind, kinds};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests;
use libtest_mimic::{Arguments, Failed};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

/// Judges the controller of one extension kind by Gardener's extension contract
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Print all rules with their sources, without running them; with --kind, say which ones do not apply
    #[arg(long)]
    rules: bool,
    /// Kind of the objects, such as Worker
    #[arg(long, value_parser = kind, required_unless_present = "rules")]
    kind: Option<&'static Kind>,
    /// Value of spec.type that the controller serves
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "rules")]
    type_: Option<String>,
    /// Class that the controller serves; may be repeated
    #[arg(long = "class", value_name = "CLASS", value_parser = class, default_value = "shoot")]
    classes: Vec<Class>,
    /// YAML file with a valid spec, and after it the objects that the spec names, such as a Secret
    #[arg(long, value_name = "FILE", required_unless_present = "rules")]
    spec: Option<PathBuf>,
    /// Finalizer of the controller [default: the one of Gardener's extension library]
    #[arg(long)]
    finalizer: Option<String>,
    /// Feature that the controller supports; may be repeated. Rules that need another feature are ignored
    #[arg(long = "feature", value_name = "FEATURE")]
    features: Vec<Feature>,
    /// Folder of further custom resource definitions that the controller needs
    #[arg(long, value_name = "FOLDER")]
    crds: Option<PathBuf>,
    /// Run only rules whose names contain this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The controller and its arguments; {kubeconfig} and {type} are replaced
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "rules")]
    command: Vec<String>,
}

fn kind(name: &str) -> Result<&'static Kind, String> {
    let names = || kinds::ALL.map(|kind| kind.name).join(", ");
    kinds::find(name).ok_or_else(|| format!("unknown kind: use one of {}", names()))
}

fn class(name: &str) -> Result<Class, String> {
    let names = || Class::ALL.map(Class::as_str).join(", ");
    Class::parse(name).ok_or_else(|| format!("use one of {}", names()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.rules {
        return print_rules(args).unwrap_or_else(|failed| run::not_started(&failed));
    }
    judge(args).unwrap_or_else(|failed| run::not_started(&failed))
}

fn print_rules(args: Args) -> Result<ExitCode, Failed> {
    let subject = if args.kind.is_some() { Some(subject(args)?) } else { None };
    std::io::stdout().write_all(report::text(&rules::all(), subject.as_ref()).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What the command line says of the controller.
fn subject(args: Args) -> Result<Subject, Failed> {
    let kind = args.kind.ok_or("--kind is missing")?;
    let mut documents = match args.spec {
        Some(file) => manifests::read(&file)?,
        None => vec![Value::Object(Map::new())],
    };
    if documents.is_empty() {
        return Err("the file of --spec is empty: write a valid spec to it".into());
    }
    let given = documents.split_off(1);
    let library = kind.finalizer.map(str::to_owned);
    Ok(Subject {
        kind,
        type_: args.type_.unwrap_or_default(),
        classes: args.classes,
        spec: documents.pop().unwrap_or_default(),
        given,
        finalizer: args
            .finalizer
            .or(library)
            .ok_or("Gardener's library has no finalizer for this kind: give --finalizer")?,
        features: args.features,
    })
}

fn judge(args: Args) -> Result<ExitCode, Failed> {
    let (command, crds, only) = (args.command.clone(), args.crds.clone(), args.only.clone());
    let subject = subject(args)?;
    let (program, arguments) = command.split_first().ok_or("the controller's command is missing")?;
    let type_ = subject.type_.clone();
    let launcher = CommandLine { program: program.into(), arguments: arguments.to_vec(), type_ };

    #[expect(clippy::print_stderr, reason = "building the control plane takes minutes")]
    let assets = Assets::locate(&|line| eprintln!("{line}"))?;
    let runtime = Runtime::new()?;
    let suite = runtime.block_on(async {
        let bed = TestBed::start(&assets, Options::default()).await?;
        if let Some(folder) = &crds {
            bed.install_crds(folder).await?;
        }
        Ok::<_, Failed>(Arc::new(Suite::new(bed, subject, Arc::new(launcher)).await?))
    })?;
    let _shared = runtime.block_on(async { suite.start_shared() })?;
    let cases = rules::all().iter().map(|rule| Case::of_rule(rule, suite.subject())).collect();
    let arguments = Arguments { filter: only, ..run::with_threads(Arguments::from_iter([OsString::new()])) };
    let run = Run::new(arguments, Arc::new(runtime), suite);
    run.serves()?;
    Ok(run::exit_code(&run.together(cases)))
}
