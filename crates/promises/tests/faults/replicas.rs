//! Several writers, several replicas, and the ends of processes.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use extension_conformance::{ensure, eventually};
use gardener_testbed::port;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use libtest_mimic::Failed;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::http::{Action, is_write};
use crate::link::Weather;
use crate::world::{LIMIT, World};

const ELECT: [&str; 1] = ["--leader-elect"];
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Another writer changes every object right after each of our reads: all our writes with a version conflict for a while.
pub(crate) async fn conflict_storm(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&NAMES).await?;
    let meter = Meter::begin(&world, &controller);
    let began = Instant::now();
    let storm = async {
        let mut round = 0_u32;
        while began.elapsed() < Duration::from_secs(8) {
            round += 1;
            let label = json!({ "metadata": { "labels": { "round": round.to_string() } } });
            let patches = NAMES.map(|name| world.scene.patch(name, label.clone()));
            futures::future::try_join_all(patches).await?;
        }
        Ok::<_, Failed>(())
    };
    let asking = async {
        while began.elapsed() < Duration::from_secs(8) {
            world.serves(&NAMES).await?;
        }
        Ok::<_, Failed>(())
    };
    futures::try_join!(storm, asking)?;
    let over = meter.over();
    Ok(over.served(world.serves(&NAMES).await?))
}

/// Both serve the same objects.
pub(crate) async fn two_without_election(world: Arc<World>) -> Result<Cost, Failed> {
    let one = world.linked(&[]).await?;
    let _other = world.linked(&[]).await?;
    let meter = Meter::begin(&world, &one);
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        slowest = slowest.max(world.serves(&NAMES).await?);
    }
    for name in NAMES {
        world.scene.delete(name).await?;
    }
    for name in NAMES {
        world.scene.until_gone(name).await?;
    }
    Ok(meter.over().served(slowest))
}

pub(crate) async fn leader_killed(world: Arc<World>) -> Result<Cost, Failed> {
    let mut leader = world.proxied(&ELECT).await?;
    world.serves(&["before"]).await?;
    let standby = world.proxied(&ELECT).await?;
    let meter = Meter::begin(&world, &standby);
    leader.0.kill().await?;
    let served = world.serves(&["before", "after"]).await?;
    Ok(meter.over().served(served))
}

/// The connection that renews the Lease is dead, too. New connections work.
pub(crate) async fn leader_half_open(world: Arc<World>) -> Result<Cost, Failed> {
    let leader = world.linked(&ELECT).await?;
    world.serves(&["before"]).await?;
    let standby = world.proxied(&ELECT).await?;
    let meter = Meter::begin(&world, &leader);
    world.link.forget_connections();
    let served = world.serves(&["before", "after"]).await?;
    let cost = meter.over().served(served);
    standby.terminate().await?;
    ensure(transitions(&world).await? == Some(0), "the standby took over")?;
    leader.terminate().await?;
    Ok(cost)
}

/// How often the Lease has changed its holder.
async fn transitions(world: &World) -> Result<Option<i32>, Failed> {
    let leases: Api<Lease> = Api::namespaced(world.scene.client(), world.scene.namespace());
    let leases = leases.list(&ListParams::default()).await?.items;
    Ok(leases.iter().filter_map(|lease| lease.spec.as_ref()?.lease_transitions).max())
}

/// The old leader wakes up when another leads. It must end before it writes.
pub(crate) async fn leader_suspended(world: Arc<World>) -> Result<Cost, Failed> {
    let mut leader = world.linked(&ELECT).await?;
    world.serves(&["before"]).await?;
    let standby = world.proxied(&ELECT).await?;
    let meter = Meter::begin(&world, &standby);
    leader.0.suspend()?;
    let served = world.serves(&["before", "after"]).await?;
    let over = meter.over();
    leader.0.resume()?;
    let status = leader.ended().await?;
    ensure(status.code() == Some(1), format!("the old leader ended with {status}:\n{}", leader.0.log_end()))?;
    world.serves(&["before"]).await?;
    Ok(over.served(served))
}

/// The leader cannot renew the Lease. It must end before another leads.
pub(crate) async fn leader_cut_off(world: Arc<World>) -> Result<Cost, Failed> {
    let mut leader = world.linked(&ELECT).await?;
    world.serves(&["before"]).await?;
    let standby = world.proxied(&ELECT).await?;
    let meter = Meter::begin(&world, &standby);
    world.link.set(Weather::Silent);
    let began = Instant::now();
    let status = leader.ended().await?;
    ensure(status.code() == Some(1), format!("the old leader ended with {status}:\n{}", leader.0.log_end()))?;
    ensure(transitions(&world).await? == Some(0), "another process leads before the leader has ended")?;
    world.serves(&["before", "after"]).await?;
    let served = began.elapsed();
    Ok(meter.over().served(served))
}

/// SIGTERM ends the process with success in each state, and no object stays half done for the next process.
pub(crate) async fn sigterm_in_each_state(world: Arc<World>) -> Result<Cost, Failed> {
    world.ask("a").await?;
    // A credential plugin hangs.
    let (pid, path) = (world.bed().dir().join("plugin"), world.bed().dir().join("kubeconfig-of-plugin"));
    let mut kubeconfig = world.kubeconfig(&format!("http://127.0.0.1:{}", world.http.port))?;
    let script = format!("sleep 600 & echo $! >'{}'; wait", pid.display());
    let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "sh",
        "args": ["-c", script] });
    *kubeconfig.pointer_mut("/users/0/user").ok_or("the kubeconfig has no user")? = json!({ "exec": exec });
    fs::write(&path, kubeconfig.to_string())?;
    let hanging = world.with_kubeconfig(&path, &[])?;
    let plugin = || fs::read_to_string(&pid).ok().filter(|pid| pid.ends_with('\n')).ok_or("the plugin does not run");
    eventually(LIMIT, async || Ok(plugin().map(drop)?)).await?;
    hanging.terminate().await?;
    // A process that has ended has no command line, even if its parent has not waited for it.
    let line = format!("/proc/{}/cmdline", plugin()?.trim());
    let ended = async || ensure(fs::read(&line).unwrap_or_default().is_empty(), "the plugin still runs");
    eventually(LIMIT, ended).await?;
    // Before the first list: nothing listens; it listens and is silent; the list is on its way.
    let refused = world.controller(&format!("https://127.0.0.1:{}", port::free()?), &[])?;
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let unanswered = world.controller(&format!("http://{}", silent.local_addr()?), &[])?;
    for mut controller in [refused, unanswered] {
        controller.until_logged(r#""message":"serving""#).await?;
        controller.terminate().await?;
    }
    world.http.set(|_| Action::Silence);
    let listing = world.unready(&[])?;
    eventually(LIMIT, async || ensure(world.http.requests() > 0, "no request")).await?;
    listing.terminate().await?;
    world.http.forward();
    // Idle; standing by; leading.
    let idle = world.proxied(&[]).await?;
    world.until_served(&["a"]).await?;
    idle.terminate().await?;
    let leader = world.proxied(&ELECT).await?;
    world.serves(&["a"]).await?;
    world.proxied(&ELECT).await?.terminate().await?;
    leader.terminate().await?;
    // In the middle of a reconcile, whose answers are late.
    let controller = world.proxied(&[]).await?;
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = writes.clone();
    world.http.set(move |parts| {
        counted.fetch_add(usize::from(is_write(parts)), Relaxed);
        if is_write(parts) { Action::Withhold } else { Action::Forward }
    });
    world.ask("b").await?;
    world.http.withheld().await;
    controller.terminate().await?;
    world.http.forward();
    // With watches that retry.
    let controller = world.linked(&[]).await?;
    world.link.set(Weather::Cut);
    sleep(Duration::from_secs(2)).await;
    controller.terminate().await?;
    world.link.set(Weather::Fair);
    let began = Instant::now();
    let _controller = world.proxied(&[]).await?;
    world.serves(&["c"]).await?;
    world.until_served(&["a", "b", "c"]).await?;
    Ok(Cost::of_time(began.elapsed()))
}
