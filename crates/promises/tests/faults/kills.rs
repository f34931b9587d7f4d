//! Controllers that are killed between any two requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use extension_conformance::{annotation, asking, ensure, eventually, merged};
use extension_contract::{OPERATION_ANNOTATION, readiness};
use libtest_mimic::Failed;
use mock_promises::script;
use serde_json::{Value, json};

use crate::cost::Cost;
use crate::http::{Action, is_write};
use crate::world::{Controller, LIMIT, World};

/// What gardenlet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Reconcile,
    Migrate,
    Restore,
    Delete,
}

const OPERATIONS: [Operation; 5] =
    [Operation::Create, Operation::Reconcile, Operation::Migrate, Operation::Restore, Operation::Delete];

/// More writes than any operation has.
const MOST_WRITES: usize = 40;

/// Kills the controller after the first write of each operation, then after the second, and so on. The API server has
/// carried out the write, and the controller has not got the answer. `script` is a patch of every object.
pub(crate) async fn after_each_write(world: Arc<World>, script: Value) -> Result<Cost, Failed> {
    let mut controller = world.proxied(&[]).await?;
    let (mut slowest, mut kills) = (Duration::ZERO, 0);
    for operation in OPERATIONS {
        for number in 1..=MOST_WRITES {
            ensure(number < MOST_WRITES, format!("{operation:?} does not end: {number} writes"))?;
            let name = format!("{operation:?}-{number}").to_lowercase();
            prepare(&world, &name, operation, &script).await?;
            let writes = Arc::new(AtomicUsize::new(0));
            let counted = writes.clone();
            world.http.set(move |parts| {
                let is_it = is_write(parts) && counted.fetch_add(1, Relaxed) + 1 == number;
                if is_it { Action::Withhold } else { Action::Forward }
            });
            ask(&world, &name, operation, &script).await?;
            tokio::select! {
                biased;
                () = world.http.withheld() => {}
                done = until_done(&world, &name, operation) => {
                    done?;
                    // The last write can show before its answer has arrived.
                    if writes.load(Relaxed) < number {
                        break;
                    }
                    world.http.withheld().await;
                }
            }
            controller.0.kill().await?;
            world.http.forward();
            kills += 1;
            let began = Instant::now();
            controller = world.proxied(&[]).await?;
            until_done(&world, &name, operation).await?;
            slowest = slowest.max(began.elapsed());
        }
        world.http.forward();
    }
    // A deletion has one write, and each other operation two: the status and the metadata.
    ensure(kills >= 2 * OPERATIONS.len() - 1, format!("{kills} kills"))?;
    is_quiet(&world, controller).await?;
    Ok(Cost::of_time(slowest))
}

/// The same, with objects whose first attempts take a while, and fail.
pub(crate) async fn after_each_write_of_a_script(world: Arc<World>) -> Result<Cost, Failed> {
    let fails = json!({ "message": "quota exceeded", "after": "1s", "retryAfter": "1s" });
    let rules = json!([
        { "match": { "attempts": { "to": 1 } }, "fail": fails, "conditions": [] },
        { "succeed": { "after": "1s" } },
    ]);
    after_each_write(world, json!({ "spec": { "providerConfig": script(&rules) } })).await
}

/// Asks for each operation, one after the other. Returns how long the slowest took.
pub(crate) async fn each_operation(world: &World, name: &str, script: &Value) -> Result<Duration, Failed> {
    let mut slowest = Duration::ZERO;
    for operation in OPERATIONS {
        let began = Instant::now();
        ask(world, name, operation, script).await?;
        until_done(world, name, operation).await?;
        slowest = slowest.max(began.elapsed());
    }
    Ok(slowest)
}

/// Brings an object into the state that the operation needs.
async fn prepare(world: &World, name: &str, operation: Operation, script: &Value) -> Result<(), Failed> {
    world.http.forward();
    if operation == Operation::Create {
        return Ok(());
    }
    ask(world, name, Operation::Create, script).await?;
    until_done(world, name, Operation::Create).await?;
    if operation == Operation::Restore {
        ask(world, name, Operation::Migrate, script).await?;
        until_done(world, name, Operation::Migrate).await?;
    }
    Ok(())
}

async fn ask(world: &World, name: &str, operation: Operation, script: &Value) -> Result<(), Failed> {
    let scene = &world.scene;
    match operation {
        Operation::Create => scene.create_object(name, &merged(asking("reconcile"), script)).await.map(drop),
        Operation::Reconcile => scene.ask(name, "reconcile").await.map(drop),
        Operation::Migrate => scene.ask(name, "migrate").await.map(drop),
        Operation::Restore => scene.ask(name, "restore").await.map(drop),
        Operation::Delete => scene.delete(name).await,
    }
}

/// Waits until the object is as gardenlet wants it after the operation.
async fn until_done(world: &World, name: &str, operation: Operation) -> Result<(), Failed> {
    eventually(LIMIT, || async {
        let object = world.scene.get(name).await?;
        ensure(is_done(world, &object, operation), format!("{operation:?} of {name} is not done:\n{object:#}"))
    })
    .await
}

fn is_done(world: &World, object: &Value, operation: Operation) -> bool {
    match operation {
        Operation::Delete => object.is_null(),
        Operation::Migrate => {
            readiness::check_migrated(object).is_ok()
                && !world.scene.holds(object)
                && annotation(object, OPERATION_ANNOTATION).is_none()
        }
        Operation::Create | Operation::Reconcile | Operation::Restore => {
            readiness::check(object, None).is_ok() && world.scene.holds(object)
        }
    }
}

/// Fails if the next start of the controller writes, although every object is as gardenlet wants it.
async fn is_quiet(world: &World, controller: Controller) -> Result<(), Failed> {
    controller.terminate().await?;
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = writes.clone();
    world.http.set(move |parts| {
        counted.fetch_add(usize::from(is_write(parts)), Relaxed);
        Action::Forward
    });
    let _controller = world.proxied(&[]).await?;
    // The controller serves in the order of changes, so it has seen all earlier objects then.
    ask(world, "last", Operation::Create, &json!({})).await?;
    until_done(world, "last", Operation::Create).await?;
    let writes = writes.load(Relaxed);
    ensure(writes <= 3, format!("{writes} writes for one object: others were written again"))
}
