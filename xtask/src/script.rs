//! `cargo xtask script`: what a script says, and what it would give.

mod explain;
mod simulate;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail, ensure};
use mock_core::{
    behaviour::{Operation, Script},
    contract::SCRIPT_ANNOTATION,
};
use serde_json::Value;

use crate::cargo;

/// What can be done with scripts
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Say in words what a script does, or what is wrong with it
    Check {
        /// A script, a Shoot with a script in its annotation, or the name of a story in example/
        #[arg(value_name = "FILE|NAME")]
        script: String,
    },
    /// Print the outcome table that a script would give, without running anything
    Simulate {
        /// A script, a Shoot with a script in its annotation, or the name of a story in example/
        #[arg(value_name = "FILE|NAME")]
        script: String,
        /// Manifest of the Shoots [default: the Shoot that holds the script, else example/55-shoot.yaml]
        #[arg(long, value_name = "FILE")]
        shoot: Option<PathBuf>,
        /// How many shoots
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        shoots: u32,
        /// Which operation: Create, Reconcile, Delete, Migrate or Restore
        #[arg(long, default_value = "Create", value_parser = operation)]
        operation: Operation,
        /// The seed, where the script has none
        #[arg(long)]
        seed: Option<u64>,
    },
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check { script } => {
            let story = Story::find(&script)?;
            print!("{}", explain::script(&story.script));
        }
        Command::Simulate { script, shoot, shoots, operation, seed } => {
            let story = Story::find(&script)?;
            print!("{}", simulate::table(&story, shoot.as_deref(), shoots, operation, seed)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The JSON Schema of scripts, as it is published.
pub(crate) fn schema() -> Result<String> {
    Ok(serde_json::to_string_pretty(&Script::schema())? + "\n")
}

/// A script and what it is about.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) script: Script,
    /// The file that holds it.
    pub(crate) file: PathBuf,
    /// Whether that file is a Shoot, with the script in its annotation.
    pub(crate) is_shoot: bool,
}

impl Story {
    /// Finds a story by the file, or by its name in `example/`.
    pub(crate) fn find(file_or_name: &str) -> Result<Self> {
        let file = Path::new(file_or_name);
        if file.is_file() {
            return Self::read(file);
        }
        let stories = stories()?;
        let Some((_, file)) = stories.iter().find(|(name, _)| name == file_or_name) else {
            ensure!(!file.is_dir(), "{file_or_name}: is a folder: give a file");
            let names: Vec<_> = stories.iter().map(|(name, _)| name.as_str()).collect();
            bail!("{file_or_name}: no such file, and no story of example/, which are {}", names.join(", "));
        };
        Self::read(file)
    }

    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let shoot = shoot(&text);
        let is_shoot = shoot.is_some();
        let script = match shoot.as_ref().map(annotation) {
            Some(None) => bail!("{}: the Shoot has no annotation {SCRIPT_ANNOTATION}", file.display()),
            Some(Some(script)) => script.to_owned(),
            None => text,
        };
        let script = Script::parse(&script).with_context(|| file.display().to_string())?;
        Ok(Self { script, file: file.to_owned(), is_shoot })
    }
}

/// The Shoot in a text, if it is one.
fn shoot(text: &str) -> Option<Value> {
    let object: Value = serde_saphyr::from_str(text).ok()?;
    (object.get("kind").and_then(Value::as_str) == Some("Shoot")).then_some(object)
}

/// The script in a Shoot's annotation.
fn annotation(shoot: &Value) -> Option<&str> {
    shoot.get("metadata")?.get("annotations")?.get(SCRIPT_ANNOTATION)?.as_str()
}

/// The stories in `example/`: `63-shoot-quota-exceeded.yaml` is called `quota-exceeded`.
fn stories() -> Result<Vec<(String, PathBuf)>> {
    let folder = cargo::root().join("example");
    let mut stories = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if let Some((_, name)) = stem.split_once("-shoot-")
            && fs::read_to_string(&file).ok().as_deref().and_then(shoot).as_ref().and_then(annotation).is_some()
        {
            stories.push((name.to_owned(), file));
        }
    }
    stories.sort();
    Ok(stories)
}

fn operation(name: &str) -> Result<Operation, String> {
    serde_json::from_value(Value::from(name)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_story_can_be_used_and_is_found_by_its_name() {
        let stories = stories().unwrap();
        assert_eq!(stories.len(), 6, "{stories:?}");
        for (name, file) in stories {
            let story = Story::find(&name).unwrap();
            assert!(story.is_shoot && story.file == file && story.script.seed.is_some(), "{name}");
            assert!(!explain::script(&story.script).contains("warning"), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Story::find("earthquake").unwrap_err().to_string();
        assert!(error.contains("quota-exceeded") && error.contains("dead-pool"), "{error}");
    }
}
