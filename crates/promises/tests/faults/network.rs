//! Networks that lose, delay or cut.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Failed;
use tokio::time::sleep;

use crate::cost::{Cost, Meter};
use crate::link::Weather;
use crate::world::World;

/// Fair weather follows after this time.
pub(crate) async fn weather(world: Arc<World>, weather: Weather, seconds: u64) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    if matches!(weather, Weather::Truncating(_)) {
        // It concerns new connections.
        world.link.set(Weather::Cut);
        sleep(Duration::from_secs(1)).await;
    }
    world.link.set(weather);
    world.ask("during").await?;
    sleep(Duration::from_secs(seconds)).await;
    world.link.set(Weather::Fair);
    let over = meter.over();
    world.ask("after").await?;
    Ok(over.served(world.until_served(&["before", "during", "after"]).await?))
}

/// The network stays slow.
pub(crate) async fn slow(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    let meter = Meter::begin(&world, &controller);
    world.link.set(Weather::Slow(Duration::from_millis(300)));
    let served = world.serves(&["a", "b", "c"]).await?;
    Ok(meter.over().served(served))
}

/// The peer of the old connections acknowledges every byte, and answers nothing.
pub(crate) async fn half_open(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    world.link.forget_connections();
    let served = world.serves(&["before", "after"]).await?;
    Ok(meter.over().served(served))
}

/// The packets of the old connections vanish.
pub(crate) async fn packets_vanish(world: Arc<World>) -> Result<Cost, Failed> {
    let controller = world.linked(&[]).await?;
    world.serves(&["before"]).await?;
    let meter = Meter::begin(&world, &controller);
    let _rules = world.link.lose_packets()?;
    let served = world.serves(&["before", "after"]).await?;
    Ok(meter.over().served(served))
}
