//! How controllers start when objects exist already, and what they need then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gardener_testbed::bed::TestBed;
use mock_fleet::Fleet;

use crate::contestants::Contestant;
use crate::figures::{Process, Standing};
use crate::load::{Answer, Load, Options, Phase};
use crate::run;
use crate::setup::{Setup, unless_ended};

/// How long CPU at rest is measured, after a pause of the same length.
const REST: Duration = Duration::from_secs(30);

/// Starts an contestant when no object has been served yet, and again when all objects are served.
pub(crate) async fn one(setup: &Setup, contestant: &Contestant, shoots: usize) -> Result<Standing> {
    let bed = setup.bed(contestant).await?;
    let options = Options { shoots, rate: None, answer: Answer::Controllers, ..setup.options };
    let load = Load::start(bed.client(), setup.landscape.clone(), options).await?;
    load.request(Phase::Create).await?;
    let mut standing = Standing { shoots, objects: load.objects(), ..Standing::default() };

    let began = Instant::now();
    let fleet = start(setup, contestant, &bed, &mut standing.processes).await?;
    unless_ended(Some(&fleet), async {
        load.wait().await?;
        standing.all_ready_after = began.elapsed().as_secs_f64();
        run::rest(&mut standing.processes, &fleet, REST).await
    })
    .await?;
    fleet.stop().await?;

    let fleet = start(setup, contestant, &bed, &mut standing.again).await?;
    unless_ended(Some(&fleet), run::rest(&mut standing.again, &fleet, REST)).await?;
    fleet.stop().await?;
    bed.stop().await.context("cannot end the test bed")?;
    Ok(standing)
}

async fn start(
    setup: &Setup,
    contestant: &Contestant,
    bed: &TestBed,
    processes: &mut BTreeMap<String, Process>,
) -> Result<Fleet> {
    let Some((fleet, times)) = setup.start(contestant, bed).await? else { bail!("there are no controllers to start") };
    run::note_starts(processes, times);
    Ok(fleet)
}
