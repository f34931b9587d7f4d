//! The manifests as text. All functions are pure.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use k8s_openapi::ByteString;
use mock_core::kind::Class;
use mock_fleet::kinds::Package;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chart;

/// First line of every file.
const ORIGIN: &str = "# Rendered by `cargo xtask manifests`: change what it renders, not this file.\n";

/// The level of the Pod security standards that Gardener enforces in the namespace of the installation
/// (`docs/extensions/registration.md`).
const POD_SECURITY: (&str, &str) = ("security.gardener.cloud/pod-security-enforce", "restricted");

/// When Gardener installs a controller (`pkg/apis/core/v1beta1/types_controllerregistration.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum Policy {
    /// As soon as a Seed or a Shoot on it needs it
    OnDemand,
    /// On every seed
    Always,
    /// On every seed, except while the seed is being deleted and has no Shoot
    AlwaysExceptNoShoots,
}

/// The place of the chart.
pub(super) enum Chart {
    /// The packed chart is part of the manifest.
    Raw(Vec<u8>),
    /// The chart is in a registry.
    Oci(OciRepository),
}

/// The installation of one controller.
pub(super) struct Release<'a> {
    pub(super) package: Package,
    pub(super) types: Vec<String>,
    pub(super) policy: Policy,
    pub(super) tag: &'a str,
    /// Values of the chart, besides those that follow from the other fields.
    pub(super) values: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<T> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    #[serde(flatten)]
    rest: T,
}

/// `core.gardener.cloud/v1` (`pkg/apis/core/v1/types_controllerdeployment.go`).
#[derive(Serialize)]
struct ControllerDeployment {
    helm: Helm,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Helm {
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_chart: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oci_repository: Option<OciRepository>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Value>,
}

/// A chart in a registry (`pkg/apis/core/v1/types_controllerdeployment.go`).
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciRepository {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_secret_ref: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_bundle_secret_ref: Option<Reference>,
}

#[derive(Serialize)]
struct Spec<T> {
    spec: T,
}

/// `core.gardener.cloud/v1beta1` (`pkg/apis/core/v1beta1/types_controllerregistration.go`).
#[derive(Serialize)]
struct ControllerRegistration {
    resources: Vec<Resource>,
    deployment: RegisteredDeployment,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    kind: String,
    #[serde(rename = "type")]
    provider: String,
    #[serde(flatten)]
    further: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegisteredDeployment {
    policy: Policy,
    deployment_refs: Vec<Reference>,
}

#[derive(Clone, Serialize)]
struct Reference {
    name: String,
}

/// `operator.gardener.cloud/v1alpha1` (`pkg/apis/operator/v1alpha1/types_extension.go`).
#[derive(Serialize)]
struct Extension {
    resources: Vec<Resource>,
    deployment: ExtensionDeployment,
}

#[derive(Serialize)]
struct ExtensionDeployment {
    extension: ExtensionInstallation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExtensionInstallation {
    policy: Policy,
    helm: Helm,
    values: Value,
    /// For the garden's runtime cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_cluster_values: Option<Value>,
}

impl OciRepository {
    /// The chart of a kind, where `images --push` pushes it, with the Secrets that Gardener needs to pull it.
    pub(super) fn of(
        package: Package,
        registry: &str,
        tag: &str,
        pull_secret: Option<&str>,
        ca_bundle_secret: Option<&str>,
    ) -> Self {
        let secret = |name: Option<&str>| name.map(|name| Reference { name: name.to_owned() });
        Self {
            reference: format!("{registry}/{}:{tag}", chart::repository(package)),
            pull_secret_ref: secret(pull_secret),
            ca_bundle_secret_ref: secret(ca_bundle_secret),
        }
    }
}

/// Renders a ControllerDeployment and its ControllerRegistration.
pub(super) fn registration(release: &Release<'_>, registry: Option<&str>, chart: &Chart) -> Result<String> {
    let (raw_chart, oci_repository) = match chart {
        Chart::Raw(archive) => (Some(ByteString(archive.clone())), None),
        Chart::Oci(repository) => (None, Some(repository.clone())),
    };
    let deployment = Manifest {
        api_version: "core.gardener.cloud/v1",
        kind: "ControllerDeployment",
        metadata: json!({ "name": release.package.full_name() }),
        rest: ControllerDeployment { helm: Helm { raw_chart, oci_repository, values: Some(release.values(registry)) } },
    };
    let registration = Manifest {
        api_version: "core.gardener.cloud/v1beta1",
        kind: "ControllerRegistration",
        metadata: release.metadata(),
        rest: Spec {
            spec: ControllerRegistration {
                resources: release.resources().into_iter().map(Resource::on_seeds).collect(),
                deployment: RegisteredDeployment {
                    policy: release.policy,
                    deployment_refs: vec![Reference { name: release.package.full_name() }],
                },
            },
        },
    };
    Ok(format!("{ORIGIN}{}---\n{}", yaml(&deployment)?, yaml(&registration)?))
}

/// Renders an Extension, from which gardener-operator makes both. gardener-operator takes charts from registries only.
pub(super) fn extension(release: &Release<'_>, registry: &str, chart: &OciRepository) -> Result<String> {
    let extension = Manifest {
        api_version: "operator.gardener.cloud/v1alpha1",
        kind: "Extension",
        // gardener-operator copies the annotation to the registration (`pkg/utils/gardener/operator/extension.go`).
        metadata: release.metadata(),
        rest: Spec {
            spec: Extension {
                resources: release.resources(),
                deployment: ExtensionDeployment {
                    extension: ExtensionInstallation {
                        policy: release.policy,
                        helm: Helm { raw_chart: None, oci_repository: Some(chart.clone()), values: None },
                        values: release.values(Some(registry)),
                        runtime_cluster_values: release.package.is_in_garden().then(|| release.values(Some(registry))),
                    },
                },
            },
        },
    };
    Ok(format!("{ORIGIN}{}", yaml(&extension)?))
}

/// Serialises as YAML that ends with one line break.
pub(super) fn yaml(value: &impl Serialize) -> Result<String> {
    let text = serde_saphyr::to_string(value).context("cannot render YAML")?;
    Ok(text.trim_end().to_owned() + "\n")
}

impl Resource {
    /// The resource as gardener-apiserver accepts it, which knows no extension in the garden's runtime cluster
    /// (`pkg/api/core/validation/controllerregistration.go`).
    fn on_seeds(mut self) -> Self {
        if let Some(Value::Array(clusters)) = self.further.get_mut("clusterCompatibility") {
            clusters.retain(|cluster| cluster != Class::Garden.as_str());
        }
        self
    }
}

impl Release<'_> {
    fn metadata(&self) -> Value {
        let (key, level) = POD_SECURITY;
        json!({ "name": self.package.full_name(), "annotations": { key: level } })
    }

    fn resources(&self) -> Vec<Resource> {
        self.types
            .iter()
            .map(|provider| Resource {
                kind: self.package.kind().to_owned(),
                provider: provider.clone(),
                further: self.package.registration(provider),
            })
            .collect()
    }

    fn values(&self, registry: Option<&str>) -> Value {
        let name = self.package.full_name();
        let repository = registry.map_or(name.clone(), |registry| format!("{registry}/{name}"));
        let mut values = self.values.clone();
        values.insert("kind".to_owned(), json!(self.package.name));
        values.insert("types".to_owned(), json!(self.types));
        let image = values.entry("image").or_insert_with(|| json!({}));
        if let Some(image) = image.as_object_mut() {
            image.insert("repository".to_owned(), json!(repository));
            image.insert("tag".to_owned(), json!(self.tag));
        }
        Value::Object(values)
    }
}

#[cfg(test)]
mod tests;
