//! Where our controllers run: from this workspace's own build, or in the image of an installation.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use extension_conformance::launcher::{Controller, Launcher};
use gardener_testbed::bed::TestBed;
use gardener_testbed::container::{ContainerOptions, Image, Mount};
use libtest_mimic::Failed;
use mock_gardenlet::installation::Installation;
use tokio::process::Command;

/// Where controllers run, and the kubeconfig of their user.
pub(crate) struct Host {
    pub(crate) place: Place,
    pub(crate) kubeconfig: PathBuf,
}

/// What controllers run in.
pub(crate) enum Place {
    /// A program of this machine.
    Program(&'static str),
    /// Containers, as the Pod of the installation would have them.
    Installed(Box<Installed>),
}

/// An installed registration and its image.
pub(crate) struct Installed {
    pub(crate) installation: Installation,
    pub(crate) image: Image,
    /// Arguments, variables and mounts that the Pod gives the shared controller.
    pub(crate) pod: ContainerOptions,
    /// The files that tests write. Further controllers can read them.
    pub(crate) folder: Mount,
}

impl Host {
    /// A command for a further controller, with these arguments and without the environment of this process.
    fn command(&self, arguments: &[&str]) -> Result<Command, Failed> {
        match &self.place {
            Place::Program(program) => {
                let mut command = Command::new(program);
                command.args(arguments).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
                command.env("HOME", "/nowhere");
                Ok(command)
            }
            Place::Installed(installed) => {
                let args = arguments.iter().map(ToString::to_string).collect();
                let mounts = vec![installed.folder.clone()];
                Ok(installed.image.command(&ContainerOptions { args, env: Vec::new(), mounts })?)
            }
        }
    }

    /// The arguments with the kubeconfig of the controller's user.
    pub(crate) fn with_kubeconfig<'a>(&'a self, arguments: &[&'a str]) -> Result<Vec<&'a str>, Failed> {
        Ok([arguments, &["--kubeconfig", self.kubeconfig_path()?]].concat())
    }

    /// Whether controllers run in an image, which holds nothing but the controller.
    pub(crate) const fn is_image(&self) -> bool {
        matches!(self.place, Place::Installed(_))
    }

    /// The path of that kubeconfig.
    pub(crate) fn kubeconfig_path(&self) -> Result<&str, Failed> {
        Ok(self.kubeconfig.to_str().ok_or("the test bed's folder is not UTF-8")?)
    }

    /// Starts a further controller with these arguments alone.
    pub(crate) fn start(&self, bed: &TestBed, log: &Path, arguments: &[&str]) -> Result<Controller, Failed> {
        let command = self.command(arguments)?;
        match &self.place {
            Place::Program(_) => Controller::program(bed, command, log),
            Place::Installed(_) => Controller::container(bed, command, log),
        }
    }

    /// Starts a further controller with these arguments alone. Each write to its standard error fails.
    pub(crate) fn start_unread(&self, bed: &TestBed, arguments: &[&str]) -> Result<Controller, Failed> {
        Controller::unread(bed, self.command(arguments)?, matches!(self.place, Place::Installed(_)))
    }

    /// Runs a controller that ends by itself. Returns its exit status and its standard error.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<(ExitStatus, String), Failed> {
        let output = self.command(arguments)?.stdin(Stdio::null()).output().await?;
        Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

impl Launcher for Host {
    fn shared(&self, bed: &TestBed, log: &Path) -> Result<Controller, Failed> {
        match &self.place {
            Place::Program(_) => self.start(bed, log, &self.with_kubeconfig(&[])?),
            Place::Installed(installed) => Controller::container(bed, installed.image.command(&installed.pod)?, log),
        }
    }

    fn further(&self, bed: &TestBed, log: &Path, type_: &str) -> Result<Controller, Failed> {
        self.start(bed, log, &self.with_kubeconfig(&["--type", type_])?)
    }
}
