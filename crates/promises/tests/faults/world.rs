//! The world of one fault: separate servers, one controller's kind, and a namespace of a Shoot.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use extension_conformance::launcher::CommandLine;
use extension_conformance::{Feature, Scene, Subject, Suite, ensure, eventually, merged};
use extension_contract::{kinds, readiness};
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::process::Process;
use libtest_mimic::Failed;
use mock_core::deploy::rbac;
use mock_fleet::kinds::Package;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::http::Http;
use crate::link::Link;

/// Limit of every wait. Each fault asserts less.
pub(crate) const LIMIT: Duration = Duration::from_secs(150);
/// Limit for a process to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Separate servers, one kind, and a namespace.
pub(crate) struct World {
    /// The kit's view of the namespace. Its requests go to the API server directly.
    pub(crate) scene: Scene,
    bed: Arc<TestBed>,
    /// Forwards TCP to the API server: here, the controller speaks TLS with it.
    pub(crate) link: Link,
    /// Forwards requests to the API server.
    pub(crate) http: Http,
    package: Package,
    started: AtomicUsize,
}

impl World {
    pub(crate) async fn start(assets: &Assets, kind: &str, fault: &str) -> Result<Self, Failed> {
        let package = Package::parse(kind)?;
        let name = package.full_name();
        let bed = TestBed::start(assets, Options { users: vec![name.clone()], ..Options::default() }).await?;
        bed.grant(&name, [package.rules(), rbac::lease_rules(&name)].concat()).await?;
        let port = server_port(&bed)?;
        let (link, http) = (Link::open(port).await?, Http::start(&bed).await?);
        let type_ = *package.types.first().ok_or("the kind serves no type")?;
        let found = kinds::find(package.kind()).ok_or("an unknown kind")?;
        let subject = Subject { features: Feature::ALL.to_vec(), ..Subject::new(found, type_, spec(kind)) };
        // The faults start their controllers themselves.
        let launcher = CommandLine { words: Vec::new(), kubeconfig: PathBuf::new(), type_: String::new() };
        let bed = Arc::new(bed);
        let suite = Arc::new(Suite::new(bed.clone(), subject, Arc::new(launcher)).await?);
        let scene = Scene::create(suite, fault).await?;
        Ok(Self { scene, bed, link, http, package, started: AtomicUsize::new(0) })
    }

    pub(crate) fn bed(&self) -> &TestBed {
        &self.bed
    }

    /// The controller's user and name.
    pub(crate) fn name(&self) -> String {
        self.package.full_name()
    }

    /// The port of the API server.
    pub(crate) fn server_port(&self) -> Result<u16, Failed> {
        server_port(self.bed())
    }

    /// Gives the controller its permissions.
    pub(crate) async fn grant(&self) -> Result<(), Failed> {
        let name = self.name();
        Ok(self.bed().grant(&name, [self.package.rules(), rbac::lease_rules(&name)].concat()).await?)
    }

    /// Starts a controller whose requests pass [`World::link`].
    pub(crate) async fn linked(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        let controller = self.controller(&format!("https://127.0.0.1:{}", self.link.port), arguments)?;
        controller.ready().await
    }

    /// Starts a controller whose requests pass [`World::http`].
    pub(crate) async fn proxied(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        self.unready(arguments)?.ready().await
    }

    /// Starts a controller whose requests pass [`World::http`]. Does not wait for it.
    pub(crate) fn unready(&self, arguments: &[&str]) -> Result<Controller, Failed> {
        self.controller(&format!("http://127.0.0.1:{}", self.http.port), arguments)
    }

    /// Starts a controller that sends its requests to `server`. Does not wait for it.
    pub(crate) fn controller(&self, server: &str, arguments: &[&str]) -> Result<Controller, Failed> {
        self.with_kubeconfig(&self.kubeconfig_for(server)?, arguments)
    }

    /// Starts a controller whose requests pass [`World::http`], with these variables. Does not wait for it.
    pub(crate) fn with_variables(
        &self,
        variables: &[(&str, String)],
        arguments: &[&str],
    ) -> Result<Controller, Failed> {
        let mut command = Command::new(program(self.package)?);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.start_program(command, &self.kubeconfig_for(&format!("http://127.0.0.1:{}", self.http.port))?, arguments)
    }

    /// Starts a controller with this kubeconfig. Does not wait for it.
    pub(crate) fn with_kubeconfig(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Controller, Failed> {
        self.start_program(Command::new(program(self.package)?), kubeconfig, arguments)
    }

    /// The file of a new kubeconfig for a server.
    fn kubeconfig_for(&self, server: &str) -> Result<PathBuf, Failed> {
        let number = self.started.fetch_add(1, Relaxed);
        let path = self.bed().dir().join(format!("kubeconfig-{number}"));
        fs::write(&path, self.kubeconfig(server)?.to_string())?;
        Ok(path)
    }

    fn start_program(&self, mut command: Command, kubeconfig: &Path, arguments: &[&str]) -> Result<Controller, Failed> {
        command.arg("--kubeconfig").arg(kubeconfig).args(["--log-format", "json"]).args(arguments);
        command.env_remove("RUST_LOG").env("HOME", "/nowhere");
        let log = self.scene.suite().new_log(self.scene.namespace())?;
        Ok(Controller(Process::start(self.bed().supervisor(), self.name(), command, log)?))
    }

    /// The controller's kubeconfig for a server, with the namespace for Leases.
    pub(crate) fn kubeconfig(&self, server: &str) -> Result<Value, Failed> {
        let mut kubeconfig: Value = serde_json::from_slice(&fs::read(self.bed().kubeconfig_for(&self.name())?)?)?;
        for (path, value) in [
            ("/clusters/0/cluster/server", json!(server)),
            ("/contexts/0/context/namespace", json!(self.scene.namespace())),
        ] {
            let (parent, field) = path.rsplit_once('/').ok_or("a path without a parent")?;
            let parent = kubeconfig.pointer_mut(parent).ok_or("the kubeconfig lacks a field")?;
            *parent = merged(parent.take(), &json!({ field: value }));
        }
        Ok(kubeconfig)
    }

    /// Creates an object as gardenlet does, or asks for a reconciliation. Returns once the API server has accepted it.
    pub(crate) async fn ask(&self, name: &str) -> Result<(), Failed> {
        let type_ = &self.scene.suite().subject().type_;
        eventually(LIMIT, || self.scene.ask_of_type(name, type_, "reconcile")).await
    }

    /// Waits until every named object is as gardenlet wants it. Returns how long that took.
    pub(crate) async fn until_served(&self, names: &[&str]) -> Result<Duration, Failed> {
        let began = Instant::now();
        for name in names {
            eventually(LIMIT, || async {
                let object = self.scene.get(name).await?;
                let unmet = readiness::check(&object, None).err().map(|unmet| unmet.to_string());
                ensure(
                    unmet.is_none() && self.scene.holds(&object),
                    format!("{name} is not ready: {unmet:?}\n{object:#}"),
                )
            })
            .await?;
        }
        Ok(began.elapsed())
    }

    /// Asks for objects, and waits until they are as gardenlet wants them.
    pub(crate) async fn serves(&self, names: &[&str]) -> Result<Duration, Failed> {
        for name in names {
            self.ask(name).await?;
        }
        self.until_served(names).await
    }
}

/// A running controller. It is killed when this value is dropped.
pub(crate) struct Controller(pub(crate) Process);

impl Controller {
    /// Returns when the controller is ready.
    pub(crate) async fn ready(mut self) -> Result<Self, Failed> {
        self.until_logged(r#""message":"ready""#).await?;
        Ok(self)
    }

    /// Returns when the controller logs a line that contains this text.
    pub(crate) async fn until_logged(&mut self, text: &str) -> Result<(), Failed> {
        let found = |line: &str| line.contains(text).then_some(());
        Ok(self.0.until_logged(LIMIT, Duration::from_millis(5), text, found).await?)
    }

    /// How many lines it has logged, besides one for each operation that has ended well.
    pub(crate) fn lines(&self) -> usize {
        self.0.log_text().lines().filter(|line| !line.contains(r#" Succeeded""#)).count()
    }

    /// How many lines it has logged that contain this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.0.log_text().lines().filter(|line| line.contains(text)).count()
    }

    /// Sends SIGTERM. Fails unless the controller then ends in time, with success.
    pub(crate) async fn terminate(mut self) -> Result<(), Failed> {
        self.0.terminate()?;
        let status = self.ended().await?;
        ensure(status.success(), format!("SIGTERM ended with {status}:\n{}", self.0.log_end()))
    }

    /// Returns how the controller has ended.
    pub(crate) async fn ended(&mut self) -> Result<std::process::ExitStatus, Failed> {
        let ended = tokio::time::timeout(ENDS_WITHIN, self.0.ended()).await;
        Ok(ended.map_err(|_| format!("the controller did not end:\n{}", self.0.log_end()))??)
    }
}

fn server_port(bed: &TestBed) -> Result<u16, Failed> {
    let kubeconfig: Value = serde_json::from_slice(&fs::read(bed.kubeconfig())?)?;
    let server = extension_conformance::text(&kubeconfig, "/clusters/0/cluster/server");
    Ok(server.rsplit_once(':').ok_or("the server has no port")?.1.parse()?)
}

/// The controller's program, which cargo builds into the folder above that of this test.
fn program(package: Package) -> Result<PathBuf, Failed> {
    let name = package.full_name();
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).ok_or("the test has no folder")?.join(&name);
    ensure(path.exists(), format!("{} is missing: run `cargo build --workspace --bins`", path.display()))?;
    Ok(path)
}

/// A valid spec of the kind.
fn spec(kind: &str) -> Value {
    let pool = json!({
        "name": "w", "machineType": "small", "architecture": "amd64", "minimum": 1, "maximum": 3, "maxSurge": 1,
        "maxUnavailable": 0, "zones": ["nowhere-a"], "machineImage": { "name": "mockos", "version": "1.0.0" },
        "kubernetesVersion": "1.35.4", "userDataSecretRef": { "name": "x", "key": "cloud_config" },
    });
    let provider = json!({ "region": "nowhere", "secretRef": { "name": "cloudprovider", "namespace": "any" } });
    match kind {
        "operatingsystemconfig" => json!({ "purpose": "provision", "units": [{ "name": "a.service" }] }),
        "network" => json!({ "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16", "ipFamilies": ["IPv4"] }),
        "worker" => merged(provider, &json!({ "pools": [pool] })),
        _ => provider,
    }
}
