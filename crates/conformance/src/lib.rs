//! Judges the controller of any provider by Gardener's extension contract, against a real API server.
//!
//! The kit knows the contract ([`extension_contract`]) and real servers ([`gardener_testbed`]), but no controller. A
//! [`Subject`] describes the objects that the controller serves, and a [`Launcher`](launcher::Launcher) starts it.
//! [`rules::all`] returns the rules. [`run::Run`] runs them, and further tests beside them, as `cargo test` does.
//!
//! The program of this crate judges a controller by its command line, or one that runs on a cluster; README.md shows how:
//!
//! ```text
//! extension-conformance --kind Worker --spec worker.yaml --command 'my-controller --kubeconfig $KUBECONFIG'
//! extension-conformance --kind Worker --spec worker.yaml --kubeconfig seed.yaml
//! ```

mod clean_up;
pub mod cli;
pub mod eventually;
pub mod finding;
mod first;
pub mod judge;
pub mod launcher;
pub mod object;
pub mod report;
pub mod rule;
pub mod rules;
pub mod run;
pub mod scene;
pub mod subject;
pub mod suite;
pub mod versions;

pub use eventually::{LIMIT, eventually};
pub use finding::{Failure, Finding, Verdict};
pub use judge::Judge;
pub use object::{annotation, asking, asking_at, condition, ensure, excerpt, finalizers, last, merged, text};
pub use report::Report;
pub use rule::{Case, Level, Proof, Rule};
pub use scene::Scene;
pub use subject::{Feature, Subject};
pub use suite::Suite;
pub use versions::Versions;
