//! How controllers start where everything is there already, and what they need then.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use mock_testbed::load::{Answer, Load, Options, Phase};

use super::{
    Bench, Entrant,
    figures::{Process, Standing},
    fleet::Fleet,
    turn,
};

/// How long CPU at rest is measured, after as long a pause.
const REST: Duration = Duration::from_secs(30);

/// Starts a contestant beside objects that nobody has served yet, and once more when all are served.
pub(super) async fn play(bench: &Bench, entrant: &Entrant, shoots: usize) -> Result<Standing> {
    let bed = turn::bed(bench, entrant).await?;
    let options = Options { shoots, rate: None, answer: Answer::Controllers, ..bench.options };
    let load = Load::start(bed.client(), bench.landscape.clone(), options).await?;
    load.ask(Phase::Create).await?;
    let mut standing = Standing { shoots, objects: load.objects(), ..Standing::default() };

    let began = Instant::now();
    let fleet = started(bench, entrant, &bed, &mut standing.processes).await?;
    turn::unless_ended(Some(&fleet), async {
        load.wait().await?;
        standing.all_ready_after = began.elapsed().as_secs_f64();
        turn::rest(&mut standing.processes, &fleet, REST).await
    })
    .await?;
    fleet.stop().await?;

    let fleet = started(bench, entrant, &bed, &mut standing.again).await?;
    turn::unless_ended(Some(&fleet), turn::rest(&mut standing.again, &fleet, REST)).await?;
    fleet.stop().await?;
    bed.stop().await.context("cannot end the test bed")?;
    Ok(standing)
}

async fn started(
    bench: &Bench,
    entrant: &Entrant,
    bed: &mock_testbed::bed::TestBed,
    processes: &mut BTreeMap<String, Process>,
) -> Result<Fleet> {
    let Some((fleet, ready)) = turn::start(bench, entrant, bed).await? else {
        bail!("there are no controllers to start")
    };
    for (name, start) in ready {
        start.note(processes.entry(name).or_default());
    }
    Ok(fleet)
}
