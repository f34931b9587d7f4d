//! One Pod with at least one program that really runs: its folder, volumes, namespaces and containers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::{self, EnvVar, Pod};
use kube::ResourceExt as _;
use mock_hollow::pod::View;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::container::Container;
use crate::environment::{self, Place};
use crate::error::Error;
use crate::kubelet_logs::log_of;
use crate::player::{Seed, name_of};
use crate::prober::{self, Prober};
use crate::root;
use crate::sandbox::{Network, Sandbox};
use crate::volumes::{Files, Volumes};

/// How often volumes are brought up to date. A kubelet takes up to a minute.
const REFRESH: Duration = Duration::from_secs(5);

/// The longest grace period. Programs here end at once, or never.
const GRACE: Duration = Duration::from_secs(5);

/// One Pod that runs.
pub(crate) struct RunningPod {
    pod: Arc<Pod>,
    place: Place,
    folder: PathBuf,
    views: BTreeMap<String, watch::Receiver<View>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    // Its namespaces end after its containers.
    sandbox: Arc<Sandbox>,
}

impl RunningPod {
    /// Starts the programs of a Pod. `programs` are the files of the containers that run; `changed` is called after
    /// each change of a container. Probes need a network that reaches the Pod; without, a program is ready while it runs.
    pub(crate) async fn start(
        seed: Arc<Seed>,
        pod: Arc<Pod>,
        place: Place,
        network: Network,
        programs: &BTreeMap<String, PathBuf>,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, Error> {
        let (namespace, name) = name_of(pod.as_ref());
        let folder = seed.args.root.join("pods").join(pod.uid().unwrap_or_default());
        let mut volumes = Volumes::new(seed.clone(), pod.clone(), place, folder.join("volumes"));
        let folders = volumes.fill().await?;
        let mut binds = Vec::new();
        let mut starts = Vec::new();
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            let Some(program) = programs.get(&container.name) else { continue };
            let root = folder.join("roots").join(&container.name);
            root::prepare(&root, &pod, &place, &seed.args)?;
            binds.extend(root::binds(&root, program, container, &folders)?);
            let variables = variables(&volumes, &pod, &place, container).await?;
            let log = log(&seed.args.root, &namespace, &name, &container.name)?;
            starts.push((container.clone(), root, variables, log));
        }
        let sandbox = Arc::new(Sandbox::start(&seed, &binds, place.address, network).await?);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut views = BTreeMap::new();
        for (container, root, variables, log) in starts {
            let (sender, receiver) = watch::channel(View::default());
            views.insert(container.name.clone(), receiver);
            let arguments = environment::arguments(&container, &variables);
            let (seed, sandbox) = (seed.clone(), sandbox.clone());
            let probe = prober::deciding(&container).filter(|_| matches!(network, Network::Bridge(_))).cloned();
            let probe = probe.map(|probe| (probe.clone(), Prober::new(&probe, &container, place.address)));
            let running = Container {
                command: Box::new(move || sandbox.command(&seed.tools, &root, &container.name, &arguments, &variables)),
                log,
                probe,
                grace: grace(&pod),
                changed: changed.clone(),
            };
            tasks.spawn(running.run(sender, stop.clone()));
        }
        tasks.spawn(refresh(volumes, stop.clone()));
        tracing::info!(namespace, name, address = %place.address, "started");
        Ok(Self { pod, place, folder, views, stop, tasks, sandbox })
    }

    /// True for the Pod that was started, and false for a later one of the same name.
    pub(crate) fn is(&self, pod: &Pod) -> bool {
        self.pod.metadata.uid == pod.metadata.uid
    }

    /// Where the Pod is.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Its namespaces, as long as it runs.
    pub(crate) fn sandbox(&self) -> Weak<Sandbox> {
        Arc::downgrade(&self.sandbox)
    }

    /// What its containers do now.
    pub(crate) fn views(&self) -> BTreeMap<String, View> {
        self.views.iter().map(|(name, view)| (name.clone(), view.borrow().clone())).collect()
    }

    /// Stops the programs, and deletes the folder. Data of PersistentVolumeClaims stays.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let (namespace, name) = name_of(self.pod.as_ref());
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(namespace, name, folder = %self.folder.display(), %error, "cannot delete the Pod's folder");
        }
        tracing::info!(namespace, name, "stopped");
    }
}

/// Keeps volumes up to date until the Pod stops.
async fn refresh(mut volumes: Volumes, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(REFRESH) => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = volumes.fill().await {
            tracing::debug!(%error, "cannot bring the volumes up to date; trying again");
        }
    }
}

/// How long programs may take to end.
fn grace(pod: &Pod) -> Duration {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(GRACE, Duration::from_secs).min(GRACE)
}

/// The file that gets the output of a container.
fn log(root: &Path, namespace: &str, pod: &str, container: &str) -> Result<File, Error> {
    let path = log_of(root, namespace, pod, container);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder.display()))?;
    }
    File::options().create(true).append(true).open(&path).map_err(Error::io("open", path.display()))
}

/// The variables of a container: later ones may refer to earlier ones.
async fn variables(
    volumes: &Volumes,
    pod: &Pod,
    place: &Place,
    container: &v1::Container,
) -> Result<BTreeMap<String, String>, Error> {
    let mut variables = environment::given(pod, place);
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let data = if let Some(map) = &from.config_map_ref {
            volumes.config_map(&map.name, map.optional.unwrap_or_default()).await?
        } else if let Some(secret) = &from.secret_ref {
            volumes.secret(&secret.name, secret.optional.unwrap_or_default()).await?
        } else {
            None
        };
        for (key, value) in data.unwrap_or_default() {
            variables.insert(format!("{prefix}{key}"), String::from_utf8_lossy(&value).into_owned());
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(volumes, pod, place, variable, &variables).await? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// The value of a variable. Returns `None` if it has none, and may have none.
async fn value(
    volumes: &Volumes,
    pod: &Pod,
    place: &Place,
    variable: &EnvVar,
    earlier: &BTreeMap<String, String>,
) -> Result<Option<String>, Error> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(environment::expand(variable.value.as_deref().unwrap_or_default(), earlier)));
    };
    let (data, key, optional, object) = if let Some(field) = &source.field_ref {
        return Ok(Some(environment::field(pod, place, &field.field_path)));
    } else if let Some(secret) = &source.secret_key_ref {
        let optional = secret.optional.unwrap_or_default();
        (volumes.secret(&secret.name, optional).await?, &secret.key, optional, format!("Secret {}", secret.name))
    } else if let Some(map) = &source.config_map_key_ref {
        let optional = map.optional.unwrap_or_default();
        (volumes.config_map(&map.name, optional).await?, &map.key, optional, format!("ConfigMap {}", map.name))
    } else {
        return Ok(None);
    };
    let text = |files: Files| files.get(key).map(|value| String::from_utf8_lossy(value).into_owned());
    match data.and_then(text) {
        None if !optional => Err(Error::Unusable(format!("{object} has no key {key} yet"))),
        found => Ok(found),
    }
}
