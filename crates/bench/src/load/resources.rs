//! The objects of a Shoot, their kinds, and the names of their resources.

use extension_contract::kinds;
use mock_gardenlet::shoot::{Landscape, Planned};

/// The extension objects of the Shoot with this number. If BackupBucket is among the measured kinds, each Shoot has a Seed
/// of its own, and this Seed's bucket is the first object.
pub(crate) fn objects_of(landscape: &Landscape, index: usize) -> Vec<Planned> {
    let mut objects = landscape.seed(Some(index)).objects();
    objects.retain(|planned| planned.kind == kinds::BACKUP_BUCKET.name);
    objects.extend(landscape.plan(Some(index)).objects());
    objects
}

/// The kinds of extension objects that a Shoot has, in the order in which gardenlet creates them.
pub(crate) fn kinds_of(landscape: &Landscape) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for planned in objects_of(landscape, 0) {
        if !kinds.contains(&planned.kind) {
            kinds.push(planned.kind);
        }
    }
    kinds
}

/// The plural of a kind. Kinds that are no extension kinds, such as Cluster, have a regular plural here.
pub(super) fn plural(kind: &str) -> String {
    kinds::find(kind).map_or_else(|| format!("{}s", kind.to_lowercase()), |kind| kind.plural.to_owned())
}
