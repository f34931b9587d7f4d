//! A real etcd and kube-apiserver with Gardener's CRDs, a stand-in for gardenlet, and the conformance suite of the
//! extension contract. For tests, demo and benchmark; no controller depends on it.

pub mod assets;
pub mod audit;
pub mod bed;
pub mod conformance;
pub mod gardenlet;
pub mod janitor;
mod json;
pub mod patience;
pub mod readiness;
pub mod shoot;
pub mod supervisor;
