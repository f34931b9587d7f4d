//! A real etcd and kube-apiserver with Gardener's CRDs, a stand-in for gardenlet, and the conformance suite of the
//! extension contract. For tests, demo and benchmark; no controller depends on it.

pub mod admission;
pub mod assets;
pub mod audit;
pub mod bed;
pub mod conformance;
pub mod container;
pub mod garden;
pub mod gardenlet;
mod identity;
pub mod installation;
pub mod janitor;
mod json;
pub mod load;
pub mod manifests;
pub mod patience;
pub mod readiness;
mod server;
pub mod shoot;
pub mod supervisor;
