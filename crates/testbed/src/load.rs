//! Load like gardenlet's, by the thousand: what a benchmark asks of a seed, and when it has what it asked for.
//!
//! Every Shoot gets a namespace, a Cluster of real size and the extension objects of one worker pool. What counts for
//! an object is the time from the acknowledged request to the watch event on which gardenlet's own rule holds. Unlike
//! [`gardenlet`], which waits for one object before it writes the next, this asks for everything it can.
//!
//! The **raw limit** is the same load, answered by the generator itself: right after each request of its own it makes
//! the fewest writes that a controller must, while as many watches as the controllers would have are open and read. No
//! controller that works from outside does with less.

mod counters;
mod raw;
mod swell;
mod watched;
mod wire;
mod writers;

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use kube::Client;
use tokio::{
    task::JoinSet,
    time::{Instant as Deadline, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

pub use self::{
    counters::{Counters, Requests, Tally},
    raw::raw_watches,
    swell::swollen,
    watched::Sample,
};
use self::{
    watched::Watched,
    wire::Wire,
    writers::{Asked, Part},
};
use crate::{gardenlet, shoot::Landscape};

/// The kinds of the extension objects.
pub const KINDS: [&str; 5] = ["Infrastructure", "ControlPlane", "OperatingSystemConfig", "Network", "Worker"];

/// Without any progress for this long, there will be none.
const PATIENCE: Duration = Duration::from_secs(120);

/// The resolution of times in a status.
const A_SECOND: Duration = Duration::from_secs(1);

/// How often the generator looks whether it is late itself.
const TICK: Duration = Duration::from_millis(10);

/// What happens to all objects of all Shoots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// They are written for the first time, after their namespace and Cluster.
    Create,
    /// They are asked for again, after their Cluster changed.
    Reconcile,
    /// They are let go for another seed to take over.
    Migrate,
    /// They arrive from another seed.
    Restore,
    /// Their deletion is confirmed, and they are deleted.
    Delete,
}

impl Phase {
    /// Its name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.of_a_shoot().as_str()
    }

    /// What happens to the Shoot meanwhile.
    const fn of_a_shoot(self) -> gardenlet::Phase {
        match self {
            Self::Create => gardenlet::Phase::Create,
            Self::Reconcile => gardenlet::Phase::Reconcile,
            Self::Migrate => gardenlet::Phase::Migrate,
            Self::Restore => gardenlet::Phase::Restore,
            Self::Delete => gardenlet::Phase::Delete,
        }
    }
}

/// Who answers the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Controllers, whosesoever.
    Controllers,
    /// The load generator, with the fewest writes that a controller must make.
    Raw,
    /// Nobody: an object counts as ready as soon as the watch shows what was asked of it.
    Nobody,
}

/// How much is asked for, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of the first Shoot.
    pub first: usize,
    /// How many Shoots there are.
    pub shoots: usize,
    /// How many requests are under way at the same time.
    pub writers: usize,
    /// Objects a second, whatever becomes of them; without it, as many as the writers can.
    pub rate: Option<f64>,
    /// How long before its objects a Cluster is written. It is no part of what a phase takes.
    pub lead: Duration,
    /// Who answers.
    pub answer: Answer,
}

/// Why the load could not be put on, or will never be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The API server refused a request of the generator.
    #[error("cannot {verb} {object}: {source}")]
    Request {
        /// What was attempted.
        verb: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// A watch ended, and with it the only proof of what is ready.
    #[error("the watch of {kind} ended: {reason}")]
    Watch {
        /// The kind.
        kind: &'static str,
        /// Why it ended.
        reason: String,
    },
    /// gardenlet would wait for ever.
    #[error("{left} objects are not ready, and none has become so for {} s; one of them is {object}: {rule}", .after.as_secs())]
    Overdue {
        /// How many there are.
        left: usize,
        /// One of them.
        object: String,
        /// What is not as gardenlet wants it.
        rule: String,
        /// For how long there was no progress.
        after: Duration,
    },
    /// The API server's own figures could not be read.
    #[error("cannot read the metrics of the API server: {0}")]
    Metrics(Box<kube::Error>),
    /// A task of the generator ended.
    #[error("the load generator failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// What came of a phase.
#[derive(Clone, Debug)]
pub struct Played {
    /// One for each object.
    pub samples: Vec<Sample>,
    /// The first request, which is for a Cluster, and later by [`Options::lead`].
    pub began: Instant,
    /// When an event made the last object ready, since it began.
    pub took: Duration,
    /// When the last request of the generator's own was acknowledged, since it began.
    pub sent_after: Duration,
    /// Requests of the generator itself, without the answers of [`Answer::Raw`].
    pub own: Tally,
    /// How much later than it should a timer of the generator fired: p99.
    pub lag: Duration,
    /// How much later than planned a Shoot was begun at a given rate: the worst.
    pub delay: Duration,
}

/// The load generator.
#[derive(Clone)]
pub struct Load(Arc<Inner>);

struct Inner {
    landscape: Landscape,
    options: Options,
    wire: Arc<Wire>,
    /// For what a controller would write: nothing of it counts as the generator's own.
    answers: Wire,
    watched: Arc<Watched>,
    /// Kept open as long as the generator is.
    _watches: Vec<AbortOnDropHandle<()>>,
}

impl Load {
    /// Opens the watches by which it will see what is ready.
    pub async fn start(client: Client, landscape: Landscape, options: Options) -> Result<Self, LoadError> {
        let watched = Arc::new(Watched::default());
        let mut open = Vec::new();
        let (wire, answers) = (Arc::new(Wire::new(client.clone(), "gardenlet")), Wire::new(client, "controller"));
        for kind in KINDS {
            open.push(watched::follow(wire.clone(), kind, watched.clone()).await?);
        }
        Ok(Self(Arc::new(Inner { landscape, options, wire, answers, watched, _watches: open })))
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.0.options.shoots.saturating_mul(self.objects_of_a_shoot())
    }

    fn objects_of_a_shoot(&self) -> usize {
        self.0.landscape.plan(Some(0)).objects().len()
    }

    /// Does what comes before a phase and is no part of it: what migration left behind is destroyed, and the second of
    /// the last answers passes, as it always has when gardenlet comes back.
    pub async fn prepare(&self, phase: Phase) -> Result<(), LoadError> {
        if phase == Phase::Restore {
            self.send(Asked::Destroy, Instant::now()).await?;
        }
        sleep(A_SECOND).await;
        Ok(())
    }

    /// Does it to all objects and returns when all are ready.
    pub async fn play(&self, phase: Phase) -> Result<Played, LoadError> {
        self.0.watched.take();
        self.0.wire.take();
        let first = Instant::now();
        let began = first + self.0.options.lead;
        let played = async {
            let delay = self.send(Asked::Phase(phase), first).await?;
            let sent_after = began.elapsed();
            self.0.watched.none_left(PATIENCE).await?;
            Ok::<_, LoadError>((delay, sent_after))
        };
        let mut late = Vec::new();
        let (delay, sent_after) = tokio::select! {
            played = played => played?,
            never = tick(&mut late) => match never {},
        };
        late.sort_unstable();
        let lag = late.get(late.len().saturating_mul(99).div_euclid(100)).copied().unwrap_or_default();
        let samples = self.0.watched.take();
        let took = samples.iter().map(|sample| sample.ready.saturating_duration_since(began)).max();
        let own = self.0.wire.take();
        Ok(Played { took: took.unwrap_or_default(), samples, began, sent_after, own, lag, delay })
    }

    /// Only writes what is asked for; [`wait`](Self::wait) sees it through.
    pub async fn ask(&self, phase: Phase) -> Result<(), LoadError> {
        self.0.watched.take();
        self.send(Asked::Phase(phase), Instant::now()).await.map(drop)
    }

    /// Returns when everything that was asked for is ready.
    pub async fn wait(&self) -> Result<(), LoadError> {
        self.0.watched.none_left(PATIENCE).await
    }

    /// Asks `count` times for the reconciliation of one object while nothing else happens.
    pub async fn one_by_one(&self, count: usize) -> Result<Vec<Sample>, LoadError> {
        self.0.watched.take();
        let each = self.objects_of_a_shoot();
        for index in 0..count {
            // Not faster than what is left behind by the one before settles.
            sleep(2 * TICK).await;
            let shoot = index.checked_div(each).unwrap_or_default().checked_rem(self.0.options.shoots);
            let plan = self.0.landscape.plan(Some(self.0.options.first.saturating_add(shoot.unwrap_or_default())));
            let objects = plan.objects();
            if let Some(object) = objects.get(index.checked_rem(each).unwrap_or_default()) {
                self.0.object(&plan, object, Phase::Reconcile).await?;
            }
            self.0.watched.none_left(PATIENCE).await?;
        }
        Ok(self.0.watched.take())
    }

    /// Returns how much later than planned a Shoot was begun at worst.
    async fn send(&self, asked: Asked, first: Instant) -> Result<Duration, LoadError> {
        match self.0.options.rate {
            None => {
                // gardenlet comes to the objects some seconds after the Cluster, and there are controllers that never
                // serve an object whose Cluster they have not seen.
                for part in [Part::Cluster, Part::Objects] {
                    let next = Arc::new(AtomicUsize::new(0));
                    let mut tasks = JoinSet::new();
                    for _ in 0..self.0.options.writers {
                        tasks.spawn(self.0.clone().write(part, asked, next.clone()));
                    }
                    all(tasks).await?;
                    if matches!(part, Part::Cluster) {
                        sleep(self.0.options.lead).await;
                    }
                }
                Ok(Duration::ZERO)
            }
            Some(rate) => {
                let (tasks, delay) = self.pace(asked, rate, first).await;
                all(tasks).await.map(|()| delay)
            }
        }
    }

    /// Begins Shoot after Shoot at a given rate of objects, whatever becomes of those before.
    async fn pace(&self, asked: Asked, rate: f64, first: Instant) -> (JoinSet<Result<(), LoadError>>, Duration) {
        let mut tasks = JoinSet::new();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let period = self.objects_of_a_shoot() as f64 / rate;
        let mut worst = Duration::ZERO;
        for index in 0..self.0.options.shoots {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let planned = first + Duration::from_secs_f64(period * index as f64);
            sleep_until(Deadline::from_std(planned)).await;
            worst = worst.max(planned.elapsed());
            let inner = self.0.clone();
            tasks.spawn(async move {
                inner.cluster(index, asked).await?;
                sleep_until(Deadline::from_std(planned + inner.options.lead)).await;
                inner.shoot(index, asked).await
            });
        }
        (tasks, worst)
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// Returns when all tasks have ended, or one has failed.
async fn all(mut tasks: JoinSet<Result<(), LoadError>>) -> Result<(), LoadError> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Notes by how much a timer is late, each time anew.
async fn tick(late: &mut Vec<Duration>) -> Infallible {
    loop {
        let asleep = Instant::now();
        sleep(TICK).await;
        late.push(asleep.elapsed().saturating_sub(TICK));
    }
}
