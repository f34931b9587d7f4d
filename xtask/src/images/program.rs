//! The programs that have an image: the controllers, and the conformance kit.

use std::path::PathBuf;

use anyhow::Result;
use mock_fleet::kinds::{self, Package};

use super::checkout::Checkout;
use super::platform::Platform;

/// The package and the program of the conformance kit.
const KIT: &str = "extension-conformance";

/// A program that has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// A controller. It has a chart too.
    Controller(Package),
    /// The conformance kit. Nothing of what is deployed names its image.
    Kit,
}

impl Program {
    /// All programs, in the order of their images.
    pub(super) fn all() -> Vec<Self> {
        kinds::ALL.iter().copied().map(Self::Controller).chain([Self::Kit]).collect()
    }

    /// The programs that `--only` names, each once and in the order of [`all`](Self::all); all if it names none.
    pub(super) fn only(named: &[Self]) -> Vec<Self> {
        Self::all().into_iter().filter(|program| named.is_empty() || named.contains(program)).collect()
    }

    /// Parses a kind, or the name of the kit. The error lists all kinds.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if name == KIT {
            return Ok(Self::Kit);
        }
        Package::parse(name).map(Self::Controller).map_err(|error| format!("{error}, {KIT}"))
    }

    /// The name of the package, the program and the image.
    pub(super) fn name(self) -> String {
        match self {
            Self::Controller(package) => package.full_name(),
            Self::Kit => KIT.to_owned(),
        }
    }

    /// The controller's package. Returns `None` for the kit.
    pub(super) const fn controller(self) -> Option<Package> {
        match self {
            Self::Controller(package) => Some(package),
            Self::Kit => None,
        }
    }

    /// Builds programs for a platform, here or in another checkout. Returns their files in the order of `programs`.
    ///
    /// The kit is built by itself: together with it, the dependencies of controllers would have further features, and
    /// the bytes of their images would depend on whether the kit is built too.
    pub(super) fn build(programs: &[Self], platform: Platform, checkout: Option<&Checkout>) -> Result<Vec<PathBuf>> {
        let mut built = Vec::new();
        for together in programs.chunk_by(|one, next| one.controller().is_some() == next.controller().is_some()) {
            let names: Vec<_> = together.iter().map(|program| program.name()).collect();
            built.extend(platform.build(&names, checkout)?);
        }
        Ok(built)
    }
}
