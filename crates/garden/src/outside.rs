//! The outside of a garden: the command that a person has started, and how other commands find it.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gardener_testbed::supervisor::Supervisor;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::doors::{self, Socket};
use crate::error::GardenError;
use crate::isolation::{Isolation, first_process};
use crate::layout::Layout;
use crate::news::News;
use crate::seed::Seeds;
use crate::settings::{Door, Settings, Wanted};

const PAUSE: Duration = Duration::from_millis(20);

/// The name of a garden, reserved for this process. The kernel ends the reservation with the process.
#[derive(Debug)]
pub struct Reservation {
    names: PathBuf,
    name: String,
    file: File,
}

/// What other commands need to know of a garden that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The folder.
    pub folder: PathBuf,
    /// The process of the command that has started it.
    pub process: u32,
    /// The process whose child is the first process inside.
    unshare: u32,
}

impl Running {
    /// The first process inside.
    ///
    /// # Errors
    /// The garden is ending.
    pub fn first_process(&self) -> Result<u32, GardenError> {
        first_process(self.unshare).ok_or_else(|| GardenError::Unusable("the garden is ending".to_owned()))
    }
}

impl Reservation {
    /// Reserves a name, in the folder of all names.
    ///
    /// # Errors
    /// A garden of this name runs, or a file cannot be written.
    pub fn take(names: &Path, name: &str) -> Result<Self, GardenError> {
        let doing = || format!("write in {}", names.display());
        fs::create_dir_all(names).map_err(GardenError::system(doing()))?;
        let file = open(names, name).map_err(GardenError::system(doing()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { names: names.to_owned(), name: name.to_owned(), file }),
            Err(TryLockError::WouldBlock) => Err(GardenError::Unusable(format!(
                "a garden named {name} runs: end it with `cargo xtask garden down --name {name}`, or give another --name"
            ))),
            Err(TryLockError::Error(error)) => Err(GardenError::system(doing())(error)),
        }
    }

    /// Keeps a program as it is now, in the folder of all names, also if it is built again meanwhile.
    pub fn keep(&self, program: &Path) -> Result<PathBuf, GardenError> {
        let kept = self.names.join(format!("{}.program", self.name));
        if kept.exists() {
            fs::remove_file(&kept).map_err(GardenError::system(format!("remove {}", kept.display())))?;
        }
        link(program, &kept)?;
        Ok(kept)
    }

    fn publish(&mut self, running: &Running) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(running)?)
    }
}

fn open(names: &Path, name: &str) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(names.join(name))
}

/// Finds a garden that runs.
///
/// # Errors
/// No garden of this name runs.
pub fn find(names: &Path, name: &str) -> Result<Running, GardenError> {
    let none = || {
        let start = format!("start one with `cargo xtask garden up --name {name}`");
        GardenError::Unusable(format!("no garden named {name} runs: {start}"))
    };
    let mut file = File::open(names.join(name)).map_err(|_| none())?;
    if !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Err(none());
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(GardenError::system(format!("read what runs as {name}")))?;
    serde_json::from_slice(&text).map_err(|_| GardenError::Unusable(format!("the garden {name} is still being built")))
}

/// The files that a garden is started with. Each keeps its name.
#[derive(Clone, Debug)]
pub struct Parts {
    /// This very program, whose command `garden inside FOLDER` runs the inside.
    pub own: PathBuf,
    /// The programs that run beside each other.
    pub programs: Vec<PathBuf>,
    /// The static programs that really run if a container has their name.
    pub pods: Vec<PathBuf>,
}

/// A garden, seen from outside. It ends when it is dropped.
#[derive(Debug)]
pub struct Outside {
    layout: Layout,
    inside: Child,
    news: UnboundedReceiver<News>,
    doors: JoinSet<std::io::Result<()>>,
    supervisor: Supervisor,
    _reservation: Reservation,
}

impl Outside {
    /// Starts the inside.
    pub async fn start(
        mut reservation: Reservation,
        isolation: Isolation,
        parts: &Parts,
        wanted: Wanted,
    ) -> Result<Self, GardenError> {
        let seeds = Seeds::read(&wanted)?;
        let supervisor = Supervisor::start().map_err(GardenError::system("start a supervisor"))?;
        let layout = Layout::new(supervisor.folder().to_owned());
        if layout.folder().starts_with("/run") {
            let problem = "TMPDIR is below /run, which is hidden inside a garden: set TMPDIR to another folder";
            return Err(GardenError::Unusable(problem.to_owned()));
        }
        for folder in [layout.programs(), layout.pods(), layout.logs()] {
            fs::create_dir(&folder).map_err(GardenError::system(format!("create {}", folder.display())))?;
        }
        parts.programs.iter().try_for_each(|file| link(file, &named(file, &layout.programs())))?;
        parts.pods.iter().try_for_each(|file| link(file, &named(file, &layout.pods())))?;
        let own = layout.folder().join("garden");
        link(&parts.own, &own)?;

        let mut doors = JoinSet::new();
        let mut settings =
            Settings { wanted, doors: vec![door(&layout, Cluster::garden().name, None, &mut doors).await?] };
        for seed in seeds.list {
            let name = Some(seed.name().to_owned());
            settings.doors.push(door(&layout, seed.cluster.name, name, &mut doors).await?);
        }
        settings.write(&layout)?;

        let mut command = isolation.command(&own);
        command.args(["garden", "inside"]).arg(layout.folder()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inside = supervisor.spawn(command).map_err(GardenError::system("start the inside of a garden"))?;
        let news = News::of(&mut inside);
        let running = Running {
            folder: layout.folder().to_owned(),
            process: std::process::id(),
            unshare: inside.id().unwrap_or_default(),
        };
        let published = reservation.publish(&running);
        published.map_err(GardenError::system(format!("write what runs as {}", reservation.name)))?;
        Ok(Self { layout, inside, news, doors, supervisor, _reservation: reservation })
    }

    /// Where the files are.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next thing that the inside tells. Returns `None` when it has ended.
    pub async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Returns when the inside has ended.
    pub async fn ended(&mut self) -> Result<ExitStatus, GardenError> {
        self.inside.wait().await.map_err(GardenError::system("wait for the inside of a garden"))
    }

    /// Ends the garden. Returns when all processes and the folder are gone.
    pub async fn stop(self) -> Result<(), GardenError> {
        let Self { mut inside, doors, supervisor, _reservation: reservation, .. } = self;
        drop(doors);
        let first = inside.id().and_then(first_process);
        supervisor.stop().await.map_err(GardenError::system("end a garden"))?;
        inside.wait().await.map_err(GardenError::system("end a garden"))?;
        // The kernel ends the first process inside after all others.
        while first.is_some_and(|first| Path::new("/proc").join(first.to_string()).exists()) {
            sleep(PAUSE).await;
        }
        drop(reservation);
        Ok(())
    }
}

/// Opens the doors to a cluster, and to the Shoots of a Seed's cluster.
async fn door(
    layout: &Layout,
    cluster: String,
    seed: Option<String>,
    doors: &mut JoinSet<std::io::Result<()>>,
) -> Result<Door, GardenError> {
    let mut open = async |socket: PathBuf| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        doors.spawn(doors::outer(listener, Socket::at(&socket)?));
        Ok(port)
    };
    let failed = || GardenError::system(format!("open a door to the {cluster}"));
    let port = open(layout.door(&cluster)).await.map_err(failed())?;
    let shoots = match seed {
        Some(_) => Some(open(layout.door_to_shoots(&cluster)).await.map_err(failed())?),
        None => None,
    };
    Ok(Door { cluster, seed, port, shoots })
}

/// Makes a program another file. A link keeps the program as it is now, also if it is built again; on another disk, a copy
/// does.
fn link(file: &Path, target: &Path) -> Result<(), GardenError> {
    let linked = fs::hard_link(file, target).or_else(|_| fs::copy(file, target).map(drop));
    linked.map_err(GardenError::system(format!("copy {} to {}", file.display(), target.display())))
}

/// The file of the same name in a folder.
fn named(file: &Path, folder: &Path) -> PathBuf {
    folder.join(file.file_name().unwrap_or_default())
}

/// Replaces a program of a running garden by another file of the same name.
pub fn replace(layout: &Layout, file: &Path) -> Result<(), GardenError> {
    let old = named(file, &layout.programs());
    fs::remove_file(&old).map_err(GardenError::system(format!("remove {}", old.display())))?;
    link(file, &old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_running_garden_is_taken_and_found_until_it_ends() {
        let names = tempfile::tempdir().unwrap();
        assert!(find(names.path(), "a").unwrap_err().to_string().contains("no garden named a runs"));
        let mut reservation = Reservation::take(names.path(), "a").unwrap();
        assert!(find(names.path(), "a").unwrap_err().to_string().contains("still being built"));
        let running = Running { folder: "/f".into(), process: 1, unshare: 2 };
        reservation.publish(&running).unwrap();
        assert_eq!(find(names.path(), "a").unwrap().folder, running.folder);
        let taken = Reservation::take(names.path(), "a").unwrap_err().to_string();
        assert!(taken.contains("a garden named a runs"), "{taken}");
        Reservation::take(names.path(), "b").unwrap();
        drop(reservation);
        assert!(find(names.path(), "a").is_err());
        Reservation::take(names.path(), "a").unwrap();
    }
}
