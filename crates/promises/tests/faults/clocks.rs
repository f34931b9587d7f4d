//! Processes whose clock is wrong, and times that such a process has written.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use extension_conformance::{ensure, merged, text};
use extension_contract::OPERATION_ANNOTATION;
use k8s_openapi::jiff::{SignedDuration, Timestamp, Unit};
use libtest_mimic::Failed;
use mock_promises::script;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::kills;
use crate::world::{Controller, World};

const HOUR: i64 = 3600;
/// Longer than a Lease lasts.
const LEASE: Duration = Duration::from_secs(20);

/// Starts a controller whose clock is wrong by `lead` seconds.
async fn controller(world: &World, lead: i64, arguments: &[&str]) -> Result<Controller, Failed> {
    let library = world.bed().dir().join("clock.so");
    if !library.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).stdin(Stdio::null());
        let output = compiler.output().await.map_err(|error| format!("cannot run the C compiler cc: {error}"))?;
        ensure(output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())?;
    }
    let variables = [("LD_PRELOAD", library.to_string_lossy().into_owned()), ("CLOCK_LEAD", lead.to_string())];
    let controller = world.with_variables(&variables, arguments)?.ready().await?;
    let log = controller.0.log_text();
    let line: Value = serde_json::from_str(log.lines().last().ok_or("an empty log")?)?;
    let shown: Timestamp = text(&line, "/timestamp").parse()?;
    let off = shown.duration_since(Timestamp::now()).as_secs();
    ensure((off - lead).abs() < 60, format!("its clock is wrong by {off} s instead of {lead} s"))?;
    Ok(controller)
}

/// Every operation, with and without a script, by a controller whose clock is wrong. Then one with a right clock goes on.
pub(crate) async fn an_hour_off(world: Arc<World>, lead: i64) -> Result<Cost, Failed> {
    let fails = json!({ "message": "quota exceeded", "after": "1s", "retryAfter": "1s" });
    let rules = json!([{ "match": { "attempts": { "to": 1 } }, "fail": fails }, { "succeed": { "after": "1s" } }]);
    let scripted = json!({ "spec": { "providerConfig": script(&rules) } });
    let wrong = controller(&world, lead, &[]).await?;
    let meter = Meter::begin(&world, &wrong);
    let slowest = kills::each_operation(&world, "plain", &json!({})).await?;
    let slowest = slowest.max(kills::each_operation(&world, "scripted", &scripted).await?);
    world.serves(&["a"]).await?;
    let cost = meter.over().served(slowest);
    wrong.terminate().await?;
    let _right = world.proxied(&[]).await?;
    let served = world.serves(&["a", "b"]).await?;
    Ok(Cost { recovered: cost.recovered.max(served), ..cost })
}

/// The clocks of leader and standby differ by an hour: the leader keeps the Lease, and the standby follows it.
pub(crate) async fn of_replicas_differ(world: Arc<World>, leads: [i64; 2]) -> Result<Cost, Failed> {
    const ELECT: [&str; 1] = ["--leader-elect"];
    let mut leader = controller(&world, leads[0], &ELECT).await?;
    world.serves(&["before"]).await?;
    let mut standby = controller(&world, leads[1], &ELECT).await?;
    standby.until_logged("standing by").await?;
    sleep(LEASE).await;
    ensure(standby.count("leading") == 0, "the standby took over from a living leader")?;
    let meter = Meter::begin(&world, &standby);
    leader.0.kill().await?;
    let served = world.serves(&["before", "after"]).await?;
    Ok(meter.over().served(served))
}

/// Another process, whose clock is an hour ahead, has written the status.
pub(crate) async fn times_an_hour_ahead(world: Arc<World>) -> Result<Cost, Failed> {
    const STATES: [(&str, &str); 3] = [("processing", "Processing"), ("error", "Error"), ("succeeded", "Succeeded")];
    let later = (Timestamp::now() + SignedDuration::from_secs(HOUR)).round(Unit::Second)?.to_string();
    for (name, state) in STATES {
        world.scene.create_annotated(name, "wait-for-state").await?;
        let mut status = json!({
            "observedGeneration": 1,
            "lastOperation": { "type": "Create", "state": state, "progress": 50, "description": "x", "lastUpdateTime": later },
        });
        if state == "Error" {
            status = merged(status, &json!({ "lastError": { "description": "x", "lastUpdateTime": later } }));
        }
        world.scene.patch_status(name, status).await?;
        let annotations =
            json!({ OPERATION_ANNOTATION: if state == "Succeeded" { json!("reconcile") } else { json!(null) } });
        world.scene.patch(name, json!({ "metadata": { "annotations": annotations } })).await?;
    }
    let began = Instant::now();
    let controller = world.proxied(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    world.until_served(&STATES.map(|(name, _)| name)).await?;
    let served = began.elapsed();
    Ok(meter.over().served(served))
}
