//! Nodes without machines: tells the API servers of Shoots what kubelets and gardener-node-agents would tell them.
//!
//! [`seed::run`] follows the Workers of a seed. Which nodes a Worker wants is a pure function of its caller, a
//! [`seed::Planner`]. For each Shoot, `shoot` watches the Shoot's API server, `decide` compares what is
//! there with the plan, and `act` sends the difference. [`node`] and [`pod`] compose the objects.
//!
//! Nothing runs: a Pod on a hollow node is reported as running, and no kubelet answers at the node's address.

mod act;
mod address;
mod decide;
pub mod node;
mod outage;
pub mod plan;
pub mod pod;
pub mod seed;
mod shoot;
mod watch;
