//! `cargo xtask new-kind`: writes the crate of a kind, and everything that the workspace has to know of it.

mod definition;
mod files;
mod list;
mod undo;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use extension_contract::{Class, HasCluster, Reader, kinds};
use gardener_testbed::assets::Assets;
use mock_fleet::cargo;
use mock_fleet::kinds::Package;
use mock_view::say;

use self::definition::Definition;
use self::undo::Undo;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the kind, such as Bastion
    #[arg(value_parser = kind)]
    kind: String,
    /// Value of spec.type that the controller serves
    #[arg(long = "type", value_name = "TYPE", value_parser = provider)]
    provider: String,
    /// The kind's CustomResourceDefinition [default: that of Gardener]
    #[arg(long, value_name = "FILE")]
    crd: Option<PathBuf>,
    #[command(flatten)]
    row: Row,
}

/// What Gardener's source says of a kind, and its CustomResourceDefinition does not.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
struct Row {
    /// The controller's finalizer [default: extensions.gardener.cloud/KIND]
    #[arg(long, value_name = "NAME", value_parser = finalizer)]
    finalizer: Option<String>,
    /// How long readers wait for an object, in seconds [default: 180]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(20..))]
    timeout: Option<u64>,
    /// How readers learn that an object is done [default: polls]
    #[arg(long, value_enum)]
    reader: Option<ReaderFlag>,
    /// Classes of the objects that Gardener creates, separated by commas [default: shoot]
    #[arg(long, value_delimiter = ',', value_parser = class)]
    classes: Vec<Class>,
    /// Which objects have a Cluster [default: always; never, if objects have no namespace]
    #[arg(long, value_enum)]
    cluster: Option<ClusterFlag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReaderFlag {
    Polls,
    Watches,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClusterFlag {
    Never,
    Always,
    InShootNamespaces,
}

impl From<ReaderFlag> for Reader {
    fn from(flag: ReaderFlag) -> Self {
        match flag {
            ReaderFlag::Polls => Self::Polls,
            ReaderFlag::Watches => Self::Watches,
        }
    }
}

impl From<ClusterFlag> for HasCluster {
    fn from(flag: ClusterFlag) -> Self {
        match flag {
            ClusterFlag::Never => Self::Never,
            ClusterFlag::Always => Self::Always,
            ClusterFlag::InShootNamespaces => Self::InShootNamespaces,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let name = args.kind.to_lowercase();
    ensure!(Package::find(&name).is_none(), "the kind {} has a controller already: crates/{name}", args.kind);
    let folder = cargo::root().join("crates").join(&name);
    ensure!(!folder.exists(), "crates/{name} exists already: name another kind");
    let (definition, file) = definition(args)?;
    definition.check(&args.kind).with_context(|| format!("cannot use {}", file.display()))?;
    let known = kinds::find(&args.kind);
    let written = match known {
        Some(kind) if args.row != Row::default() => bail!(
            "{} is a kind of Gardener, of which crates/contract/src/kinds.rs says everything else: leave out all flags but \
             --type and --crd",
            kind.name
        ),
        Some(kind) => files::of_gardeners_kind(&definition, kind, &args.provider)?,
        None => {
            let mut written = files::of_another_kind(&definition, &args.row, &args.provider)?;
            written.push(("crd.yaml", fs::read_to_string(&file)?));
            written
        }
    };
    let undo = Undo::of(cargo::root(), folder)?;
    undo.unless(|folder| {
        for (path, text) in &written {
            let path = folder.join(path);
            let parent = path.parent().unwrap_or(folder);
            let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        list::add(cargo::root(), &args.kind)?;
        cargo_run(&["fmt", "--package", &format!("mock-{name}")])?;
        // This program was built without the kind.
        cargo_run(&["run", "--quiet", "--package", "xtask", "--", "manifests"])
    })?;
    say!(
        "\nThe controller of {} succeeds every object of type {}. Fill in what it reports: crates/{name}/src/lib.rs\n\
         Then run the rules of Gardener's contract and our promises for this kind, and after that everything:\n\n    \
         cargo test --package mock-{name}\n    cargo xtask test",
        args.kind,
        args.provider
    );
    Ok(ExitCode::SUCCESS)
}

/// The definition of the kind, and the file that it was read from.
fn definition(args: &Args) -> Result<(Definition, PathBuf)> {
    let Some(file) = &args.crd else {
        let assets = Assets::locate(&|step| say!("{step}"))?;
        for file in fs::read_dir(&assets.crds).with_context(|| format!("cannot read {}", assets.crds.display()))? {
            let file = file?.path();
            let definition = Definition::read(&file)?;
            if definition.kind == args.kind {
                return Ok((definition, file));
            }
        }
        bail!("Gardener has no kind {}: give its CustomResourceDefinition with --crd, or correct the name", args.kind);
    };
    Ok((Definition::read(file)?, file.clone()))
}

fn cargo_run(arguments: &[&str]) -> Result<()> {
    say!("$ cargo {}", arguments.join(" "));
    let status = cargo::command().args(arguments).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {} failed: see the errors above", arguments.join(" "));
    Ok(())
}

/// Parses the name of a kind. It becomes the name of a type in Rust, and in lower case that of a crate.
fn kind(text: &str) -> Result<String, String> {
    let is_name = text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name && text.len() <= LONGEST {
        Ok(text.to_owned())
    } else {
        Err("use letters and digits, and begin with a capital letter, as in Bastion".to_owned())
    }
}

/// Parses a value of `spec.type`. It becomes a string in Rust, and Gardener makes a label's name of it.
fn provider(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "use letters, digits, `.`, `-` and `_`, at most {LONGEST}, with a letter or digit at the start and end"
        ))
    }
}

/// Parses the name of a finalizer, as the API server does.
fn finalizer(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((domain, name)) if domain.split('.').all(is_label) && is_name(name) => Ok(text.to_owned()),
        _ => Err("use a domain, `/` and a name, as in extensions.gardener.cloud/bastion".to_owned()),
    }
}

/// The most characters of a name in a label.
const LONGEST: usize = 63;

/// Whether a text is a name that a label can have.
fn is_name(text: &str) -> bool {
    let is_alphanumeric = |char: char| char.is_ascii_alphanumeric();
    text.len() <= LONGEST
        && text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// Whether a text is a part of a domain between two dots.
fn is_label(text: &str) -> bool {
    is_name(text) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn class(text: &str) -> Result<Class, String> {
    Class::parse(text).ok_or_else(|| format!("use some of {}", Class::ALL.map(Class::as_str).join(", ")))
}

impl Row {
    fn timeout(&self) -> Duration {
        self.timeout.map_or(kinds::USUAL.timeout, Duration::from_secs)
    }

    /// How long readers tolerate an error: less than they wait.
    fn severe(&self) -> Duration {
        kinds::USUAL.severe.min(self.timeout() / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_rust_and_the_api_server_take() {
        for (good, bad) in [("Bastion", "bastion"), ("KeyVault2", "Key Vault"), ("A", ""), ("Ab", "../x")] {
            assert!(kind(good).is_ok() && kind(bad).is_err(), "{good}, {bad}");
        }
        let long = "a".repeat(64);
        for (good, bad) in [("mock", ""), ("A.B_c-d", "A.B_c-"), ("local", "-a"), ("a", long.as_str())] {
            assert!(provider(good).is_ok() && provider(bad).is_err(), "{good}, {bad}");
        }
        for (good, bad) in [("a.b/c", "nodomain"), ("a/c", "a b"), ("a-1.b/C_d", "A/b"), ("a/b", "a\"b/c")] {
            assert!(finalizer(good).is_ok() && finalizer(bad).is_err(), "{good}, {bad}");
        }
    }
}
