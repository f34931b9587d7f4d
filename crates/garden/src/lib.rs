//! A whole Gardener on one machine, without containers: its real programs as plain processes, and Shoots that they drive.
//!
//! The *outside* ([`outside`]) is the command that a person starts. It creates a folder and namespaces of users, networks,
//! processes and mounts, and starts the *inside* ([`inside`]) in them. The inside starts all programs. When the outside
//! ends, for whatever reason, the kernel ends every process in the namespaces, and the guard of the outside's
//! [`Supervisor`](gardener_testbed::supervisor::Supervisor) removes the folder.
//!
//! On this machine, nothing listens but the *doors* of the outside: one for the API server of each cluster, and one for the
//! gateway of each Seed, behind which are the API servers of its Shoots ([`doors`]).

mod access;
mod backups;
mod cluster;
pub mod control;
pub mod doors;
mod error;
mod gardener;
mod gardenlet;
pub mod inside;
pub mod isolation;
mod junit;
mod kubeconfigs;
mod layout;
pub mod load;
mod network;
pub mod news;
mod nodes;
mod objects;
mod operated;
pub mod outside;
mod processes;
mod seed;
mod settings;
mod shoot;
mod steps;
mod wait;
mod walkthrough;

pub use error::GardenError;
pub use layout::Layout;
pub use news::News;
pub use operated::Operated;
pub use settings::{Door, Settings, Wanted, Work};
pub use shoot::{Progress, progress};
