//! What gardenlet makes of a ControllerRegistration: its chart, rendered with the values that gardenlet puts in and
//! applied in a namespace of its own (`pkg/gardenlet/controller/controllerinstallation/controllerinstallation/reconciler.go`).
//!
//! Left out is the way over a `ManagedResource`, through which gardener-resource-manager applies the same objects.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{Container, EnvVar, PodSpec},
    },
};
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    assets::GARDENER_VERSION,
    json::{annotation, get, text},
    manifests::{self, ManifestsError, Mode},
};

/// The annotation of a registration that becomes the level of its namespace.
const POD_SECURITY_ENFORCE: &str = "security.gardener.cloud/pod-security-enforce";

/// Why a registration could not be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationError {
    /// A manifest could not be read or applied.
    #[error(transparent)]
    Manifests(#[from] ManifestsError),
    /// The file is not what `cargo xtask manifests` renders.
    #[error("{}: {problem}", .file.display())]
    Registration {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing can be written, or helm cannot be started.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The chart cannot be rendered with these values.
    #[error("helm cannot render the chart: {0}")]
    Helm(String),
    /// The chart lacks something that every controller has.
    #[error("the rendered chart holds no {0}")]
    Lacks(&'static str),
}

/// A `ControllerDeployment` (`pkg/apis/core/v1/types_controllerdeployment.go`).
#[derive(Deserialize)]
struct ControllerDeployment {
    helm: HelmDeployment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelmDeployment {
    raw_chart: ByteString,
    #[serde(default)]
    values: Map<String, Value>,
}

/// A rendered chart.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Name of the ControllerRegistration, and of the release.
    pub registration: String,
    /// Where gardenlet installs it.
    pub namespace: String,
    /// Level of the Pod security standards that the registration asks for.
    pub pod_security: Option<String>,
    /// The chart's objects, as gardenlet applies them.
    pub objects: Vec<Value>,
}

impl Installation {
    /// Renders what the registration in `file` installs on `seed`, with `helm` and in a new folder below `folder`.
    pub fn render(file: &Path, seed: &Value, helm: &Path, folder: &Path) -> Result<Self, InstallationError> {
        let documents = manifests::read(file)?;
        let unusable = |problem: String| InstallationError::Registration { file: file.to_owned(), problem };
        let document = |kind: &str| {
            let mut found = documents.iter().filter(|document| text(document, "kind") == Some(kind));
            found.next().ok_or_else(|| unusable(format!("holds no {kind}")))
        };
        let registration = document("ControllerRegistration")?;
        let pod_security = annotation(registration, POD_SECURITY_ENFORCE).map(str::to_owned);
        let registration = text(registration, "metadata.name").unwrap_or_default().to_owned();
        let ControllerDeployment { helm: HelmDeployment { raw_chart, mut values } } =
            ControllerDeployment::deserialize(document("ControllerDeployment")?)
                .map_err(|error| unusable(format!("ControllerDeployment: {error}")))?;
        values.insert("gardener".to_owned(), gardener(seed));

        let namespace = format!("extension-{registration}");
        let chart = folder.join(format!("{namespace}.tgz"));
        let values_file = folder.join(format!("{namespace}.json"));
        write(&chart, &raw_chart.0)?;
        write(&values_file, Value::Object(values).to_string().as_bytes())?;
        let mut command = Command::new(helm);
        command.arg("template").arg(&registration).arg(&chart).args(["--namespace", &namespace]).arg("--values");
        let rendered = template(command.arg(values_file))?;
        let mut objects = manifests::parse(&rendered, "the rendered chart")?;
        for object in &mut objects {
            put_seed_name(object, text(seed, "metadata.name").unwrap_or_default());
        }
        Ok(Self { registration, namespace, pod_security, objects })
    }

    /// Applies the namespace and everything in it.
    pub async fn apply(&self, client: &Client) -> Result<(), InstallationError> {
        let mut namespace = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": {
                    "gardener.cloud/role": "extension",
                    "controllerregistration.core.gardener.cloud/name": self.registration,
                    "high-availability-config.resources.gardener.cloud/consider": "true",
                },
            },
        });
        let labels = namespace.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
        if let (Some(labels), Some(level)) = (labels, &self.pod_security) {
            labels.insert("pod-security.kubernetes.io/enforce".to_owned(), json!(level));
        }
        manifests::apply(client, &namespace, Mode::Apply).await?;
        for object in &self.objects {
            manifests::apply(client, object, Mode::Apply).await?;
        }
        Ok(())
    }

    /// The object of a kind of which there is but one.
    pub fn object<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, InstallationError> {
        let found = self.objects.iter().find(|object| text(object, "kind") == Some(kind));
        let lacks = InstallationError::Lacks(kind);
        found.and_then(|object| T::deserialize(object).ok()).ok_or(lacks)
    }

    /// The controller's Pods.
    pub fn pod(&self) -> Result<PodSpec, InstallationError> {
        let deployment: Deployment = self.object("Deployment")?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec);
        pod.ok_or(InstallationError::Lacks("Pod"))
    }

    /// The controller itself.
    pub fn container(&self) -> Result<Container, InstallationError> {
        self.pod()?.containers.into_iter().next().ok_or(InstallationError::Lacks("container"))
    }
}

/// Runs `helm template` and returns what it renders.
pub fn template(helm: &mut Command) -> Result<String, InstallationError> {
    let starting = |source| InstallationError::System { doing: "start helm".to_owned(), source };
    let Output { status, stdout, stderr } = helm.output().map_err(starting)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(InstallationError::Helm(String::from_utf8_lossy(&stderr).trim().to_owned()))
    }
}

/// The values that gardenlet puts in (`gardener.*`).
#[must_use]
pub fn gardener(seed: &Value) -> Value {
    let of_seed = |path: &str| get(seed, path).cloned().unwrap_or_default();
    json!({
        "version": GARDENER_VERSION,
        "garden": { "clusterIdentity": "garden" },
        "gardenlet": { "featureGates": { "DefaultSeccompProfile": true } },
        "seed": {
            "name": of_seed("metadata.name"),
            "clusterIdentity": "seed",
            "annotations": of_seed("metadata.annotations"),
            "labels": of_seed("metadata.labels"),
            "provider": of_seed("spec.provider.type"),
            "region": of_seed("spec.provider.region"),
            "volumeProvider": "",
            "volumeProviders": null,
            "protected": false,
            "visible": true,
            "taints": null,
            "networks": of_seed("spec.networks"),
            "blockCIDRs": null,
            "spec": of_seed("spec"),
            "ingressDomain": of_seed("spec.ingress.domain"),
        },
    })
}

fn put_seed_name(object: &mut Value, seed: &str) {
    let variable = EnvVar { name: "SEED_NAME".to_owned(), value: Some(seed.to_owned()), value_from: None };
    let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(environment) = container.entry("env").or_insert_with(|| json!([])).as_array_mut() {
            environment.push(json!(variable));
        }
    }
}

fn write(file: &Path, content: &[u8]) -> Result<(), InstallationError> {
    let doing = || format!("write {}", file.display());
    fs::write(file, content).map_err(|source| InstallationError::System { doing: doing(), source })
}
