//! What a person sees while a garden runs: lines in a pipe, and in a terminal a picture of what goes on below them.

mod known;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::jiff::Timestamp;
use mock_core::process::client::connect;
use mock_explain::watch::Change;
use mock_explain::{Ours, Reader, Seed, Watching};
use mock_garden::outside::Outside;
use mock_garden::{Layout, News, Operated, Settings};
use mock_view::{Screen, say};
use tokio::time::{MissedTickBehavior, interval};

use self::known::Known;
use crate::explain::{group, ours};

/// Pause between two drawings, which show whole seconds.
const FRAME: Duration = Duration::from_millis(250);
/// Pause between two looks at what gardenlets work on.
const LOOK: Duration = Duration::from_secs(1);
/// Extension objects are explained while gardenlets work on so many Shoots at most. Of more, a terminal shows less.
const EXPLAINED: usize = 8;

/// Shows what the inside of a garden tells. Returns when it has ended. The last picture is then still on the screen.
pub(super) async fn show(garden: &mut Outside, screen: &mut Screen, is_load: bool) {
    if screen.is_live() {
        return draw(garden, screen, is_load).await;
    }
    while let Some(news) = garden.news().await {
        match news {
            News::Begun(_) => {}
            News::Ended { line, .. } | News::Line(line) | News::Passing(line) => say!("{line}"),
            News::Error(line) => eprintln!("{line}"),
        }
    }
}

async fn draw(garden: &mut Outside, screen: &mut Screen, is_load: bool) {
    let (operated, following) = Operated::follow(garden.layout());
    let mut following = std::pin::pin!(following);
    let mut known = Known::of(is_load);
    let mut objects = Objects::new(garden.layout());
    let [mut frame, mut look] = [FRAME, LOOK].map(|pause| {
        let mut interval = interval(pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        interval
    });
    loop {
        tokio::select! {
            news = garden.news() => match news {
                Some(news) => known.hear(news, Timestamp::now()).into_iter().for_each(|line| screen.note(line)),
                None => return,
            },
            never = &mut following => match never {},
            Some((seed, change)) = objects.changes.next() => objects.apply(&seed, change),
            _ = look.tick() => {
                known.see(operated.all());
                // The watches of a picture would be a part of the load.
                if !is_load {
                    objects.explain(&mut known).await;
                }
            }
            _ = frame.tick() => {
                screen.draw(|size, coloured| rows::picture(&known, size, coloured, Timestamp::now()));
            }
        }
    }
}

/// The extension objects in the clusters of Seeds.
struct Objects {
    layout: Layout,
    ours: Vec<Ours>,
    seeds: BTreeMap<String, Watching>,
    changes: SelectAll<BoxStream<'static, (String, Change)>>,
}

impl Objects {
    fn new(layout: &Layout) -> Self {
        let (ours, seeds, changes) = (ours(), BTreeMap::new(), SelectAll::new());
        Self { layout: layout.clone(), ours, seeds, changes }
    }

    fn apply(&mut self, seed: &str, (kind, event): Change) {
        // A watch that fails begins again by itself.
        if let (Some(watching), Ok(event)) = (self.seeds.get_mut(seed), event) {
            watching.apply(kind, event);
        }
    }

    /// Explains the objects of the Shoots that gardenlets work on.
    async fn explain(&mut self, known: &mut Known) {
        let mut shoots = known.shoots_in_work();
        if shoots.values().map(BTreeMap::len).sum::<usize>() > EXPLAINED {
            shoots.clear();
        }
        let mut explained = BTreeMap::<_, Vec<_>>::new();
        for (name, clusters) in shoots {
            self.watch(&name).await;
            let Some(watching) = self.seeds.get(&name) else { continue };
            let mut objects = watching.objects(None);
            objects.retain(|found| found.shoot_namespace().is_some_and(|namespace| clusters.contains_key(namespace)));
            let seed = Seed { objects, clusters, ..Seed::default() };
            for explanation in watching.explain(&seed, &self.ours, Timestamp::now()) {
                explained.entry(group(&explanation, &seed)).or_default().push(explanation);
            }
        }
        known.explain(explained);
    }

    /// Begins to watch the objects of a Seed. All their kinds exist once a Seed has a Shoot.
    async fn watch(&mut self, seed: &str) {
        if self.seeds.contains_key(seed) {
            return;
        }
        let settings = Settings::read(&self.layout);
        let Some(cluster) = settings.ok().and_then(|settings| Some(settings.cluster_of(Some(seed)).ok()?.to_owned()))
        else {
            return;
        };
        if let Ok(client) = connect(Some(&self.layout.kubeconfig(&cluster))).await {
            let seed = seed.to_owned();
            self.seeds.insert(seed.clone(), Watching::default());
            self.changes.push(Reader::new(client, None).watch(None).map(move |change| (seed.clone(), change)).boxed());
        }
    }
}
