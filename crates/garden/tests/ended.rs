//! Nothing of a garden is left when its command ends, however it ends.
#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may panic and say why, but .clippy.toml allows it only in test functions"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use mock_garden::isolation::Isolation;
use mock_garden::outside::{Outside, Parts, Reservation, Running, find};
use mock_garden::{Wanted, Work};
use rustix::process::{Pid, Signal, kill_process};

/// The folder of the test, for the command that the test starts.
const FOLDER: &str = "GARDEN_TEST_FOLDER";
const NAME: &str = "test";

/// Takes the place of all programs inside: mounts a file system, leaves a process in a session of its own, and never ends.
const INSIDE: &str = r#"#!/bin/sh
mkdir "$3/mounted" && mount -t tmpfs tmpfs "$3/mounted" && ip link set lo up || exit 1
setsid sh -c 'trap "" TERM HUP; while :; do echo x >>"$0/late"; sleep 0.01; done' "$3" &
touch "$3/ready"
sleep 1000
"#;

/// The command that a person would start. It ends only by a signal.
#[tokio::test]
#[ignore = "the other tests start it as a process"]
async fn outside_runs_until_it_is_killed() {
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let own = folder.join("program");
    fs::write(&own, INSIDE).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let reservation = Reservation::take(&folder, NAME).unwrap();
    let parts = Parts { own, programs: Vec::new(), pods: Vec::new() };
    let isolation = Isolation::find().unwrap();
    let sources = gardener_testbed::workspace::root().to_owned();
    let wanted = Wanted { sources, seeds: 1, shoots: Vec::new(), feature_gates: Vec::new(), work: Work::Up };
    let mut garden = Outside::start(reservation, isolation, &parts, wanted).await.unwrap();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    tokio::select! {
        ended = garden.ended() => assert!(ended.is_err(), "the inside ended by itself"),
        _ = terminate.recv() => garden.stop().await.unwrap(),
    }
}

/// Starts the command, and returns when everything inside runs. Returns `None` if this machine allows no namespaces.
fn start(folder: &Path) -> Option<(Child, Running)> {
    if let Err(error) = Isolation::find() {
        eprintln!("not tested here: {error}");
        return None;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "outside_runs_until_it_is_killed", "--ignored"]).env(FOLDER, folder);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let running = until("it runs", || find(folder, NAME).ok().filter(|running| running.folder.join("late").exists()));
    Some((child, running))
}

fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(value) = check() {
            return value;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("30 s later, still not: {what}");
}

/// The processes whose command line has this text.
fn processes(text: &str) -> Vec<String> {
    let commands = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path().join("cmdline"));
    let commands = commands.filter_map(|file| fs::read(file).ok());
    let commands = commands.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    commands.filter(|line| line.contains(text)).collect()
}

/// Waits until no process and no folder of the garden is left, and checks that no mount is.
fn assert_nothing_is_left(folder: &Path, running: &Running, mounts: &str) {
    let garden = running.folder.display().to_string();
    until("all processes have ended", || processes(&garden).is_empty().then_some(()));
    until("the folder is removed", || (!running.folder.exists()).then_some(()));
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
    assert!(find(folder, NAME).is_err());
}

#[test]
fn nothing_is_left_after_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let Some((mut child, running)) = start(folder.path()) else { return };
    assert!(!processes(&running.folder.display().to_string()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_nothing_is_left(folder.path(), &running, &mounts);
}

#[test]
fn nothing_is_left_when_the_command_that_was_asked_to_end_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let Some((mut child, running)) = start(folder.path()) else { return };
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(processes(&running.folder.display().to_string()), Vec::<String>::new());
    assert!(!running.folder.exists());
    assert_nothing_is_left(folder.path(), &running, &mounts);
}
