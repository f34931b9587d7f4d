//! From the manifests of a Shoot, its `CloudProfile` and its Seed to the objects that gardenlet writes to the seed.
//!
//! gardener-apiserver admits the manifests and sets all defaults; nothing here does. For the examples of this
//! repository, its answers are kept.

mod additions;
mod backup;
mod dns;
mod error;
mod garden;
mod hash;
pub mod kept;
mod landscape;
mod manifest;
mod objects;
pub(crate) mod parts;
mod plan;
mod registrations;
mod seed;
#[cfg(test)]
mod tests;

pub use self::error::LandscapeError;
pub use self::garden::Garden;
pub use self::landscape::Landscape;
pub use self::manifest::Manifests;
pub(crate) use self::objects::CLOUD_CONFIG;
pub use self::parts::{Lifecycle, Part};
pub(crate) use self::plan::Bucket;
pub use self::plan::{Asks, Planned, ShootPlan, ShootState};
pub use self::seed::SeedPlan;
