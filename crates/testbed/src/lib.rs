//! Real servers for tests, demo and benchmark: etcd, kube-apiserver with Gardener's CRDs, gardener-apiserver, and
//! containers that run images of controllers.
//!
//! This crate depends on no controller, and no controller depends on it.

pub mod admission;
pub mod assets;
pub mod audit;
pub mod authority;
pub mod bed;
mod causes;
mod certificate;
pub mod container;
mod error;
pub mod gardener_apiserver;
pub mod gardener_controller_manager;
pub mod http;
pub mod janitor;
pub mod manifests;
pub mod metrics;
pub mod port;
pub mod process;
pub mod requests;
pub mod schema;
mod server;
pub mod supervisor;
#[cfg(target_os = "linux")]
pub mod usage;
pub mod workspace;

pub use causes::{causes, said};
