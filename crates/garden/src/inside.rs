//! The inside of a garden: starts all programs, each as soon as what it needs is there.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gardener_testbed::gardener_apiserver;
use gardener_testbed::manifests;
use gardener_testbed::supervisor::Supervisor;
use kube::Client;
use serde_json::Value;

use crate::access::{self, Access, write_kubeconfig};
use crate::cluster::{Cluster, answers};
use crate::error::GardenError;
use crate::layout::Layout;
use crate::processes::Processes;
use crate::seed::{self, Seed};
use crate::settings::{Settings, Work};
use crate::shoot::Shoot;
use crate::steps::Steps;
use crate::walkthrough::{self, Stage};
use crate::{control, doors, gardener, gardenlet, junit, network, objects, wait};

/// Limit for a server to answer. A server that cannot start ends much earlier.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// The files of `example` that a user applies before any Shoot, in this order.
const EXAMPLES: [&str; 3] = ["10-project.yaml", "20-cloudprofile.yaml", "30-credentials.yaml"];
const SEED: &str = "40-seed.yaml";

/// A garden, seen from inside.
pub(crate) struct Inside<'a> {
    layout: Layout,
    settings: Settings,
    access: Access,
    garden: Cluster,
    seed_cluster: Cluster,
    pub(crate) seed: Seed,
    processes: &'a Processes,
    pub(crate) steps: Steps<'a>,
    say: &'a dyn Fn(&str),
}

/// Runs the inside of the garden in `folder`, whose settings the outside has written. Returns whether everything that it
/// was started for succeeded. Passes each line for a person to `say`.
pub async fn run(folder: PathBuf, say: &dyn Fn(&str)) -> Result<bool, GardenError> {
    let layout = Layout::new(folder);
    let settings = Settings::read(&layout)?;
    let run = layout.run();
    fs::create_dir_all(&run).map_err(GardenError::system(format!("create {}", run.display())))?;
    let seed = Seed::read(&settings.sources.join("example").join(SEED))?;
    network::set_up(seed.network("services"), &seed.name_server()?, &run).await?;

    let garden = Cluster::garden(network::GARDEN_SERVICES.to_owned());
    let seed_cluster = Cluster::seed(seed.network("services").to_owned());
    let services = [network::address(&garden.services, 1)?, network::address(&seed_cluster.services, 1)?];
    let access = Access::create(&run.join("certificates"), &services.each_ref().map(String::as_str))?;
    let supervisor = Supervisor::owning(run).map_err(GardenError::system("start a supervisor"))?;
    let processes = Processes::new(supervisor, layout.clone());
    let steps = Steps::new(say);
    let inside = Inside { layout, settings, access, garden, seed_cluster, seed, processes: &processes, steps, say };
    tokio::select! {
        result = inside.work() => result,
        error = processes.unexpected_end() => Err(error.into()),
        error = control::serve(&inside.layout, &processes) => error.map(|()| false),
    }
}

impl Inside<'_> {
    async fn work(&self) -> Result<bool, GardenError> {
        match &self.settings.work {
            Work::Up => self.up().await,
            Work::Test { junit, full } => {
                let result = self.walkthrough(*full).await;
                if let Some(file) = junit {
                    let report = junit::report("garden", &self.steps.done()).map_err(std::io::Error::other);
                    let written = report.and_then(|report| fs::write(file, report));
                    written.map_err(GardenError::system(format!("write {}", file.display())))?;
                }
                result.map(|()| true)
            }
        }
    }

    async fn up(&self) -> Result<bool, GardenError> {
        let garden = self.bring_up().await?;
        self.tell();
        let mut shoots = Vec::new();
        for file in &self.settings.shoots {
            for manifest in manifests::read(file)? {
                objects::apply(&garden, &manifest).await?;
                if manifest.get("kind").and_then(Value::as_str) == Some("Shoot") {
                    shoots.push(Shoot::of(&garden, &manifest));
                }
            }
        }
        for shoot in shoots {
            self.steps.run(&format!("Shoot {}: reconciled", shoot.name), shoot.succeeds(self.say)).await?;
        }
        let ready = self.layout.ready();
        fs::write(&ready, "").map_err(GardenError::system(format!("write {}", ready.display())))?;
        std::future::pending().await
    }

    async fn walkthrough(&self, full: bool) -> Result<(), GardenError> {
        let garden = self.bring_up().await?;
        let seed = self.client(&self.seed_cluster).await?;
        let examples = self.settings.sources.join("example");
        walkthrough::play(&Stage { garden, seed, examples, full, steps: &self.steps, say: self.say }).await
    }

    /// Starts everything. Returns a client of the garden cluster when the Seed is ready.
    async fn bring_up(&self) -> Result<Client, GardenError> {
        let apis = self.steps.run("the API servers of garden and seed answer", self.api_servers()).await?;
        let garden = self.steps.run("Gardener's API is served", self.gardener_api(apis)).await?;
        self.steps.run("registrations and examples are accepted", self.examples(&garden)).await?;
        let name = self.seed.name().to_owned();
        let ready = async {
            self.start_gardenlet().await?;
            seed::ready(&garden, &name).await
        };
        self.steps.run(&format!("the Seed {name} is ready"), ready).await?;
        Ok(garden)
    }

    /// Starts both etcds and kube-apiservers, and opens the doors.
    async fn api_servers(&self) -> Result<(Client, Client), GardenError> {
        for cluster in [&self.garden, &self.seed_cluster] {
            self.processes.start(cluster.etcd()).await?;
            self.processes.start(cluster.kube_apiserver(&self.access)).await?;
            let inside = self.access.kubeconfig(cluster.name, cluster.port);
            write_kubeconfig(&self.layout.kubeconfig_inside(cluster.name), &inside)?;
            let door = self.layout.door(cluster.name);
            let listening = doors::Socket::at(&door).and_then(|socket| socket.listen());
            let listener = listening.map_err(GardenError::system(format!("open the door {}", door.display())))?;
            tokio::spawn(doors::inner(listener, cluster.port));
        }
        let doors = self.settings.doors;
        for (cluster, port) in [("garden", doors.garden), ("seed", doors.seed)] {
            write_kubeconfig(&self.layout.kubeconfig(cluster), &self.access.kubeconfig(cluster, port))?;
        }
        let (garden, seed) = (self.client(&self.garden).await?, self.client(&self.seed_cluster).await?);
        self.answer(&garden, "the garden's kube-apiserver", "/readyz").await?;
        self.answer(&seed, "the seed's kube-apiserver", "/readyz").await?;
        Ok((garden, seed))
    }

    /// Starts all controllers of Kubernetes, the players and Gardener's API server, and what depends on that.
    async fn gardener_api(&self, (garden, seed): (Client, Client)) -> Result<Client, GardenError> {
        let in_garden = self.kubeconfig(&self.garden);
        let in_seed = self.kubeconfig(&self.seed_cluster);
        let gardener = gardener::gardener_apiserver(&self.garden, &self.access, &in_garden);
        self.processes.start(gardener).await?;
        self.processes.start(self.garden.kube_controller_manager(&self.access, &in_garden)).await?;
        self.processes.start(self.seed_cluster.kube_controller_manager(&self.access, &in_seed)).await?;
        self.processes.start(self.seed_cluster.kube_scheduler(&in_seed)).await?;
        self.processes.start(self.seed.players(&in_seed, &self.layout)?).await?;
        objects::apply_all(&seed, &seed::of_chart()).await?;
        objects::apply_all(&garden, &gardener::of_operator()).await?;

        // Register the server only when it is ready: the aggregator probes a failing server less and less often.
        let direct = self.access.kubeconfig("gardener", gardener::PORT);
        self.answer(&access::client(&direct).await?, "gardener-apiserver", "/readyz").await?;
        gardener_apiserver::register(&garden, gardener::PORT, &self.access.authority()).await?;
        for path in gardener_apiserver::served() {
            self.answer(&garden, "Gardener's API", &path).await?;
        }
        let folder = self.processes.folder();
        self.processes.start(gardener::controller_manager(&in_garden, &folder)?).await?;
        self.processes.start(gardener::scheduler(&in_garden, &folder)?).await?;
        Ok(garden)
    }

    /// Applies what a user applies: the rendered registrations, and the examples up to the Seed.
    async fn examples(&self, garden: &Client) -> Result<(), GardenError> {
        let Settings { sources, .. } = &self.settings;
        let registrations = sources.join("deploy/controllerregistrations.yaml");
        objects::apply_all(garden, &manifests::read(&registrations)?).await?;
        for file in EXAMPLES {
            objects::apply_all(garden, &manifests::read(&sources.join("example").join(file))?).await?;
        }
        objects::apply_all(garden, &self.seed.others).await
    }

    async fn start_gardenlet(&self) -> Result<(), GardenError> {
        let folder = self.processes.folder();
        let kubeconfig = folder.join("gardenlet.kubeconfig");
        write_kubeconfig(&kubeconfig, &self.access.kubeconfig_of_gardenlet(self.garden.port, self.seed.name())?)?;
        let recipe = gardenlet::gardenlet(
            &kubeconfig.display().to_string(),
            &self.kubeconfig(&self.seed_cluster),
            &self.seed.manifest,
            &self.settings.feature_gates,
            &folder,
        )?;
        self.processes.start(recipe).await
    }

    /// Returns when a server answers.
    async fn answer(&self, client: &Client, server: &str, path: &str) -> Result<(), GardenError> {
        wait::until(ANSWERS_WITHIN, &format!("{server} does not answer"), async || answers(client, path).await).await
    }

    async fn client(&self, cluster: &Cluster) -> Result<Client, GardenError> {
        access::client(&self.access.kubeconfig(cluster.name, cluster.port)).await
    }

    fn kubeconfig(&self, cluster: &Cluster) -> String {
        self.layout.kubeconfig_inside(cluster.name).display().to_string()
    }

    /// Tells a person how to use the garden.
    fn tell(&self) {
        let file = |cluster: &str| self.layout.kubeconfig(cluster).display().to_string();
        (self.say)(&format!(
            "\nexport KUBECONFIG={}   # the garden\nexport KUBECONFIG={}   # the seed\n\nCtrl-C ends everything\n",
            file("garden"),
            file("seed")
        ));
    }
}
