//! Plays what a seed has below its API server, on a machine without a container runtime.
//!
//! A real kube-apiserver, kube-controller-manager and kube-scheduler are what Gardener sees of a seed. Behind them, a
//! seed has kubelets, kube-proxy, DNS, volumes, load balancers and the operators that gardenlet relies on. Each of these
//! is a player here, in a file of its own. The first line of the file says which component the player stands for, and
//! what it leaves out.
//!
//! Programs that exist as static executables really run in their Pods, such as gardener-resource-manager and the
//! controllers of extensions. All other Pods are only reported as running and ready.
#![cfg(target_os = "linux")]

mod addresses;
mod args;
mod backup_store;
mod backups;
mod container;
mod copied_backups;
mod dns;
mod endpoints;
mod environment;
mod error;
mod etcd_druid;
mod ingress_gateway;
mod kubelet;
mod kubelet_logs;
mod kubelet_port;
mod load_balancer;
mod nodes;
mod pause;
mod player;
mod port_forward;
mod prober;
mod prometheus_operator;
mod provisioner;
mod root;
mod running_pod;
mod sandbox;
mod service_proxy;
mod shoot_client;
mod shoot_pods;
mod spdy;
mod tools;
mod volumes;
mod vpn_proxy;

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::args::Command;
pub use crate::args::{Cli, SeedArgs};
use crate::endpoints::Endpoints;
pub use crate::error::Error;
use crate::ingress_gateway::Routes;
use crate::kubelet::Kubelet;
use crate::player::Seed;
use crate::shoot_pods::ShootPods;

/// Runs the command until it ends or is interrupted.
pub fn main(cli: Cli) -> Result<(), Error> {
    match cli.command {
        // Without threads: a process enters another mount namespace only while it has one thread.
        Command::Pause => pause::pause(),
        Command::Seed(args) => {
            let runtime = tokio::runtime::Runtime::new().map_err(Error::io("start threads for", "tokio"))?;
            runtime.block_on(play(*args))
        }
    }
}

/// Plays a seed until SIGTERM or SIGINT. Then stops the programs of its Pods.
async fn play(args: SeedArgs) -> Result<(), Error> {
    args.start_log();
    let stopped = async {
        let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let seed = Arc::new(Seed::connect(args).await?);
    nodes::register(&seed).await?;
    let shoot_pods = ShootPods::default();
    let kubelet = Kubelet::start(seed.clone(), shoot_pods.clone()).await?;
    let kubelet_logs = kubelet_logs::serve(&seed).await?;
    let (endpoints, follow_endpoints) = Endpoints::watch(&seed.client);
    let mut players = JoinSet::new();
    players.spawn(follow_endpoints);
    players.spawn(kubelet_logs);
    players.spawn(nodes::renew_leases(seed.clone()));
    players.spawn(dns::serve(&seed, endpoints.clone()).await?);
    players.spawn(shoot_pods.clone().play(seed.clone(), endpoints.clone()));
    let routes = Routes::default();
    players.spawn(routes.clone().follow(seed.clone()));
    players.spawn(service_proxy::play(seed.clone(), endpoints, routes));
    players.spawn(kubelet.clone().play());
    players.spawn(provisioner::play(seed.clone()));
    players.spawn(load_balancer::play(seed.clone()));
    players.spawn(etcd_druid::play(seed.clone()));
    players.spawn(copied_backups::play(seed.clone()));
    players.spawn(prometheus_operator::play(seed.clone(), "prometheuses.monitoring.coreos.com"));
    players.spawn(prometheus_operator::play(seed.clone(), "alertmanagers.monitoring.coreos.com"));
    tracing::info!(version = seed.args.version, "playing the seed");
    tokio::select! {
        () = stopped => {}
        // A player ends only if it panics.
        _ = players.join_next() => {}
    }
    players.shutdown().await;
    kubelet.stop_all().await;
    Ok(())
}
