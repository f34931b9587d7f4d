//! Programs in Go modules, and how they are built into the cache.

use std::path::{Path, PathBuf};

use extension_contract::GARDENER_VERSION;

use super::cache::Cache;
use super::environment::{Progress, Variables};
use super::error::AssetsError;
use super::go::Go;

/// The version of Kubernetes' programs.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

/// A program in a published Go module.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// The version of the module.
    version: &'static str,
    module: &'static str,
    /// The main package, relative to the module's path.
    package: &'static str,
    /// Other modules of the same repository that must be required in the same version.
    siblings: &'static [&'static str],
    /// The version of the modules that the module's go.mod replaces with folders below `staging/`. The published module
    /// does not contain these folders.
    staging: Option<&'static str>,
    /// The linker variables that contain the program's version.
    variables: &'static [(&'static str, &'static str)],
    /// The duration of a build on two cores with empty caches.
    minutes: u32,
    /// An alternative to the build, as the end of a remedy.
    otherwise: &'static str,
}

const KUBEBUILDER_ASSETS: &str = ", or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver";

pub(super) const ETCD: Program = Program {
    name: "etcd",
    version: "v3.6.8",
    module: "go.etcd.io/etcd/server/v3",
    package: "",
    siblings: &[],
    staging: None,
    variables: &[],
    minutes: 1,
    otherwise: KUBEBUILDER_ASSETS,
};

pub(super) const KUBE_APISERVER: Program = Program {
    name: "kube-apiserver",
    version: KUBERNETES_VERSION,
    module: "k8s.io/kubernetes",
    package: "/cmd/kube-apiserver",
    siblings: &[],
    staging: Some("v0.36.3"),
    variables: &[
        ("k8s.io/component-base/version.gitVersion", KUBERNETES_VERSION),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "36"),
    ],
    minutes: 4,
    otherwise: KUBEBUILDER_ASSETS,
};

pub(super) const KUBE_CONTROLLER_MANAGER: Program = Program {
    name: "kube-controller-manager",
    package: "/cmd/kube-controller-manager",
    minutes: 2,
    otherwise: "",
    ..KUBE_APISERVER
};

pub(super) const KUBE_SCHEDULER: Program =
    Program { name: "kube-scheduler", package: "/cmd/kube-scheduler", minutes: 1, otherwise: "", ..KUBE_APISERVER };

pub(super) const KUBECTL: Program =
    Program { name: "kubectl", package: "/cmd/kubectl", minutes: 1, otherwise: "", ..KUBE_APISERVER };

pub(super) const GARDENER_APISERVER: Program = Program {
    name: "gardener-apiserver",
    version: GARDENER_VERSION,
    module: "github.com/gardener/gardener",
    package: "/cmd/gardener-apiserver",
    siblings: &["github.com/gardener/gardener/pkg/apis"],
    staging: None,
    variables: &[("k8s.io/component-base/version.gitVersion", GARDENER_VERSION)],
    minutes: 3,
    otherwise: "",
};

pub(super) const GARDENER_CONTROLLER_MANAGER: Program = Program {
    name: "gardener-controller-manager",
    package: "/cmd/gardener-controller-manager",
    minutes: 2,
    ..GARDENER_APISERVER
};

pub(super) const PROVIDER_LOCAL: Program = Program {
    name: "gardener-extension-provider-local",
    package: "/cmd/gardener-extension-provider-local",
    ..GARDENER_APISERVER
};

pub(super) const GARDENER_SCHEDULER: Program =
    Program { name: "gardener-scheduler", package: "/cmd/gardener-scheduler", minutes: 1, ..GARDENER_APISERVER };

pub(super) const GARDENLET: Program =
    Program { name: "gardenlet", package: "/cmd/gardenlet", minutes: 3, ..GARDENER_APISERVER };

pub(super) const GARDENER_RESOURCE_MANAGER: Program = Program {
    name: "gardener-resource-manager",
    package: "/cmd/gardener-resource-manager",
    minutes: 1,
    ..GARDENER_APISERVER
};

const HELM_VERSION: &str = "v4.3.1";

pub(super) const HELM: Program = Program {
    name: "helm",
    version: HELM_VERSION,
    module: "helm.sh/helm/v4",
    package: "/cmd/helm",
    siblings: &[],
    staging: None,
    variables: &[("helm.sh/helm/v4/internal/version.version", HELM_VERSION)],
    minutes: 1,
    otherwise: ", or put helm v4 on PATH",
};

impl Program {
    /// Returns the program in the cache. Builds it if it does not exist yet.
    pub(super) fn cached(&self, variable: Variables, progress: Progress) -> Result<PathBuf, AssetsError> {
        let entry = format!("{}-{}", self.name, self.version);
        let folder = Cache::open(variable)?.entry(&entry, progress, |folder| self.build(folder, progress))?;
        Ok(folder.join(self.name))
    }

    /// Builds the program out of a checkout of its repository, into a file of `folder`. Go reuses what it has compiled
    /// before, so that a small change takes seconds. The program keeps what a debugger needs.
    pub(super) fn build_checkout(
        &self,
        checkout: &Path,
        folder: &Path,
        progress: Progress,
    ) -> Result<PathBuf, AssetsError> {
        let go = Go::new(checkout, self.name, "");
        go.check()?;
        progress(&format!("building {} out of {}", self.name, checkout.display()));
        let program = folder.join(self.name);
        go.build_checkout(&program, &format!(".{}", self.package), &self.version_flags())?;
        Ok(program)
    }

    /// The linker's flags that set the version.
    fn version_flags(&self) -> String {
        let variables = self.variables.iter().map(|(variable, value)| format!("-X {variable}={value}"));
        variables.collect::<Vec<_>>().join(" ")
    }

    fn build(&self, folder: &Path, progress: Progress) -> Result<(), AssetsError> {
        let Self { name, version, module, minutes, .. } = self;
        let go = Go::new(folder, name, self.otherwise);
        go.check()?;
        progress(&format!("building {name} {version} with Go, once, about {minutes} min on 2 cores"));
        let mut directives = vec![format!("require {module} {version}")];
        directives.extend(self.siblings.iter().map(|sibling| format!("require {sibling} {version}")));
        if let Some(staging) = self.staging {
            let published = go.download(&format!("{module}@{version}"))?;
            for replace in go.requirements(&published.go_mod)?.replace {
                if replace.new.path.starts_with("./staging/") {
                    let module = replace.old.path;
                    directives.push(format!("replace {module} => {module} {staging}"));
                }
            }
        }
        go.build(
            name,
            &format!("{module}{}", self.package),
            &directives.join("\n"),
            &format!("-s -w {}", self.version_flags()),
        )
    }
}
