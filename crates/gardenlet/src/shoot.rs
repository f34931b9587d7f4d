//! From the manifests of a Shoot, its `CloudProfile` and its Seed to the objects that gardenlet writes to the seed.

mod defaults;
mod landscape;
mod manifest;
mod objects;
mod plan;
#[cfg(test)]
mod tests;

pub use self::landscape::Landscape;
pub use self::manifest::LandscapeError;
pub(crate) use self::objects::CLOUD_CONFIG;
pub use self::plan::{Planned, ShootPlan, ShootState};
