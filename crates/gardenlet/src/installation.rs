//! Installs a ControllerRegistration as gardenlet does: renders its chart with gardenlet's values, and applies it in a
//! new namespace (`pkg/gardenlet/controller/controllerinstallation/controllerinstallation/reconciler.go`).
//!
//! gardenlet writes a `ManagedResource`, whose objects gardener-resource-manager applies. The stand-in applies the same
//! objects directly.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use extension_contract::GARDENER_VERSION;
use extension_contract::json::{annotation, get, text};
use gardener_testbed::manifests::{self, ManifestsError, Mode};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec};
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The annotation on a registration that sets the Pod Security level of its namespace.
const POD_SECURITY_ENFORCE: &str = "security.gardener.cloud/pod-security-enforce";

/// Why a registration cannot be installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallationError {
    /// A manifest could not be read or applied.
    #[error(transparent)]
    Manifests(#[from] ManifestsError),
    /// The file is not a registration that `cargo xtask manifests` rendered.
    #[error("{}: {problem}", .file.display())]
    Registration {
        /// The file.
        file: PathBuf,
        /// What is wrong with the file.
        problem: String,
    },
    /// A file cannot be written, or helm cannot be started.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The chart cannot be rendered with these values.
    #[error("helm cannot render the chart: {0}")]
    Helm(String),
    /// The chart lacks an object that every controller needs.
    #[error("the rendered chart contains no {0}")]
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

/// A rendered registration.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The name of the ControllerRegistration and of the Helm release.
    pub registration: String,
    /// The namespace of the installation.
    pub namespace: String,
    /// The Pod Security level in the registration's annotation.
    pub pod_security: Option<String>,
    /// The objects in the chart, with gardenlet's changes.
    pub objects: Vec<Value>,
}

impl Installation {
    /// Renders the registration in `file` for `seed`, with the program `helm`. Writes the chart and its values to
    /// `folder`.
    pub fn render(file: &Path, seed: &Value, helm: &Path, folder: &Path) -> Result<Self, InstallationError> {
        let documents = manifests::read(file)?;
        let unusable = |problem: String| InstallationError::Registration { file: file.to_owned(), problem };
        let document = |kind: &str| {
            let mut found = documents.iter().filter(|document| text(document, "kind") == Some(kind));
            found.next().ok_or_else(|| unusable(format!("contains no {kind}")))
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
            add_seed_name(object, text(seed, "metadata.name").unwrap_or_default());
        }
        Ok(Self { registration, namespace, pod_security, objects })
    }

    /// Applies the namespace, and then all objects.
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

    /// Returns the first object of a kind.
    pub fn object<T: DeserializeOwned>(&self, kind: &'static str) -> Result<T, InstallationError> {
        let found = self.objects.iter().find(|object| text(object, "kind") == Some(kind));
        let lacks = InstallationError::Lacks(kind);
        found.and_then(|object| T::deserialize(object).ok()).ok_or(lacks)
    }

    /// Returns the Pod template of the controller's Deployment.
    pub fn pod(&self) -> Result<PodSpec, InstallationError> {
        let deployment: Deployment = self.object("Deployment")?;
        let pod = deployment.spec.and_then(|spec| spec.template.spec);
        pod.ok_or(InstallationError::Lacks("Pod"))
    }

    /// Returns the controller's container.
    pub fn container(&self) -> Result<Container, InstallationError> {
        self.pod()?.containers.into_iter().next().ok_or(InstallationError::Lacks("container"))
    }
}

/// Runs `helm template` and returns its output. The caller has set all arguments of the command.
pub fn template(helm: &mut Command) -> Result<String, InstallationError> {
    let starting = |source| InstallationError::System { doing: "start helm".to_owned(), source };
    let Output { status, stdout, stderr } = helm.output().map_err(starting)?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(InstallationError::Helm(String::from_utf8_lossy(&stderr).trim().to_owned()))
    }
}

/// The value `gardener`, which gardenlet adds to the chart's values.
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

/// Adds gardenlet's environment variable `SEED_NAME` to all containers of a Deployment.
fn add_seed_name(object: &mut Value, seed: &str) {
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
