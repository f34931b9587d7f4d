//! The kinds of a Shoot's objects, and the names of their resources.

use extension_contract::kinds;
use mock_gardenlet::shoot::Landscape;

/// The kinds of extension objects that a Shoot has, in the order in which gardenlet creates them.
pub(super) fn kinds_of(landscape: &Landscape) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for planned in landscape.plan(Some(0)).objects() {
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
