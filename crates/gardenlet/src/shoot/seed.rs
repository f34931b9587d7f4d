//! The plan of one Seed: the extension objects that a Seed has besides those of its Shoots.

use std::collections::BTreeSet;

use extension_contract::json::text;
use serde_json::{Value, json};

use super::landscape::Landscape;
use super::plan::{GARDEN, Planned};
use super::registrations::Registrations;
use super::{additions, backup, dns};

/// One Seed as gardenlet plans it.
#[derive(Clone, Debug)]
pub struct SeedPlan {
    name: String,
    seed: Value,
    registrations: Registrations,
    kinds: Option<BTreeSet<&'static str>>,
}

impl SeedPlan {
    pub(super) fn new(landscape: &Landscape, index: Option<usize>) -> Self {
        let name = text(&landscape.seed, "metadata.name").unwrap_or_default();
        Self {
            name: index.map_or_else(|| name.to_owned(), |index| format!("{name}-{index}")),
            seed: landscape.seed.clone(),
            registrations: landscape.registrations.clone(),
            kinds: landscape.kinds.clone(),
        }
    }

    /// The extension objects: the bucket for backups, the record of the ingress domain, and the Seed's Extensions.
    #[must_use]
    pub fn objects(&self) -> Vec<Planned> {
        let mut objects = Vec::from_iter(backup::bucket(&self.seed, &self.name));
        objects.extend(dns::of_the_seed(&self.seed));
        objects.extend(additions::seed_extensions(&self.seed, &self.registrations));
        objects.retain(|planned| self.kinds.as_ref().is_none_or(|kinds| kinds.contains(planned.kind)));
        objects
    }

    /// The namespace of Gardener's own objects, which exists in every seed.
    #[must_use]
    pub fn namespace_object(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GARDEN}})
    }
}
