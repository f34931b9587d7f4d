//! Stories: Shoots in `example/` with a script in their annotation or in their Seed. A file of the user can be one too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use extension_contract::kinds::{BACKUP_BUCKET, BACKUP_ENTRY};
use gardener_testbed::manifests;
use mock_core::script::{MOCK_API_VERSION, SCRIPT_ANNOTATION, Script};
use mock_fleet::cargo;
use mock_gardenlet::shoot::{Part, Planned};
use serde_json::Value;

/// A script and its file.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) script: Script,
    /// The file.
    pub(crate) file: PathBuf,
    /// Whether the file holds a Shoot, with the script in its annotation or in its Seed.
    pub(crate) is_shoot: bool,
    /// Whether the script is in the Seed.
    is_of_seed: bool,
}

impl Story {
    /// Reads a story from a file, or finds it by its name in `example/`.
    pub(crate) fn find(file_or_name: &str) -> Result<Self> {
        let file = Path::new(file_or_name);
        if file.is_file() {
            return Self::read(file);
        }
        let stories = stories()?;
        let Some((_, file)) = stories.iter().find(|(name, _)| name == file_or_name) else {
            // Controllers read the file again, which a pipe does not allow.
            ensure!(!file.exists(), "cannot read {file_or_name}: it is no regular file: give a file with the script");
            let names: Vec<_> = stories.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "there is neither a file nor a story {file_or_name:?}; the stories in example/ are {}",
                names.join(", ")
            );
        };
        Self::read(file)
    }

    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let (is_shoot, is_of_seed, script) = match scripted(&text) {
            Found::NoShoot => (false, false, text),
            Found::InShoot(script) => (true, false, script),
            Found::InSeed(script) => (true, true, script),
            Found::NoScript => {
                bail!("{}: the Shoot has no script: its annotation {SCRIPT_ANNOTATION} is missing", file.display())
            }
        };
        let script = Script::parse(&script).with_context(|| file.display().to_string())?;
        Ok(Self { script, file: file.to_owned(), is_shoot, is_of_seed })
    }

    /// Returns whether the script applies to an object: a script in the annotation of a Shoot to the objects with its
    /// Cluster, one in a Seed to its backups, and one alone, which a flag gives to the controllers, to all.
    pub(crate) fn reaches(&self, planned: &Planned) -> bool {
        let is_backup = [BACKUP_BUCKET.name, BACKUP_ENTRY.name].contains(&planned.kind);
        let is_of_seed = matches!(planned.part, Part::BackupBucket | Part::SeedDns | Part::SeedExtensions);
        if self.is_of_seed { is_backup } else { !self.is_shoot || !(is_backup || is_of_seed) }
    }
}

/// Where a text with manifests has its script.
enum Found {
    /// The text holds no Shoot.
    NoShoot,
    /// The text holds a Shoot, and no script.
    NoScript,
    /// In the annotation of the Shoot.
    InShoot(String),
    /// In the Seed, for its backups.
    InSeed(String),
}

fn scripted(text: &str) -> Found {
    // A script that is not valid YAML is reported by its own reader.
    let Ok(objects) = manifests::parse(text, "the story") else { return Found::NoShoot };
    let of_kind = |kind: &'static str| {
        objects.iter().filter(move |object| object.get("kind").and_then(Value::as_str) == Some(kind))
    };
    let Some(shoot) = of_kind("Shoot").next() else { return Found::NoShoot };
    let annotation = shoot.pointer("/metadata/annotations").and_then(|annotations| annotations.get(SCRIPT_ANNOTATION));
    if let Some(script) = annotation.and_then(Value::as_str) {
        return Found::InShoot(script.to_owned());
    }
    // A BackupBucket belongs to no Shoot. gardenlet copies this field of the Seed into it.
    let config = of_kind("Seed").find_map(|seed| seed.pointer("/spec/backup/providerConfig"));
    let is_script = |config: &&Value| config.get("apiVersion").and_then(Value::as_str) == Some(MOCK_API_VERSION);
    config.filter(is_script).map_or(Found::NoScript, |config| Found::InSeed(config.to_string()))
}

/// The names and files of the stories in `example/`. `60-shoot-quota-exceeded.yaml` has the name `quota-exceeded`.
fn stories() -> Result<Vec<(String, PathBuf)>> {
    let folder = cargo::root().join("example");
    let mut stories = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if let Some((_, name)) = stem.split_once("-shoot-")
            && let Ok(text) = fs::read_to_string(&file)
            && matches!(scripted(&text), Found::InShoot(_) | Found::InSeed(_))
        {
            stories.push((name.to_owned(), file));
        }
    }
    stories.sort();
    Ok(stories)
}

#[cfg(test)]
mod tests {
    use super::super::explain;
    use super::*;

    #[test]
    fn story_is_found_by_its_name_and_has_no_warning() {
        let stories = stories().unwrap();
        assert_eq!(stories.len(), 9, "{stories:?}");
        for (name, file) in stories {
            let story = Story::find(&name).unwrap();
            assert!(story.is_shoot && story.file == file && story.script.seed.is_some(), "{name}");
            assert!(!explain::script(&story.script).contains("warning"), "{name}");
        }
    }

    #[test]
    fn folder_or_device_is_no_story() {
        for file in ["/", "/dev/null"] {
            let error = Story::find(file).unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{error}");
        }
    }

    #[test]
    fn error_for_an_unknown_name_lists_the_stories() {
        let error = Story::find("earthquake").unwrap_err().to_string();
        assert!(error.contains("quota-exceeded") && error.contains("dead-pool"), "{error}");
    }
}
