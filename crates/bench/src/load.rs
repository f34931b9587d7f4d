//! A load like gardenlet's for thousands of Shoots, and the time until each object is ready.
//!
//! Every Shoot has a namespace, a Cluster of real size and the extension objects of one worker pool. An object's
//! latency is the time from the acknowledged request to the first watch event for which gardenlet's rule holds. Unlike
//! [`mock_gardenlet`], the generator does not wait for one object before it writes the next.
//!
//! The **raw limit** is the same load, answered by the generator itself: right after each request it makes the fewest
//! writes that a controller must make, while as many watches as controllers have are open and read. No controller can
//! do with less.

mod baseline;
mod client;
mod error;
mod options;
mod padding;
mod ready;
mod resources;
mod writers;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use gardener_testbed::requests::Tally;
use kube::Client as KubeClient;
use mock_gardenlet::shoot::Landscape;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::baseline::watches as baseline_watches;
use self::client::{Body, Client, Place};
pub(crate) use self::error::LoadError;
pub(crate) use self::options::{Answer, Options, Phase};
pub(crate) use self::padding::padded;
use self::ready::Awaited;
pub(crate) use self::ready::Sample;
pub(crate) use self::resources::{kinds_of, objects_of};
use self::writers::{Part, Task, Writers};

/// If no object becomes ready for this long, the load has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The resolution of times in a status.
const A_SECOND: Duration = Duration::from_secs(1);

/// Period of the timer by which the generator measures its own lag.
const TICK: Duration = Duration::from_millis(10);

/// The result of a phase.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    /// One sample per object.
    pub(crate) samples: Vec<Sample>,
    /// The time of the first request, which is for a Cluster, plus [`Options::lead`].
    pub(crate) began: Instant,
    /// From then until the event that made the last object ready.
    pub(crate) took: Duration,
    /// From then until the last request of the generator was acknowledged.
    pub(crate) sent_after: Duration,
    /// The requests of the generator, without the answers of [`Answer::Baseline`].
    pub(crate) own: Tally,
    /// How late a timer of the generator fired: p99.
    pub(crate) lag: Duration,
    /// How late the requests for a Shoot were sent, at a given rate: the maximum.
    pub(crate) delay: Duration,
}

/// The load generator.
pub(crate) struct Load {
    writers: Arc<Writers>,
    /// Open until the generator is dropped.
    _watches: Vec<AbortOnDropHandle<()>>,
}

impl Load {
    /// Opens the watches that show which objects are ready.
    pub(crate) async fn start(client: KubeClient, landscape: Landscape, options: Options) -> Result<Self, LoadError> {
        let awaited = Arc::new(Awaited::default());
        let answers = Client::new(client.clone(), "controller");
        let client = Arc::new(Client::new(client, "gardenlet"));
        let mut watches = Vec::new();
        for kind in kinds_of(&landscape) {
            watches.push(ready::follow(client.clone(), kind, awaited.clone()).await?);
        }
        let garden = landscape.seed(None).namespace_object();
        client.patch(&Place::of(&garden), "", Body::Apply(&garden)).await?;
        client.take();
        let writers = Arc::new(Writers { landscape, options, client, answers, awaited });
        Ok(Self { writers, _watches: watches })
    }

    /// The number of objects of all Shoots.
    pub(crate) fn objects(&self) -> usize {
        self.writers.options.shoots.saturating_mul(self.objects_of_a_shoot())
    }

    fn objects_of_a_shoot(&self) -> usize {
        self.writers.planned(0).len()
    }

    /// Prepares a phase: deletes the objects that a migration left, and waits until a new second begins, so that times
    /// in a status can change. When gardenlet comes back, more than a second has always passed.
    pub(crate) async fn prepare(&self, phase: Phase) -> Result<(), LoadError> {
        if phase == Phase::Restore {
            self.send(Task::Destroy, Instant::now()).await?;
        }
        sleep(A_SECOND).await;
        Ok(())
    }

    /// Plays a phase: sends the requests for all objects, and returns when all of them are ready.
    pub(crate) async fn play(&self, phase: Phase) -> Result<Played, LoadError> {
        let Writers { awaited, client, options, .. } = &*self.writers;
        awaited.take();
        client.take();
        let first = Instant::now();
        let began = first + options.lead;
        let played = async {
            let delay = self.send(Task::Phase(phase), first).await?;
            let sent_after = began.elapsed();
            awaited.none_left(PATIENCE).await?;
            Ok::<_, LoadError>((delay, sent_after))
        };
        let mut late = Vec::new();
        let (delay, sent_after) = tokio::select! {
            played = played => played?,
            never = tick(&mut late) => match never {},
        };
        late.sort_unstable();
        let lag = late.get(late.len().saturating_mul(99).div_euclid(100)).copied().unwrap_or_default();
        let samples = awaited.take();
        let took = samples.iter().map(|sample| sample.ready.saturating_duration_since(began)).max();
        let own = client.take();
        Ok(Played { took: took.unwrap_or_default(), samples, began, sent_after, own, lag, delay })
    }

    /// Sends the requests of a phase. [`Load::wait`] waits until the objects are ready.
    pub(crate) async fn request(&self, phase: Phase) -> Result<(), LoadError> {
        self.writers.awaited.take();
        self.send(Task::Phase(phase), Instant::now()).await.map(drop)
    }

    /// Returns when all requested objects are ready.
    pub(crate) async fn wait(&self) -> Result<(), LoadError> {
        self.writers.awaited.none_left(PATIENCE).await
    }

    /// Requests `count` reconciliations of single objects, each after the one before is ready and while nothing else
    /// happens.
    pub(crate) async fn one_by_one(&self, count: usize) -> Result<Vec<Sample>, LoadError> {
        self.writers.awaited.take();
        let each = self.objects_of_a_shoot();
        for index in 0..count {
            // The work that follows the previous request must be over.
            sleep(2 * TICK).await;
            let shoot = index.checked_div(each).unwrap_or_default().checked_rem(self.writers.options.shoots);
            let plan = self.writers.plan(shoot.unwrap_or_default());
            let objects = self.writers.planned(shoot.unwrap_or_default());
            if let Some(object) = objects.get(index.checked_rem(each).unwrap_or_default()) {
                self.writers.object(&plan, object, Phase::Reconcile).await?;
            }
            self.wait().await?;
        }
        Ok(self.writers.awaited.take())
    }

    /// Sends the requests of a task. Returns how late the requests for a Shoot were sent at most.
    async fn send(&self, task: Task, first: Instant) -> Result<Duration, LoadError> {
        let options = self.writers.options;
        match options.rate {
            None => {
                // gardenlet writes objects some seconds after their Cluster. There are controllers that never serve an
                // object whose Cluster they have not seen before it.
                for part in [Part::Cluster, Part::Objects] {
                    let next = Arc::new(AtomicUsize::new(0));
                    let mut tasks = JoinSet::new();
                    for _ in 0..options.writers {
                        tasks.spawn(self.writers.clone().write(part, task, next.clone()));
                    }
                    all(tasks).await?;
                    if matches!(part, Part::Cluster) {
                        sleep(options.lead).await;
                    }
                }
                Ok(Duration::ZERO)
            }
            Some(rate) => {
                let (tasks, delay) = self.pace(task, rate, first).await;
                all(tasks).await.map(|()| delay)
            }
        }
    }

    /// Starts one Shoot after the other at a rate of objects per second, without waiting for earlier ones.
    async fn pace(&self, task: Task, rate: f64, first: Instant) -> (JoinSet<Result<(), LoadError>>, Duration) {
        let mut tasks = JoinSet::new();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let period = self.objects_of_a_shoot() as f64 / rate;
        let mut latest = Duration::ZERO;
        for index in 0..self.writers.options.shoots {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let planned = first + Duration::from_secs_f64(period * index as f64);
            sleep_until(Deadline::from_std(planned)).await;
            latest = latest.max(planned.elapsed());
            let writers = self.writers.clone();
            tasks.spawn(async move {
                writers.cluster(index, task).await?;
                sleep_until(Deadline::from_std(planned + writers.options.lead)).await;
                writers.objects(index, task).await
            });
        }
        (tasks, latest)
    }
}

/// Returns when all tasks have ended, or one has failed.
async fn all(mut tasks: JoinSet<Result<(), LoadError>>) -> Result<(), LoadError> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Measures how late a timer fires, again and again.
async fn tick(late: &mut Vec<Duration>) -> Infallible {
    loop {
        let asleep = Instant::now();
        sleep(TICK).await;
        late.push(asleep.elapsed().saturating_sub(TICK));
    }
}
