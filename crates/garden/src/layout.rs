//! Where the files of a garden are.

use std::path::{Path, PathBuf};

/// The folder of a garden. The same path leads to it outside and inside.
#[derive(Clone, Debug)]
pub struct Layout(PathBuf);

impl Layout {
    /// The layout of a garden in this folder.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The programs, each in a file that has its name.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// The static programs that really run if a container has their name.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    /// The folder in which the programs run, with their data and configuration.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The output of all processes.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("log")
    }

    /// The output of a process.
    #[must_use]
    pub fn log(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }

    /// What the inside records of a load.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.0.join("records.jsonl")
    }

    /// The settings that the outside leaves for the inside.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// The kubeconfig of a cluster, such as `garden` or `seed`, for this machine: it leads through the door.
    #[must_use]
    pub fn kubeconfig(&self, cluster: &str) -> PathBuf {
        self.0.join(format!("{cluster}.kubeconfig"))
    }

    /// The kubeconfigs of awake Shoots, in a folder for each namespace.
    #[must_use]
    pub fn shoots(&self) -> PathBuf {
        self.0.join("shoots")
    }

    /// The kubeconfig of a Shoot for this machine, which exists while the Shoot is awake.
    #[must_use]
    pub fn kubeconfig_of_shoot(&self, namespace: &str, name: &str) -> PathBuf {
        self.shoots().join(namespace).join(format!("{name}.kubeconfig"))
    }

    /// The kubeconfig of a cluster for programs inside.
    #[must_use]
    pub fn kubeconfig_inside(&self, cluster: &str) -> PathBuf {
        self.run().join(format!("{cluster}.kubeconfig"))
    }

    /// The socket behind the door to the gateway of a Seed's cluster.
    #[must_use]
    pub fn door_to_shoots(&self, cluster: &str) -> PathBuf {
        self.0.join(format!("{cluster}-shoots.door"))
    }

    /// The socket behind the door of a cluster.
    #[must_use]
    pub fn door(&self, cluster: &str) -> PathBuf {
        self.0.join(format!("{cluster}.door"))
    }

    /// The socket at which the inside takes orders.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }
}
