//! Makes objects and Clusters.

mod cluster;
mod object;
mod schema;
mod script;

use k8s_openapi::jiff::Timestamp;
use mock_fleet::kinds::Package;
use serde_json::Value;

use crate::crds::Crd;
use crate::dice::Dice;

/// What a controller meets.
pub(crate) struct Scene {
    pub(crate) object: Value,
    pub(crate) cluster: Option<Value>,
    /// Whether the Secret that the object names exists.
    pub(crate) has_secret: bool,
    pub(crate) now: Timestamp,
    /// Whether an API server accepts the object.
    pub(crate) is_valid: bool,
}

const NOW: &[&str] =
    &["2026-08-20T10:15:31.7Z", "1969-12-31T23:59:59.9Z", "9000-01-01T00:00:00Z", "2026-08-20T10:15:30Z"];

pub(crate) fn scene(dice: &mut Dice<'_>, package: Package, crd: &Crd) -> Scene {
    let is_valid = !dice.one_in(3);
    let cluster = (!dice.one_in(8)).then(|| cluster::cluster(dice));
    let now = dice.pick_text(NOW).parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let has_secret = !dice.one_in(8);
    let mut object = object::object(dice, package, crd);
    if !is_valid {
        for part in ["spec", "status"] {
            if let Some(part) = object.get_mut(part) {
                let times = dice.below(4);
                dice.spoil(part, times);
            }
        }
    }
    Scene { object, cluster, has_secret, now, is_valid }
}
