//! The inside of a garden: starts all programs, each as soon as what it needs is there.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use extension_contract::json::text;
use futures::future::join_all;
use gardener_testbed::manifests;
use gardener_testbed::supervisor::Supervisor;
use gardener_testbed::{causes, gardener_apiserver};
use kube::Client;
use serde_json::Value;

use crate::access::{self, Access, write_kubeconfig};
use crate::cluster::{Cluster, answers};
use crate::error::GardenError;
use crate::layout::Layout;
use crate::load::{Load, Server, Usages};
use crate::news::{News, Say};
use crate::processes::Processes;
use crate::seed::{self, Seed, Seeds};
use crate::settings::{Door, Settings, Wanted, Work};
use crate::shoot::{Shoot, with_all_waits};
use crate::steps::Steps;
use crate::walkthrough::{self, Stage};
use crate::{backups, control, doors, gardener, gardenlet, junit, kubeconfigs, network, nodes, objects, wait};

/// Limit for a server to answer. A server that cannot start ends much earlier.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// The files of `example` that a user applies before any Shoot, in this order.
const EXAMPLES: [&str; 3] = ["10-project.yaml", "20-cloudprofile.yaml", "30-credentials.yaml"];
/// The Shoot of a load.
const LOADED: &str = "56-shoot-hibernated.yaml";

/// A garden, seen from inside.
pub(crate) struct Inside<'a> {
    layout: Layout,
    settings: Settings,
    access: Access,
    garden: Cluster,
    seeds: Seeds,
    processes: &'a Processes,
    pub(crate) steps: Steps<'a>,
    say: Say<'a>,
}

/// Runs the inside of the garden in `folder`, whose settings the outside has written. Returns whether everything that it
/// was started for succeeded. Passes what it tells a person to `say`.
pub async fn run(folder: PathBuf, say: Say<'_>) -> Result<bool, GardenError> {
    let layout = Layout::new(folder);
    let settings = Settings::read(&layout)?;
    let run = layout.run();
    fs::create_dir_all(&run).map_err(GardenError::system(format!("create {}", run.display())))?;
    let seeds = Seeds::read(&settings.wanted)?;
    let garden = Cluster::garden();
    let clusters: Vec<_> = std::iter::once(&garden).chain(seeds.list.iter().map(|seed| &seed.cluster)).collect();
    for seed in &seeds.list {
        network::write_resolver(&seed.resolver(&layout), &seed.name_server()?)?;
    }
    // A shell inside, too, resolves the names of the first Seed.
    let first = seeds.list.first().ok_or_else(|| GardenError::Unusable("a garden needs a Seed".to_owned()))?;
    network::set_up(clusters.iter().map(|cluster| cluster.services.as_str()), &first.resolver(&layout)).await?;

    let access = Access::create(&run.join("certificates"), &clusters)?;
    let supervisor = Supervisor::owning(run).map_err(GardenError::system("start a supervisor"))?;
    let processes = Processes::new(supervisor, layout.clone());
    let steps = Steps::new(say);
    let inside = Inside { layout, settings, access, garden, seeds, processes: &processes, steps, say };
    tokio::select! {
        result = inside.work() => result,
        error = processes.unexpected_end() => Err(error.into()),
        error = control::serve(&inside.layout, &processes) => error.map(|()| false),
    }
}

impl Inside<'_> {
    async fn work(&self) -> Result<bool, GardenError> {
        match &self.settings.wanted.work {
            Work::Up => self.up().await.map(|never| match never {}),
            Work::Test { junit, full } => {
                let result = self.walkthrough(*full).await;
                self.steps.sum_up();
                if let Some(file) = junit {
                    let report = junit::report("garden", &self.steps.done()).map_err(std::io::Error::other);
                    let written = report.and_then(|report| fs::write(file, report));
                    written.map_err(GardenError::system(format!("write {}", file.display())))?;
                }
                result.map(|()| true)
            }
            Work::Load { shoots, rate } => self.load(*shoots, *rate).await,
        }
    }

    async fn up(&self) -> Result<Infallible, GardenError> {
        let garden = self.bring_up().await?;
        self.tell();
        for seed in &self.seeds.list {
            let gateway = kubeconfigs::gateway(&self.client(&seed.cluster).await?).await?;
            Self::open(&self.layout.door_to_shoots(&seed.cluster.name), gateway)?;
        }
        let follow = kubeconfigs::follow(&garden, &self.layout, &self.settings.doors, self.say);
        tokio::select! {
            result = self.create_shoots(&garden) => result,
            never = follow => match never {},
        }
    }

    async fn create_shoots(&self, garden: &Client) -> Result<Infallible, GardenError> {
        let mut shoots = Vec::new();
        for manifest in self.shoots()? {
            objects::apply(garden, &manifest).await?;
            if text(&manifest, "kind") == Some("Shoot") {
                shoots.push(Shoot::of(garden, &manifest));
            }
        }
        let seen = shoots.iter().map(async |shoot| {
            let name = format!("Shoot {}: reconciled", shoot.name);
            // A Shoot that fails is there to be looked at.
            if let Err(why) = self.steps.run(&name, shoot.succeeds(self.say)).await {
                (self.say)(News::Error(causes(&why)));
                // Without a Seed, there is nothing to explain.
                if let (Ok(id), Ok(seed)) = (shoot.technical_id().await, shoot.seed().await)
                    && let Ok(cluster) = self.settings.cluster_of(Some(&seed))
                {
                    let [seed, garden] = [cluster, "garden"].map(|cluster| self.layout.kubeconfig(cluster));
                    let files = format!("--kubeconfig {} --garden-kubeconfig {}", seed.display(), garden.display());
                    (self.say)(News::Line(format!(
                        "look at it with `cargo xtask explain {id} {files}`; the garden stays"
                    )));
                }
            }
        });
        join_all(seen).await;
        std::future::pending().await
    }

    async fn walkthrough(&self, full: bool) -> Result<(), GardenError> {
        let garden = self.bring_up().await?;
        let mut seeds = Vec::new();
        for seed in &self.seeds.list {
            seeds.push((seed.name().to_owned(), self.client(&seed.cluster).await?));
        }
        let (sources, layout) = (self.settings.wanted.sources.clone(), &self.layout);
        walkthrough::play(&Stage { garden, seeds, layout, sources, full, steps: &self.steps, say: self.say }).await
    }

    async fn load(&self, shoots: u32, rate: f64) -> Result<bool, GardenError> {
        let [seed] = self.seeds.list.as_slice() else {
            return Err(GardenError::Unusable("a load is for one Seed: leave out --seeds".to_owned()));
        };
        let garden = self.bring_up().await?;
        let shoot = manifests::read_one(&self.settings.wanted.sources.join("example").join(LOADED))?;
        // gardenlet installs most controllers for the first Shoot that needs them.
        let first = async {
            objects::apply(&garden, &shoot).await?;
            Shoot::of(&garden, &shoot).succeeds(self.say).await
        };
        self.steps.run("a first Shoot is created, and all controllers are installed", first).await?;
        let gardener = access::client(&self.access.kubeconfig("gardener", gardener::PORT)).await?;
        let servers = vec![
            Server::count("garden", garden.clone()).await?,
            Server::count("gardener", gardener).await?,
            Server::count("seed", self.client(&seed.cluster).await?).await?,
        ];
        let addresses = [(&self.garden, "garden"), (&seed.cluster, "seed")]
            .map(|(of, name)| (format!("127.0.0.1:{}", of.port), name));
        let usages = Usages {
            processes: self.processes,
            gardenlet: gardenlet::metrics(seed)?,
            addresses: addresses.into(),
            servers,
        };
        let load = Load { garden, shoot, shoots, rate, usages, say: self.say };
        let name = format!("{shoots} Shoots are created");
        self.steps.run(&name, load.run(&self.layout)).await
    }

    /// Starts everything. Returns a client of the garden cluster when the Seeds are ready.
    async fn bring_up(&self) -> Result<Client, GardenError> {
        self.steps.run("the API servers of garden and seed answer", self.api_servers()).await?;
        let garden = self.client(&self.garden).await?;
        self.steps.run("Gardener's API is served", self.gardener_api(&garden)).await?;
        self.steps.run("registrations and examples are accepted", self.examples(&garden)).await?;
        if !self.settings.wanted.shoots.is_empty() {
            self.steps.run("the files of --shoot are accepted", self.files_of_user(&garden)).await?;
        }
        for seed in &self.seeds.list {
            self.start_gardenlet(seed).await?;
        }
        for seed in &self.seeds.list {
            let name = seed.name();
            self.steps.run(&format!("the Seed {name} is ready"), seed::ready(&garden, name)).await?;
        }
        Ok(garden)
    }

    fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        std::iter::once(&self.garden).chain(self.seeds.list.iter().map(|seed| &seed.cluster))
    }

    /// Starts etcd and kube-apiserver of each cluster, and opens the doors. Returns when all API servers answer.
    async fn api_servers(&self) -> Result<(), GardenError> {
        for cluster in self.clusters() {
            self.processes.start(cluster.etcd()).await?;
            self.processes.start(cluster.kube_apiserver(&self.access)).await?;
            let inside = self.access.kubeconfig(&cluster.name, cluster.port);
            write_kubeconfig(&self.layout.kubeconfig_inside(&cluster.name), &inside)?;
            Self::open(&self.layout.door(&cluster.name), SocketAddr::from(([127, 0, 0, 1], cluster.port)))?;
        }
        for Door { cluster, port, .. } in &self.settings.doors {
            write_kubeconfig(&self.layout.kubeconfig(cluster), &self.access.kubeconfig(cluster, *port))?;
        }
        for cluster in self.clusters() {
            let client = self.client(cluster).await?;
            self.answer(&client, &format!("the kube-apiserver of the {}", cluster.name), "/readyz").await?;
        }
        Ok(())
    }

    /// Starts all controllers of Kubernetes, the players and Gardener's API server, and what depends on that.
    async fn gardener_api(&self, garden: &Client) -> Result<(), GardenError> {
        let in_garden = self.kubeconfig(&self.garden);
        let gardener = gardener::gardener_apiserver(&self.garden, &self.access, &in_garden);
        self.processes.start(gardener).await?;
        self.processes.start(self.garden.kube_controller_manager(&self.access, &in_garden)).await?;
        for seed in &self.seeds.list {
            let cluster = &seed.cluster;
            let in_seed = self.kubeconfig(cluster);
            self.processes.start(cluster.kube_controller_manager(&self.access, &in_seed)).await?;
            self.processes.start(cluster.kube_scheduler(&in_seed)).await?;
            self.processes.start(seed.players(&in_seed, &self.layout)?).await?;
            objects::apply_all(&self.client(cluster).await?, &seed::of_chart()).await?;
        }
        objects::apply_all(garden, &gardener::of_operator()).await?;

        // Register the server only when it is ready: the aggregator probes a failing server less and less often.
        let direct = self.access.kubeconfig("gardener", gardener::PORT);
        self.answer(&access::client(&direct).await?, "gardener-apiserver", "/readyz").await?;
        gardener_apiserver::register(garden, gardener::PORT, &self.access.authority()).await?;
        for path in gardener_apiserver::served() {
            self.answer(garden, "Gardener's API", &path).await?;
        }
        let folder = self.processes.folder();
        self.processes.start(gardener::controller_manager(&in_garden, &folder)?).await?;
        self.processes.start(gardener::scheduler(&in_garden, &folder)?).await
    }

    /// Applies what a user applies: the rendered registrations, and the examples up to the Seed.
    async fn examples(&self, garden: &Client) -> Result<(), GardenError> {
        let Wanted { sources, .. } = &self.settings.wanted;
        let registrations = sources.join("deploy/controllerregistrations.yaml");
        let registrations: Vec<_> =
            manifests::read(&registrations)?.into_iter().map(backups::served).map(nodes::kept).collect();
        objects::apply_all(garden, &registrations).await?;
        for file in EXAMPLES {
            objects::apply_all(garden, &manifests::read(&sources.join("example").join(file))?).await?;
        }
        objects::apply_all(garden, &self.seeds.others).await
    }

    /// Applies the objects beside the user's Shoots, and asks whether Gardener would accept the Shoots: what it refuses is
    /// said before the Seed takes a minute. A Shoot that names a Seed has to wait for it.
    async fn files_of_user(&self, garden: &Client) -> Result<(), GardenError> {
        for manifest in self.shoots()? {
            if text(&manifest, "kind") != Some("Shoot") {
                objects::apply(garden, &manifest).await?;
            } else if text(&manifest, "spec.seedName").is_none() {
                objects::would_be_accepted(garden, &manifest).await?;
            }
        }
        Ok(())
    }

    /// The objects of the files that the user gives.
    fn shoots(&self) -> Result<Vec<Value>, GardenError> {
        let mut objects = Vec::new();
        for file in &self.settings.wanted.shoots {
            objects.extend(manifests::read(file)?.into_iter().map(with_all_waits));
        }
        Ok(objects)
    }

    async fn start_gardenlet(&self, seed: &Seed) -> Result<(), GardenError> {
        let kubeconfig = self.layout.kubeconfig_inside(&seed.process("gardenlet"));
        write_kubeconfig(&kubeconfig, &self.access.kubeconfig_of_gardenlet(self.garden.port, seed.name())?)?;
        let recipe = gardenlet::gardenlet(
            &kubeconfig.display().to_string(),
            &self.kubeconfig(&seed.cluster),
            seed,
            &self.settings.wanted.feature_gates,
            // A load reads the start and the end of each step from the log.
            if matches!(self.settings.wanted.work, Work::Load { .. }) { "debug" } else { "info" },
            &self.layout,
        )?;
        self.processes.start(recipe).await
    }

    /// Opens the inner end of a door.
    fn open(door: &Path, server: SocketAddr) -> Result<(), GardenError> {
        let listening = doors::Socket::at(door).and_then(|socket| socket.listen());
        let listener = listening.map_err(GardenError::system(format!("open the door {}", door.display())))?;
        tokio::spawn(doors::inner(listener, server));
        Ok(())
    }

    /// Returns when a server answers.
    async fn answer(&self, client: &Client, server: &str, path: &str) -> Result<(), GardenError> {
        wait::until(ANSWERS_WITHIN, &format!("{server} does not answer"), async || answers(client, path).await).await
    }

    async fn client(&self, cluster: &Cluster) -> Result<Client, GardenError> {
        access::client(&self.access.kubeconfig(&cluster.name, cluster.port)).await
    }

    fn kubeconfig(&self, cluster: &Cluster) -> String {
        self.layout.kubeconfig_inside(&cluster.name).display().to_string()
    }

    /// Tells a person how to use the garden.
    fn tell(&self) {
        let line = |text: String| (self.say)(News::Line(text));
        line(String::new());
        for Door { cluster, seed, .. } in &self.settings.doors {
            let whose = seed.as_ref().map_or_else(|| "the garden".to_owned(), |seed| format!("the Seed {seed}"));
            line(format!("export KUBECONFIG={}   # {whose}", self.layout.kubeconfig(cluster).display()));
        }
        line("\nCtrl-C ends everything\n".to_owned());
    }
}
