//! How the controller under test runs: as this workspace's own build, or installed as gardenlet does it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use libtest_mimic::Failed;
use mock_core::extension::Extension;
use mock_core::{heartbeat, rbac};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::PATIENCE;
use super::ground::{ensure, text};
use super::suite::Suite;
use crate::bed::TestBed;
use crate::container::{Container, ContainerOptions, Image, Mount};
use crate::installation::Installation;
use crate::manifests::{self, Mode};
use crate::{assets, json};

/// Where a Pod finds what its ServiceAccount is known by.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// For a token; longer than any suite.
const ONE_HOUR: i64 = 3600;

/// Where controllers run.
pub(super) enum Host {
    /// Here, from this file.
    Program(&'static str),
    /// In a container, as the Pod of its installation would.
    Installed(Box<Installed>),
}

/// A registration that was installed, and its image.
pub(super) struct Installed {
    pub(super) installation: Installation,
    image: Image,
    /// What the Pod says of the controller that all rules share.
    pod: ContainerOptions,
    /// What every further one sees: the kubeconfigs that rules write.
    folder: Mount,
}

impl Host {
    /// A command for the controller with these arguments and nothing from the environment of this process.
    fn command(&self, arguments: &[&str]) -> Result<Command, Failed> {
        match self {
            Self::Program(program) => {
                let mut command = Command::new(program);
                command.args(arguments).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
                command.env("HOME", "/nowhere");
                Ok(command)
            }
            Self::Installed(installed) => {
                let args = arguments.iter().map(ToString::to_string).collect();
                let mounts = vec![installed.folder.clone()];
                Ok(installed.image.command(&ContainerOptions { args, env: Vec::new(), mounts })?)
            }
        }
    }

    fn controller(&self, child: Child) -> Controller {
        match self {
            Self::Program(_) => Controller::Process(child),
            Self::Installed(_) => Controller::Container(Container::new(child)),
        }
    }
}

/// A controller under test; it ends with this value.
pub enum Controller {
    /// Of this machine.
    Process(Child),
    /// Of an image.
    Container(Container),
}

impl Controller {
    /// The one that serves the kind's default type for all rules.
    pub(super) fn shared(suite: &Suite) -> Result<Self, Failed> {
        match &suite.host {
            Host::Program(_) => Self::start(suite, &[]),
            Host::Installed(installed) => Self::logged(suite, installed.image.command(&installed.pod)?),
        }
    }

    /// One more, with the suite's credentials.
    pub(super) fn start(suite: &Suite, arguments: &[&str]) -> Result<Self, Failed> {
        Self::bare(suite, &with_kubeconfig(suite, arguments)?)
    }

    /// One more, that has to find an API server by its arguments.
    pub(super) fn bare(suite: &Suite, arguments: &[&str]) -> Result<Self, Failed> {
        Self::logged(suite, suite.host.command(arguments)?)
    }

    /// One more, with the suite's credentials, whose log nobody reads any more.
    pub(super) fn unheard(suite: &Suite, arguments: &[&str]) -> Result<Self, Failed> {
        let (_, log) = std::io::pipe()?;
        Self::spawn(suite, suite.host.command(&with_kubeconfig(suite, arguments)?)?, log)
    }

    /// Runs one that ends by itself, and returns how and what it said.
    pub(super) async fn run(suite: &Suite, arguments: &[&str]) -> Result<(ExitStatus, String), Failed> {
        let output = suite.host.command(arguments)?.stdin(Stdio::null()).output().await?;
        Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    fn logged(suite: &Suite, command: Command) -> Result<Self, Failed> {
        Self::spawn(suite, command, OpenOptions::new().create(true).append(true).open(suite.log())?)
    }

    fn spawn(suite: &Suite, mut command: Command, log: impl Into<Stdio>) -> Result<Self, Failed> {
        command.stdin(Stdio::null()).stderr(log).kill_on_drop(true);
        Ok(suite.host.controller(suite.bed.spawn(command)?))
    }

    /// SIGTERM; returns when the process has ended, which takes the grace period at most.
    pub(super) async fn terminate(&mut self) -> Result<ExitStatus, Failed> {
        self.ask_to_stop()?;
        self.ended().await
    }

    /// SIGTERM.
    pub(super) fn ask_to_stop(&self) -> Result<(), Failed> {
        Ok(kill_process(self.process()?, Signal::TERM)?)
    }

    fn process(&self) -> Result<Pid, Failed> {
        match self {
            Self::Process(child) => {
                let process = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
                Ok(process.ok_or("the process has ended by itself")?)
            }
            Self::Container(container) => Ok(container.init()?),
        }
    }

    /// Returns when the process has ended.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, Failed> {
        let ended = async {
            Ok::<_, Failed>(match self {
                Self::Process(child) => child.wait().await?,
                Self::Container(container) => container.wait().await?,
            })
        };
        tokio::time::timeout(Duration::from_secs(15), ended).await.map_err(|_| "the process did not end")?
    }

    /// SIGKILL: nothing is tidied up.
    pub(super) async fn kill(self) -> Result<(), Failed> {
        match self {
            Self::Process(mut child) => child.kill().await?,
            Self::Container(mut container) => drop(container.kill().await?),
        }
        Ok(())
    }
}

fn with_kubeconfig<'a>(suite: &'a Suite, arguments: &[&'a str]) -> Result<Vec<&'a str>, Failed> {
    let kubeconfig = suite.kubeconfig.to_str().ok_or("the test bed's folder is not UTF-8")?;
    Ok([arguments, &["--kubeconfig", kubeconfig]].concat())
}

/// Installs the kind's registration as gardenlet does, and gets its image from the folder `images` ready to run.
///
/// Returns where to run it, the user that it is to the API server, and a kubeconfig of that user in `folder`.
pub(super) async fn install<K: Extension>(
    bed: &TestBed,
    name: &str,
    images: &Path,
    folder: &Path,
) -> Result<(Host, String, PathBuf), Failed> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let registration = root.join(format!("deploy/controllerregistrations/{name}.yaml"));
    let seed = manifests::read(&root.join("example/40-seed.yaml"))?;
    let seed = seed.iter().find(|object| json::text(object, "kind") == Some("Seed")).ok_or("there is no Seed")?;
    #[expect(clippy::print_stderr, reason = "building helm takes a minute")]
    let helm = assets::helm(&|line| eprintln!("{line}"))?;
    let installation = Installation::render(&registration, seed, &helm, bed.dir())?;
    allows_no_more_than_was_tested::<K>(&installation, name)?;
    installation.apply(&bed.client()).await?;

    let unpacked = bed.dir().join("image");
    fs::create_dir(&unpacked)?;
    let image = Image::open(&images.join(format!("{name}.tar")), &unpacked)?;
    let pod = installation.pod()?;
    let account = pod.service_account_name.clone().unwrap_or_default();
    let kubeconfig = account_kubeconfig(bed, &installation.namespace, &account).await?;
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string())?;

    let mounted = folder.join("serviceaccount");
    fs::create_dir(&mounted)?;
    let ByteString(ca) = serde_json::from_value(at(&kubeconfig, "/clusters/0/cluster/certificate-authority-data"))?;
    fs::write(mounted.join("ca.crt"), ca)?;
    fs::write(mounted.join("token"), text(&kubeconfig, "/users/0/user/token"))?;
    fs::write(mounted.join("namespace"), &installation.namespace)?;
    let container = installation.container()?;
    let server: http::Uri = text(&kubeconfig, "/clusters/0/cluster/server").parse()?;
    let mut env: BTreeMap<String, String> =
        container.env.into_iter().flatten().map(|env| (env.name, env.value.unwrap_or_default())).collect();
    env.insert("KUBERNETES_SERVICE_HOST".to_owned(), server.host().unwrap_or_default().to_owned());
    env.insert("KUBERNETES_SERVICE_PORT".to_owned(), server.port_u16().unwrap_or_default().to_string());
    let pod = ContainerOptions {
        args: container.args.unwrap_or_default(),
        env: env.into_iter().collect(),
        mounts: vec![Mount { source: mounted, destination: SERVICE_ACCOUNT.into() }],
    };
    let folder = Mount { source: folder.to_owned(), destination: folder.to_owned() };
    let user = format!("system:serviceaccount:{}:{account}", installation.namespace);
    Ok((Host::Installed(Box::new(Installed { installation, image, pod, folder })), user, path))
}

/// What the chart allows is what the suite proves to be needed.
fn allows_no_more_than_was_tested<K: Extension>(installation: &Installation, name: &str) -> Result<(), Failed> {
    let allowed = installation.object::<ClusterRole>("ClusterRole")?.rules;
    ensure(allowed == Some(rbac::rules::<K>()), format!("the ClusterRole allows {allowed:#?}"))?;
    let leases = rbac::lease_rules(name);
    let allowed = installation.object::<Role>("Role")?.rules.unwrap_or_default();
    let beyond: Vec<_> = allowed.iter().filter(|rule| !leases.contains(rule)).collect();
    ensure(beyond.is_empty(), format!("the Role allows also {beyond:#?}"))
}

/// A kubeconfig with a token of the ServiceAccount.
async fn account_kubeconfig(bed: &TestBed, namespace: &str, account: &str) -> Result<Value, Failed> {
    let accounts: Api<ServiceAccount> = Api::namespaced(bed.client(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(ONE_HOUR), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = answer.status.ok_or("the API server gave no token")?.token;
    let mut kubeconfig: Value = serde_json::from_slice(&fs::read(bed.kubeconfig())?)?;
    let user = kubeconfig.pointer_mut("/users/0/user").ok_or("the kubeconfig has no user")?;
    *user = json!({ "token": token });
    Ok(kubeconfig)
}

/// Returns when the installed controller has renewed its Lease, as the chart's Role allows it. After that, the Leases of
/// all namespaces are allowed: rules start further controllers, whose Leases are in namespaces of their own.
pub(super) async fn settle(suite: &Suite) -> Result<(), Failed> {
    let Host::Installed(installed) = &suite.host else { return Ok(()) };
    let leases: Api<Lease> = Api::namespaced(suite.client.clone(), &installed.installation.namespace);
    let beats = await_condition(leases, heartbeat::NAME, |lease: Option<&Lease>| lease.is_some());
    tokio::time::timeout(PATIENCE, beats).await.map_err(|_| "the installed controller has no heartbeat")??;

    let name = "further-controllers";
    let group = "rbac.authorization.k8s.io";
    let (api_version, metadata) = (format!("{group}/v1"), json!({ "name": name }));
    let role = json!({
        "apiVersion": api_version,
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rbac::lease_rules(&suite.name),
    });
    let binding = json!({
        "apiVersion": api_version,
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "User", "apiGroup": group, "name": suite.user }],
    });
    for object in [role, binding] {
        manifests::apply(&suite.client, &object, Mode::Apply).await?;
    }
    Ok(())
}

fn at(value: &Value, pointer: &str) -> Value {
    value.pointer(pointer).cloned().unwrap_or_default()
}
