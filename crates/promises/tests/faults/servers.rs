//! Servers that are killed, suspended, unreachable or restored.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use extension_conformance::ensure;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use gardener_testbed::bed::Member;
use gardener_testbed::port;
use libtest_mimic::Failed;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::link::Link;
use crate::world::World;

pub(crate) async fn killed(world: Arc<World>, members: &[Member], seconds: u64) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    for member in members {
        world.bed().kill(*member).await?;
    }
    sleep(Duration::from_secs(seconds)).await;
    for member in members.iter().rev() {
        world.bed().start_again(*member).await?;
    }
    world.bed().ready().await?;
    let over = meter.over();
    let cost = over.served(world.serves(&["before", "after"]).await?);
    if members.contains(&Member::KubeApiserver) {
        // A server that is starting may refuse once more.
        let told = controller.count("watching infrastructures again");
        ensure((1..=2).contains(&told), format!("the end was told {told} times:\n{}", controller.0.log_end()))?;
    }
    Ok(cost)
}

/// Hundreds of requests arrive right before the fault, and half of them are not served yet.
pub(crate) async fn killed_under_load(world: Arc<World>) -> Result<Cost, Failed> {
    const OBJECTS: usize = 300;
    let controller = world.linked(&[]).await?;
    let names: Vec<_> = (0..OBJECTS).map(|index| format!("o{index}")).collect();
    let asked = stream::iter(&names).map(|name| world.ask(name)).buffer_unordered(16);
    asked.skip(OBJECTS / 2).take(1).try_collect::<()>().await?;
    let meter = Meter::begin(&world, &controller);
    world.bed().kill(Member::KubeApiserver).await?;
    sleep(Duration::from_secs(20)).await;
    world.bed().start_again(Member::KubeApiserver).await?;
    world.bed().ready().await?;
    let over = meter.over();
    let began = Instant::now();
    stream::iter(&names).map(|name| world.ask(name)).buffer_unordered(16).try_collect::<()>().await?;
    world.until_served(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(over.served(began.elapsed()))
}

pub(crate) async fn suspended(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    for member in [Member::KubeApiserver, Member::Etcd] {
        world.bed().suspend(member).await?;
    }
    sleep(Duration::from_secs(20)).await;
    for member in [Member::Etcd, Member::KubeApiserver] {
        world.bed().resume(member).await?;
    }
    world.bed().ready().await?;
    let over = meter.over();
    Ok(over.served(world.serves(&["before", "after"]).await?))
}

pub(crate) async fn unreachable_at_the_start(world: Arc<World>) -> Result<Cost, Failed> {
    let port = port::free()?;
    world.ask("before").await?;
    let controller = world.controller(&format!("https://127.0.0.1:{port}"), &[])?;
    let meter = Meter::begin(&world, &controller);
    sleep(Duration::from_secs(8)).await;
    let _link = Link::open_at(port, world.server_port()?).await?;
    let over = meter.over();
    Ok(over.served(world.until_served(&["before"]).await?))
}

/// Versions of objects and watches go back, and one object was never created.
pub(crate) async fn restored_from_a_snapshot(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let (data, snapshot) = (world.bed().dir().join("etcd"), world.bed().dir().join("snapshot"));
    world.bed().kill(Member::Etcd).await?;
    copy(&data, &snapshot)?;
    world.bed().start_again(Member::Etcd).await?;
    world.bed().ready().await?;
    for _ in 0..5 {
        world.serves(&["before", "lost"]).await?;
    }
    let meter = Meter::begin(&world, &controller);
    for member in [Member::KubeApiserver, Member::Etcd] {
        world.bed().kill(member).await?;
    }
    fs::remove_dir_all(&data)?;
    copy(&snapshot, &data)?;
    for member in [Member::Etcd, Member::KubeApiserver] {
        world.bed().start_again(member).await?;
    }
    world.bed().ready().await?;
    let over = meter.over();
    let began = Instant::now();
    world.serves(&["before", "after"]).await?;
    world.serves(&["lost", "before"]).await?;
    Ok(over.served(began.elapsed()))
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy(&entry.path(), &to)? } else { fs::copy(entry.path(), to).map(drop)? }
    }
    // etcd insists on it.
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}
