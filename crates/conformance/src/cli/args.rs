//! The flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use extension_contract::{Class, Kind, kinds};
use k8s_openapi::jiff::SignedDuration;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use super::files;
use crate::launcher::CommandLine;
use crate::rule::Level;
use crate::subject::{Feature, Subject};

/// Judges the controller of one extension kind by Gardener's extension contract
///
/// Exit code 0: the controller keeps the rules. 1: it breaks a rule of the level of --fail-on or above. 2: the kit could
/// not judge, was interrupted, or the command line is wrong.
#[derive(Debug, clap::Parser)]
#[command(version, max_term_width = 100)]
pub(super) struct Args {
    /// Print all rules without running them; with --kind, say which ones do not apply; with --report, write a page
    #[arg(long)]
    pub(super) rules: bool,
    /// Kind of the objects, such as Worker
    #[arg(long, value_parser = kind, required_unless_present = "rules")]
    pub(super) kind: Option<&'static Kind>,
    /// Value of spec.type that the controller serves [default: the one in the file of --spec]
    #[arg(long = "type", value_name = "TYPE")]
    type_: Option<String>,
    /// Classes that the controller serves, separated by commas
    #[arg(long = "class", value_name = "CLASS", value_delimiter = ',', value_parser = class, default_value = "shoot")]
    classes: Vec<Class>,
    /// YAML file with a valid object or spec of the kind. With --command, the objects that it names may follow
    #[arg(long, value_name = "FILE", required_unless_present = "rules")]
    spec: Option<PathBuf>,
    /// YAML file with a Cluster: Shoot, CloudProfile and Seed as the controller needs them
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// YAML file with a status.state that the controller can restore
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// YAML file with a merge patch of the spec that the controller accepts [default: {providerConfig: {new: true}}]
    #[arg(long, value_name = "FILE")]
    change: Option<PathBuf>,
    /// YAML file with a merge patch of an object after which an ordinary deletion cannot succeed, such as credentials
    /// that do not exist. Force deletion is then told from an ordinary deletion
    #[arg(long, value_name = "FILE")]
    undeletable: Option<PathBuf>,
    /// YAML files with objects that each namespace gets before its first object, such as the Secret cloudprovider
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    apply: Vec<PathBuf>,
    /// Finalizer of the controller [default: the one of Gardener's extension library]
    #[arg(long)]
    finalizer: Option<String>,
    /// What the controller supports, separated by commas. Rules that need another feature do not run
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<Feature>,
    /// Only rules with these names, separated by commas; * and ? match any characters
    #[arg(long, value_name = "RULES", value_delimiter = ',')]
    pub(super) run: Vec<String>,

    /// Judge the controller that runs on this cluster. The kit writes to namespaces of its own, and removes them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "setup", "logs"], help_heading = "Where to judge")]
    kubeconfig: Option<PathBuf>,
    /// Say what a run with --kubeconfig creates, and stop
    #[arg(long, requires = "kubeconfig", conflicts_with = "command", help_heading = "Where to judge")]
    pub(super) dry_run: bool,
    /// Judge this command on the kit's own API server. $KUBECONFIG stands for the kubeconfig; $TYPE, if the controller
    /// can serve any type, for the type. No shell reads it
    #[arg(long, value_name = "COMMAND", help_heading = "Where to judge")]
    command: Option<String>,
    /// YAML files with objects that exist before the command starts, such as definitions of custom resources
    #[arg(long, value_name = "FILES", value_delimiter = ',', requires = "command", help_heading = "Where to judge")]
    pub(super) setup: Vec<PathBuf>,
    /// Keep the logs of the command in this folder
    #[arg(long, value_name = "FOLDER", requires = "command", help_heading = "Where to judge")]
    pub(super) logs: Option<PathBuf>,

    /// Limit of each wait for the controller, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s", help_heading = "How to judge")]
    patience: Duration,
    /// How many rules run at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = at_least_one, help_heading = "How to judge")]
    pub(super) parallel: usize,
    /// Lowest level of a broken rule that makes the exit code 1
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Should, help_heading = "How to judge")]
    pub(super) fail_on: Level,
    /// Write JUnit's XML to this file
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(super) junit: Option<PathBuf>,
    /// Write a report to this file: JSON or Markdown, by its ending .json or .md; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(super) report: Vec<PathBuf>,
}

/// Where to judge.
pub(super) enum Place<'a> {
    /// On the kit's own API server, with this controller.
    Own {
        /// The words of the command line.
        command: Vec<String>,
    },
    /// On a cluster on which the controller runs already.
    Cluster {
        /// The kubeconfig of the cluster.
        kubeconfig: &'a Path,
    },
}

impl Args {
    /// Where to judge.
    pub(super) fn place(&self) -> Result<Place<'_>, Failed> {
        match (&self.command, &self.kubeconfig) {
            (Some(command), None) => Ok(Place::Own { command: CommandLine::split(command)? }),
            (None, Some(kubeconfig)) => Ok(Place::Cluster { kubeconfig }),
            _ => {
                Err("name the controller: --command 'my-controller --kubeconfig $KUBECONFIG' starts one, --kubeconfig \
                      SEED judges one that runs"
                    .into())
            }
        }
    }

    /// What the command line says of the controller.
    pub(super) fn subject(&self) -> Result<Subject, Failed> {
        let kind = self.kind.ok_or("--kind is missing")?;
        let (spec, given) = match &self.spec {
            Some(file) => files::spec(file, kind)?,
            None => (json!({}), Vec::new()),
        };
        if self.kubeconfig.is_some() && !given.is_empty() {
            return Err(
                "--spec has several objects: on a cluster that is not its own, the kit creates none but those of \
                        --apply, in its own namespaces"
                    .into(),
            );
        }
        let in_spec = spec.get("type").and_then(Value::as_str).map(str::to_owned);
        let type_ = self.type_.clone().or(in_spec).filter(|type_| !type_.is_empty());
        let type_ = type_.or_else(|| self.rules.then(String::new));
        let mut subject =
            Subject::new(kind, type_.ok_or("the type is missing: give --type, or spec.type in --spec")?, spec);
        subject.given = given;
        subject.classes.clone_from(&self.classes);
        subject.features.clone_from(&self.features);
        if self.command.is_some() {
            subject.features.push(Feature::Restart);
        }
        subject.patience = self.patience;
        if let Some(finalizer) = &self.finalizer {
            subject.finalizer.clone_from(finalizer);
        }
        if subject.finalizer.is_empty() && !self.rules {
            return Err(format!("Gardener's library has no finalizer for {}: give --finalizer", kind.name).into());
        }
        if let Some(file) = &self.change {
            subject.change = files::object(file)?;
        }
        if let Some(file) = &self.state {
            subject.state = Some(files::object(file)?);
        }
        if let Some(file) = &self.undeletable {
            subject.undeletable = Some(files::object(file)?);
        }
        if let Some(file) = &self.cluster {
            subject.cluster = files::cluster(file)?;
        }
        for file in &self.apply {
            subject.in_each_namespace.extend(files::namespaced(file)?);
        }
        Ok(subject)
    }
}

fn kind(name: &str) -> Result<&'static Kind, String> {
    let names = || kinds::ALL.map(|kind| kind.name).join(", ");
    kinds::find(name).ok_or_else(|| format!("unknown kind: use one of {}", names()))
}

fn class(name: &str) -> Result<Class, String> {
    let names = || Class::ALL.map(Class::as_str).join(", ");
    Class::parse(name).ok_or_else(|| format!("use one of {}", names()))
}

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "use a number and a unit, such as 30s or 10m".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "use a number from 1 on".to_owned())
}
