//! Reads the manifests of a Shoot and of what it needs.

use std::path::{Path, PathBuf};
use std::{fs, io};

use extension_contract::json::text;
use gardener_testbed::manifests;
use serde_json::Value;

use super::error::LandscapeError;

/// API version of Shoot, `CloudProfile` and Seed.
pub(super) const GARDEN_API_VERSION: &str = "core.gardener.cloud/v1beta1";
/// The default file of the `CloudProfile`, in the folder of the Shoot's file.
pub(super) const CLOUDPROFILE_FILE: &str = "20-cloudprofile.yaml";
/// The default file of the Seed, in the folder of the Shoot's file.
pub(super) const SEED_FILE: &str = "40-seed.yaml";

/// The manifests of a Shoot and of what it needs, as their author wrote them.
#[derive(Clone, Debug)]
pub struct Manifests {
    pub(super) shoot: Manifest,
    /// All other objects, among them a `CloudProfile` or a `NamespacedCloudProfile`, and a Seed.
    pub(super) others: Vec<Manifest>,
    /// The name of the Seed for the Shoot.
    pub(super) seed: String,
}

/// An object, and the file that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) file: PathBuf,
    pub(super) object: Value,
}

impl Manifests {
    /// Reads the manifests. Without a given file, `CloudProfile` and Seed are in the Shoot's file, or in
    /// `20-cloudprofile.yaml` and `40-seed.yaml` in its folder, or in those of the folder `fallback`. If the Shoot names a
    /// Seed, any file there with `-seed` in its name may contain it. Each file may also contain objects of other kinds.
    ///
    /// # Errors
    /// A file is not readable, not YAML, or does not contain what it should.
    pub fn read(
        shoot: &Path,
        cloudprofile: Option<&Path>,
        seed: Option<&Path>,
        fallback: Option<&Path>,
    ) -> Result<Self, LandscapeError> {
        let mut others = objects(shoot, "Shoot")?;
        let found = others.iter().position(|manifest| manifest.is_a(&["Shoot"]));
        let one = others.iter().filter(|manifest| manifest.is_a(&["Shoot"])).count() == 1;
        let Some(index) = found.filter(|_| one) else { return Err(unexpected(shoot, "Shoot", &others)) };
        let manifest = others.remove(index);
        if text(&manifest.object, "metadata.namespace").is_none() {
            return Err(LandscapeError::NoNamespace { file: manifest.file.clone(), shoot: manifest.name().to_owned() });
        }
        let mut read = vec![same(shoot)];
        for (kinds, given, default) in [
            (&["CloudProfile", "NamespacedCloudProfile"][..], cloudprofile, CLOUDPROFILE_FILE),
            (&["Seed"][..], seed, SEED_FILE),
        ] {
            let kind = kinds.first().copied().unwrap_or_default();
            if given.is_none() && others.iter().any(|other| other.is_a(kinds)) {
                continue;
            }
            let beside = shoot.with_file_name(default);
            let fallback = fallback.map(|folder| folder.join(default)).filter(|_| !beside.exists());
            let default = fallback.unwrap_or(beside);
            let named = text(&manifest.object, "spec.seedName").filter(|_| kind == "Seed");
            let named = || named.and_then(|name| file_of_seed(&default, name));
            let file = given.map(Path::to_owned).or_else(named).unwrap_or_else(|| default.clone());
            if !read.contains(&same(&file)) {
                let mut objects = objects(&file, kind)?;
                if !objects.iter().any(|object| object.is_a(kinds)) {
                    return Err(unexpected(&file, kind, &objects));
                }
                objects.retain(|object| !object.is_a(&["Shoot"]));
                others.append(&mut objects);
                read.push(same(&file));
            }
        }
        let seeds: Vec<&Manifest> = others.iter().filter(|other| other.is_a(&["Seed"])).collect();
        let seed = match (text(&manifest.object, "spec.seedName"), seeds.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [seed]) => seed.name().to_owned(),
            (None, several) => {
                let file = several.last().map_or(shoot, |seed| &seed.file);
                return Err(unexpected(file, "Seed", &others));
            }
        };
        Ok(Self { shoot: manifest, others, seed })
    }

    /// The Shoot's file and name, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("Shoot {} in {}", self.shoot.name(), self.shoot.file.display())
    }

    /// Returns whether a `NamespacedCloudProfile` is among the manifests. Then a [`Garden`](super::Garden) needs a
    /// gardener-controller-manager.
    #[must_use]
    pub fn need_controller_manager(&self) -> bool {
        self.others.iter().any(|other| other.is_a(&["NamespacedCloudProfile"]))
    }
}

impl Manifest {
    /// Returns whether the object is of one of these kinds of the garden's API.
    pub(super) fn is_a(&self, kinds: &[&str]) -> bool {
        text(&self.object, "apiVersion") == Some(GARDEN_API_VERSION)
            && text(&self.object, "kind").is_some_and(|kind| kinds.contains(&kind))
    }

    pub(super) fn name(&self) -> &str {
        text(&self.object, "metadata.name").unwrap_or("without a name")
    }
}

/// The file with the Seed of this name, among those beside the default file that have `-seed` in their name.
fn file_of_seed(default: &Path, name: &str) -> Option<PathBuf> {
    let files = fs::read_dir(default.parent()?).ok()?.flatten().map(|entry| entry.path());
    let is_seed = |file: &PathBuf| {
        file.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("-seed"))
            && file.extension().is_some_and(|extension| extension == "yaml")
            && objects(file, "Seed")
                .is_ok_and(|objects| objects.iter().any(|object| object.is_a(&["Seed"]) && object.name() == name))
    };
    let mut files: Vec<_> = files.filter(is_seed).collect();
    files.sort();
    files.into_iter().next()
}

/// Identifies a file that has several paths.
fn same(file: &Path) -> PathBuf {
    fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

fn objects(file: &Path, kind: &'static str) -> Result<Vec<Manifest>, LandscapeError> {
    let unreadable = |source: io::Error| LandscapeError::Read { kind, file: file.to_owned(), source };
    let content = fs::read_to_string(file).map_err(unreadable)?;
    let objects = manifests::parse(&content, &file.display().to_string())?;
    Ok(objects.into_iter().map(|object| Manifest { file: file.to_owned(), object }).collect())
}

/// The error for a file whose objects are not the expected ones.
fn unexpected(file: &Path, kind: &'static str, objects: &[Manifest]) -> LandscapeError {
    let describe = |manifest: &Manifest| {
        let field = |path| text(&manifest.object, path).unwrap_or("?").to_owned();
        format!("{} of {}", field("kind"), field("apiVersion"))
    };
    let found = objects.iter().filter(|object| object.file == file).map(describe).collect::<Vec<_>>();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    LandscapeError::Kind { file: file.to_owned(), kind, found }
}
