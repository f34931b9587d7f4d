//! The images of `cargo xtask images`: other tools can read the archives, and the images run without privileges.
//!
//! `MOCK_IMAGES` names the folder of the archives. `cargo xtask test` builds them and sets the variable.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in functions that are marked as tests"
)]

mod kit;

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode, Stdio};
use std::time::Duration;
use std::{env, fs};

use gardener_testbed::container::{self, Container, ContainerError, ContainerOptions, Image, Mount};
use gardener_testbed::supervisor::Supervisor;
use libtest_mimic::{Arguments, Trial};
use rustix::process::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

/// Limit of every wait. Tests that pass wait much shorter.
const DEADLINE: Duration = Duration::from_secs(60);

/// Set in a process that starts a container, and waits to be killed.
const TO_BE_KILLED: &str = "MOCK_IMAGES_TO_BE_KILLED";

fn main() -> ExitCode {
    if let Some(archive) = env::var_os(TO_BE_KILLED) {
        runtime().block_on(keep_a_container(archive.as_ref()));
        return ExitCode::SUCCESS;
    }
    let images = images();
    let skopeo = images.clone().and_then(|images| {
        let skopeo = process::Command::new("skopeo").arg("--version").output();
        if skopeo.is_ok() { Ok(images) } else { Err("there is no skopeo on PATH: `apt-get install skopeo`".to_owned()) }
    });
    let runc = images.and_then(|images| container::available().map(|()| images).map_err(|error| error.to_string()));
    let mut reasons: Vec<_> = [&skopeo, &runc].into_iter().filter_map(|images| images.as_ref().err()).collect();
    reasons.dedup();
    for reason in reasons {
        eprintln!("tests are ignored: {reason}");
    }
    let trials = [
        trial("image_is_an_oci_archive", &skopeo, image_is_an_oci_archive),
        trial("image_is_a_docker_archive", &skopeo, image_is_a_docker_archive),
        trial("every_chart_is_an_oci_archive", &skopeo, every_chart_is_an_oci_archive),
        trial("image_prints_its_version", &runc, image_prints_its_version),
        trial("container_has_no_privileges", &runc, container_has_no_privileges),
        trial("container_ends_on_sigterm", &runc, container_ends_on_sigterm),
        trial("killed_container_ends_with_status_137", &runc, killed_container_ends_with_status_137),
        trial("container_ends_with_its_supervisor", &runc, container_ends_with_its_supervisor),
        trial(
            "container_ends_with_the_killed_process_that_started_it",
            &runc,
            container_ends_with_the_killed_process_that_started_it,
        ),
        trial("changed_archive_is_refused", &runc, changed_archive_is_refused),
        trial("image_of_the_kit_judges_a_controller_as_its_job_does", &runc, kit::judges_as_its_job_does),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// A test of all images. It is ignored if the images or a tool are missing.
fn trial(name: &str, images: &Result<Vec<PathBuf>, String>, test: fn(&[PathBuf])) -> Trial {
    let images = images.clone();
    let ignored = images.is_err();
    let run = move || {
        test(&images?);
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(ignored)
}

/// All archives, including that of the chart.
fn images() -> Result<Vec<PathBuf>, String> {
    let folder = env::var_os("MOCK_IMAGES").ok_or("MOCK_IMAGES names no folder of images: run `cargo xtask test`")?;
    let files = fs::read_dir(&folder).map_err(|error| format!("MOCK_IMAGES={}: {error}", folder.display()))?;
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension() == Some(OsStr::new("tar")));
    files.sort();
    Ok(files)
}

fn is_chart(file: &Path) -> bool {
    file.to_str().unwrap().ends_with("-chart.tar")
}

/// The archives of images, with the names of their programs.
fn programs(files: &[PathBuf]) -> impl Iterator<Item = (&Path, &str)> {
    let images = files.iter().filter(|file| !is_chart(file));
    images.map(|file| (file.as_path(), file.file_stem().and_then(OsStr::to_str).unwrap()))
}

/// The archives of the controllers' images, with the names of the controllers.
fn controllers(files: &[PathBuf]) -> impl Iterator<Item = (&Path, &str)> {
    programs(files).filter(|(_, name)| *name != kit::NAME)
}

fn skopeo(arguments: &[&str], archive: &str) -> Value {
    let output = process::Command::new("skopeo").args(arguments).arg(archive).output().unwrap();
    assert!(output.status.success(), "{archive}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn image_is_an_oci_archive(files: &[PathBuf]) {
    for (file, name) in programs(files) {
        let archive = format!("oci-archive:{}", file.display());
        let image = skopeo(&["inspect"], &archive);
        assert_eq!(image["Labels"]["org.opencontainers.image.title"], name);
        let config = skopeo(&["inspect", "--config"], &archive);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"][0], format!("/{name}"));
    }
}

fn image_is_a_docker_archive(files: &[PathBuf]) {
    for (file, name) in programs(files) {
        let archive = format!("docker-archive:{}", file.display());
        let tags = skopeo(&["list-tags"], &archive);
        let tag = tags["Tags"][0].as_str().unwrap();
        assert!(tag.contains(&format!("/{name}:")), "{tag}");
        let image = skopeo(&["inspect"], &format!("{archive}:{tag}"));
        assert_eq!(image["Labels"]["org.opencontainers.image.title"], name);
    }
}

fn every_chart_is_an_oci_archive(files: &[PathBuf]) {
    for (_, name) in controllers(files) {
        let chart = files.iter().find(|file| file.ends_with(format!("{name}-chart.tar"))).unwrap();
        let manifest = skopeo(&["inspect", "--raw"], &format!("oci-archive:{}", chart.display()));
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json");
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    }
}

fn image_prints_its_version(files: &[PathBuf]) {
    for (file, name) in programs(files) {
        let (succeeded, output) = runtime().block_on(async {
            let supervisor = Supervisor::start().unwrap();
            let image = Image::open(file, &supervisor.folder().join("image")).unwrap();
            let options = ContainerOptions { args: vec!["--version".to_owned()], ..ContainerOptions::default() };
            let mut command = image.command(&options).unwrap();
            command.stdout(Stdio::piped());
            let mut child = supervisor.spawn(command).unwrap();
            let mut output = String::new();
            child.stdout.take().unwrap().read_to_string(&mut output).await.unwrap();
            (Container::new(child).wait().await.unwrap().success(), output)
        });
        assert!(succeeded && output.starts_with(&format!("{name} ")), "{output}");
    }
}

fn container_has_no_privileges(files: &[PathBuf]) {
    runtime().block_on(async {
        let supervisor = Supervisor::start().unwrap();
        let mut container = serving(&supervisor, any(files)).await;
        let init = container.init().unwrap().as_raw_nonzero();
        let proc = |file: &str| fs::read_to_string(format!("/proc/{init}/{file}")).unwrap();

        let status = proc("status");
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            value.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(field("Uid:"), "65532 65532 65532 65532");
        assert_eq!(field("Gid:"), "65532 65532 65532 65532");
        assert_eq!(field("Groups:"), "");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");

        let mounts = proc("mountinfo");
        let options = |folder: &str| {
            let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            mounts.find(|fields| fields[4] == folder).unwrap()[5].split(',').map(str::to_owned).collect::<Vec<_>>()
        };
        for folder in ["/", MOUNTED] {
            assert!(options(folder).contains(&"ro".to_owned()), "{folder}: {mounts}");
        }
        let devices = fs::read_dir(format!("/proc/{init}/root/dev")).unwrap().map(Result::unwrap);
        let devices = devices.filter(|device| {
            let kind = device.file_type().unwrap();
            kind.is_char_device() || kind.is_block_device()
        });
        let mut devices: Vec<_> = devices.map(|device| device.file_name().into_string().unwrap()).collect();
        devices.sort();
        assert_eq!(devices, ["full", "null", "random", "tty", "urandom", "zero"]);

        // The container shares the network and the cgroup with this process, and nothing else.
        assert!(proc("environ").contains(&format!("KUBECONFIG={MOUNTED}/kubeconfig")));
        let own = |file: &str| fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
        let its = |file: &str| fs::read_link(format!("/proc/{init}/ns/{file}")).unwrap();
        assert_eq!(own("net"), its("net"));
        for namespace in ["pid", "mnt", "ipc", "uts"] {
            assert_ne!(own(namespace), its(namespace), "{namespace}");
        }
        assert_eq!(proc("cgroup"), fs::read_to_string("/proc/self/cgroup").unwrap());
        container.kill().await.unwrap();
        supervisor.stop().await.unwrap();
    });
}

fn container_ends_on_sigterm(files: &[PathBuf]) {
    runtime().block_on(async {
        let supervisor = Supervisor::start().unwrap();
        let mut container = serving(&supervisor, any(files)).await;
        let init = container.init().unwrap();
        let status = timeout(DEADLINE, container.terminate()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
        gone(init).await;
        assert!(matches!(container.terminate().await, Err(ContainerError::NotRunning)));
    });
}

fn killed_container_ends_with_status_137(files: &[PathBuf]) {
    runtime().block_on(async {
        let supervisor = Supervisor::start().unwrap();
        let mut container = serving(&supervisor, any(files)).await;
        let init = container.init().unwrap();
        let status = timeout(DEADLINE, container.kill()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(128 + 9), "{status}");
        gone(init).await;
    });
}

fn container_ends_with_its_supervisor(files: &[PathBuf]) {
    runtime().block_on(async {
        let supervisor = Supervisor::start().unwrap();
        let container = serving(&supervisor, any(files)).await;
        let init = container.init().unwrap();
        let folder = supervisor.folder().to_owned();
        supervisor.stop().await.unwrap();
        gone(init).await;
        assert!(!folder.exists());
    });
}

fn container_ends_with_the_killed_process_that_started_it(files: &[PathBuf]) {
    let mut process = process::Command::new(env::current_exe().unwrap())
        .env(TO_BE_KILLED, any(files))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let init = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    rustix::process::test_kill_process(init).unwrap();

    process.kill().unwrap();
    process.wait().unwrap();
    runtime().block_on(gone(init));
}

/// Prints the ID of the container's first process, and waits until this process is killed or its input ends.
async fn keep_a_container(archive: &Path) {
    let supervisor = Supervisor::start().unwrap();
    let container = serving(&supervisor, archive).await;
    println!("{}", container.init().unwrap().as_raw_nonzero());
    io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
}

fn changed_archive_is_refused(files: &[PathBuf]) {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed.tar");
    let mut content = fs::read(any(files)).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&changed, content).unwrap();
    let error = Image::open(&changed, &folder.path().join("image")).unwrap_err().to_string();
    assert!(error.contains("changed.tar") && error.contains("the blob sha256:"), "{error}");
}

fn any(files: &[PathBuf]) -> &Path {
    controllers(files).next().unwrap().0
}

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// The container's folder of the kubeconfig and the CA. Images hold no certificates.
const MOUNTED: &str = "/etc/mock";

/// Starts a container whose API server does not exist.
async fn serving(supervisor: &Supervisor, archive: &Path) -> Container {
    let mounted = supervisor.folder().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let kubeconfig = r#"{
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a"
    }"#;
    let ca = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    for (file, content) in [("kubeconfig", kubeconfig), ("ca.crt", &ca)] {
        fs::write(mounted.join(file), content).unwrap();
        fs::set_permissions(mounted.join(file), fs::Permissions::from_mode(0o444)).unwrap();
    }

    let image = Image::open(archive, &supervisor.folder().join("image")).unwrap();
    let options = ContainerOptions {
        args: vec!["--log-format".to_owned(), "text".to_owned()],
        env: vec![("KUBECONFIG".to_owned(), format!("{MOUNTED}/kubeconfig"))],
        mounts: vec![Mount { source: mounted, destination: MOUNTED.into() }],
    };
    let mut command = image.command(&options).unwrap();
    command.stderr(Stdio::piped());
    let mut child = supervisor.spawn(command).unwrap();
    let mut log = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.contains(" serving ")) {
        let line = timeout(DEADLINE, log.next_line()).await.unwrap().unwrap();
        seen.push(line.unwrap_or_else(|| panic!("it does not serve: {seen:?}")));
    }
    // Reads on, so that the controller's writes to the log do not block.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    Container::new(child)
}

async fn gone(process: Pid) {
    let gone = async {
        while rustix::process::test_kill_process(process).is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap_or_else(|_| panic!("{process:?} is still there"));
}
