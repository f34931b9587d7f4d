//! The program `extension-conformance` as a user runs it: it judges a controller on a cluster and by a command, and
//! leaves nothing behind.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in functions that are marked as tests"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::port;
use gardener_testbed::process::Process;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Api, Resource as _, ResourceExt as _};
use mock_fleet::cargo;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Limit of a run. Each takes a few seconds.
const LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

/// A few rules: one namespace with several objects, one that another type is in, one with a finalizer of the kit's own.
const RULES: &str = "foreign_type_*,timestamp_stays_*,deletion_removes_only_*,changed_cluster_*,half_finished_*";

/// A cluster with a running controller, and the kit's program.
struct World {
    bed: TestBed,
    _controller: Process,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let assets = Assets::locate(&|_| {}).unwrap();
        let bed = TestBed::start(&assets, Options::default()).await.unwrap();
        let mut command = Command::new(program("mock-network"));
        command.arg("--kubeconfig").arg(bed.kubeconfig());
        let log = bed.dir().join("mock-network.log");
        let controller = Process::start(bed.supervisor(), "mock-network", command, log).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
        Self { bed, _controller: controller, folder }
    }

    /// Starts the kit against the cluster.
    fn kit(&self, arguments: &[&str]) -> Child {
        let mut command = kit(self.folder.path());
        command.arg("--kubeconfig").arg(self.bed.kubeconfig()).args(arguments);
        command.spawn().unwrap()
    }

    /// The names of all namespaces, Clusters and Networks.
    async fn objects(&self) -> Vec<String> {
        let client = self.bed.client();
        let mut names: Vec<_> = Api::<Namespace>::all(client.clone())
            .list_metadata(&ListParams::default())
            .await
            .unwrap()
            .iter()
            .map(|namespace| format!("{} {}", Namespace::kind(&()), namespace.name_any()))
            .collect();
        for (kind, plural) in [("Cluster", "clusters"), ("Network", "networks")] {
            let kind = GroupVersionKind::gvk("extensions.gardener.cloud", "v1alpha1", kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let objects = objects.list_metadata(&ListParams::default()).await.unwrap();
            names.extend(objects.iter().map(|object| format!("{plural} {}", object.name_any())));
        }
        names.sort();
        names
    }

    async fn until_there_are_networks(&self) {
        while !self.objects().await.iter().any(|name| name.starts_with("networks ")) {
            sleep(POLL).await;
        }
    }
}

fn spec() -> Value {
    json!({ "type": "mock", "podCIDR": "10.20.0.0/16", "serviceCIDR": "10.30.0.0/16", "ipFamilies": ["IPv4"] })
}

/// A program of this workspace, built once more if it has changed.
fn program(package: &str) -> PathBuf {
    let status = cargo::command().args(["build", "--quiet", "--bins", "--package", package]).status().unwrap();
    assert!(status.success(), "cannot build {package}");
    // cargo builds tests into a folder below that of programs.
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join(package)
}

/// The kit, which judges Networks, in a folder with their spec.
fn kit(folder: &Path) -> Command {
    let mut command = Command::new(program("extension-conformance"));
    command.args(["--kind", "Network", "--spec", "network.yaml", "--features", "migrate"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Awaits the end of a run. Returns its exit code, standard output and standard error.
async fn ended(kit: Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = timeout(LIMIT, kit.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn run_on_a_cluster_removes_what_it_has_created_also_when_it_is_interrupted() {
    let world = World::start().await;
    let before = world.objects().await;

    let (code, _, plan) = ended(world.kit(&["--dry-run"])).await;
    assert_eq!(code, Some(0), "{plan}");
    assert!(plan.contains("It changes nothing else") && world.objects().await == before, "{plan}");

    let (code, table, log) = ended(world.kit(&["--run", RULES])).await;
    assert_eq!(code, Some(0), "{table}{log}");
    assert!(table.ends_with("Network of type mock: 5 passed\n"), "{table}");
    assert_eq!(world.objects().await, before, "{log}");

    let kit = world.kit(&["--report", "report.json"]);
    world.until_there_are_networks().await;
    let id = kit.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let (code, table, log) = ended(kit).await;
    assert_eq!(code, Some(2), "{table}{log}");
    assert!(table.contains("not judged: the run was interrupted"), "{table}");
    assert_eq!(world.objects().await, before, "{log}");
    let report: Value = serde_json::from_slice(&fs::read(world.folder.path().join("report.json")).unwrap()).unwrap();
    assert!(report.pointer("/summary/not judged").is_some(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_cluster_is_an_error_before_anything_is_created() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    let cluster = json!({ "server": format!("https://127.0.0.1:{}", port::free().unwrap()) });
    let kubeconfig = json!({
        "clusters": [{ "name": "seed", "cluster": cluster }],
        "contexts": [{ "name": "seed", "context": { "cluster": "seed", "user": "a" } }],
        "users": [{ "name": "a", "user": { "token": "t" } }],
        "current-context": "seed",
    });
    fs::write(folder.path().join("seed.yaml"), kubeconfig.to_string()).unwrap();
    let (code, _, log) = ended(kit(folder.path()).args(["--kubeconfig", "seed.yaml"]).spawn().unwrap()).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.starts_with("error: cannot use --kubeconfig seed.yaml: ") && log.contains("refused"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_rule_of_a_command_gives_exit_code_1_and_a_report_with_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    let mut command = kit(folder.path());
    let controller = program("mock-network");
    command.arg("--command").arg(format!("{} --kubeconfig $KUBECONFIG", controller.display()));
    command.args(["--run", "annotated_create_*,foreign_class_*", "--finalizer", "another.example/finalizer"]);
    command.args(["--patience", "3s", "--report", "report.json", "--report", "report.md", "--junit", "junit.xml"]);
    let (code, table, log) = ended(command.spawn().unwrap()).await;
    assert_eq!(code, Some(1), "{table}{log}");
    assert!(table.contains("gave up waiting for the controller's finalizer another.example/finalizer of a"), "{table}");

    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("report.json")).unwrap();
    let verdicts = report.get("rules").and_then(Value::as_array).unwrap().iter();
    let verdicts: Vec<_> = verdicts.map(|rule| rule.get("verdict").and_then(Value::as_str).unwrap()).collect();
    assert_eq!(verdicts, ["failed", "passed"], "{report:#}");
    let requests = report.pointer("/rules/0/requests").and_then(Value::as_array).unwrap();
    assert!(requests.iter().any(|request| request.as_str().unwrap().contains(" patch networks/status ")), "{report:#}");
    assert!(read("junit.xml").contains("failures=\"1\"") && read("report.md").starts_with("## Network of type mock: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn controller_that_does_not_start_or_ends_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    let network = format!("{} --kubeconfig $KUBECONFIG", program("mock-network").display());
    let port = port::free().unwrap();
    for (controller, why) in [
        (
            "sh -c 'echo no such flag; exit 3'".to_owned(),
            "error: the controller ended (exit status: 3); its log ends with:\n  no such flag",
        ),
        ("./my-controler --kubeconfig $KUBECONFIG".to_owned(), "error: cannot start the controller ./my-controler: No"),
        // It serves a first object, and ends in the middle of the run, which takes longer.
        (format!("timeout 2 {network}"), "the controller ended (exit status: 124)"),
        (
            format!("{network} --admin-address 127.0.0.1:{port}"),
            "do two at the same time listen on one port? the controller ended",
        ),
    ] {
        let mut command = kit(folder.path());
        command.args(["--command", &controller]);
        let (code, table, log) = ended(command.spawn().unwrap()).await;
        assert_eq!(code, Some(2), "{controller}: {table}{log}");
        assert!(format!("{table}{log}").contains(why), "{controller}: {table}{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_object_that_does_not_get_ready_ends_the_run_with_what_to_do_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let network = format!("{} --kubeconfig $KUBECONFIG", program("mock-network").display());
    let failing = "rules: [{fail: {message: no room, retryAfter: 1h}}]";
    let script = format!("apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\n{failing}\n");
    fs::write(folder.path().join("script.yaml"), script).unwrap();
    let mut unknown = spec();
    unknown.as_object_mut().unwrap().insert("podCidr".to_owned(), json!("10.20.0.0/16"));
    for (spec, controller, expected) in [
        (
            unknown,
            network.clone(),
            ["unknown field \"spec.podCidr\"", "correct the first object in the file of --spec"],
        ),
        (
            spec(),
            "sleep 60".to_owned(),
            ["status.observedGeneration must be metadata.generation", "has not touched the object"],
        ),
        (spec(), format!("{network} --script script.yaml"), ["no room", "the controller reports an error"]),
    ] {
        fs::write(folder.path().join("network.yaml"), spec.to_string()).unwrap();
        let mut command = kit(folder.path());
        command.args(["--command", &controller, "--patience", "3s", "--report", "report.json", "--junit", "junit.xml"]);
        let (code, table, log) = ended(command.spawn().unwrap()).await;
        assert_eq!((code, table.as_str()), (Some(2), ""), "{controller}: {table}{log}");
        let error = log.rsplit_once("error: no rule is tried: ").unwrap_or_else(|| panic!("{log}")).1;
        assert!(expected.iter().all(|words| error.contains(words)), "{controller}: {log}");
        let report = fs::read(folder.path().join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let reason = report.pointer("/rules/0/reason").and_then(Value::as_str).unwrap();
        assert!(reason.contains(expected[0]), "{reason}");
        assert!(fs::read_to_string(folder.path().join("junit.xml")).unwrap().contains("not judged: "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_the_first_object_breaks_as_well_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    let rules = "rules: [{misbehave: {fault: OldObservedGeneration}}]";
    let script = format!("apiVersion: mock.extensions.gardener.cloud/v1alpha1\nkind: Script\n{rules}\n");
    fs::write(folder.path().join("script.yaml"), script).unwrap();
    let mut command = kit(folder.path());
    let controller = program("mock-network");
    command.arg("--command").arg(format!("{} --kubeconfig $KUBECONFIG --script script.yaml", controller.display()));
    command.args(["--run", "annotated_create_*", "--patience", "3s"]);
    let (code, table, log) = ended(command.spawn().unwrap()).await;
    assert_eq!(code, Some(1), "{table}{log}");
    assert!(log.contains("the controller calls the first object a success, but gardenlet does not"), "{log}");
    assert!(table.contains("status.observedGeneration must be metadata.generation"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_the_command_line_are_found_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    for (flags, why) in [
        (["--command", "true --kubeconfig="].as_slice(), "without $KUBECONFIG"),
        (&["--command", "true", "--report", "missing/report.json"], "cannot write missing/report.json: No such file"),
        (&["--command", "true", "--junit", "network.yaml/a.xml"], "cannot write network.yaml/a.xml: not a directory"),
        (&["--command", "true", "--run", "new_generation_*"], "none of the rules of --run applies:\n  new_generation_"),
    ] {
        let (code, table, log) = ended(kit(folder.path()).args(flags).spawn().unwrap()).await;
        assert_eq!((code, table.as_str()), (Some(2), ""), "{flags:?}: {table}{log}");
        assert!(log.starts_with("error: ") && log.contains(why), "{flags:?}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controller_that_ends_by_itself_under_a_rule_breaks_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("network.yaml"), spec().to_string()).unwrap();
    // The shared controller is the first one. Each further one ends at once.
    let once = "test -e once && { echo it is here already; exit 4; }; touch once";
    let controller = format!("sh -c '{once}; exec {} --kubeconfig $KUBECONFIG'", program("mock-network").display());
    let mut command = kit(folder.path());
    command.args(["--command", &controller, "--run", "request_from_before_the_start_is_served", "--patience", "3s"]);
    let (code, table, log) = ended(command.spawn().unwrap()).await;
    assert_eq!(code, Some(1), "{table}{log}");
    assert!(table.contains("the controller ended (exit status: 4)"), "{table}{log}");
}
