//! Tests of the test bed with real servers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use extension_contract::{GROUP, VERSION, kinds};
use futures::future::try_join;
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{ADMIN, BedError, Member, Options, TestBed};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// The deadline of a condition. A successful test does not wait that long.
const DEADLINE: Duration = Duration::from_secs(60);

static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let progress = |step: &str| {
        let _ = writeln!(io::stderr(), "{step}");
    };
    Assets::locate(&progress).unwrap_or_else(|error| panic!("{error}"))
});

async fn start_bed() -> TestBed {
    start_bed_with_users(&[]).await
}

async fn start_bed_with_users(users: &[&str]) -> TestBed {
    let users = users.iter().map(|&user| user.to_owned()).collect();
    TestBed::start(&ASSETS, Options { users, ..Options::default() }).await.unwrap()
}

async fn within_deadline<T>(condition: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, condition).await.expect("the condition holds before the deadline")
}

async fn wait_until_gone(secrets: &Api<Secret>, secret: &Secret) {
    let is_gone = is_deleted(secret.metadata.uid.as_deref().unwrap());
    within_deadline(await_condition(secrets.clone(), &secret.name_any(), is_gone)).await.unwrap();
}

fn infrastructures(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, VERSION, "Infrastructure");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

/// Creates an Infrastructure in the namespace of the same name.
async fn create_infrastructure(client: Client, name: &str, finalizers: &[&str]) -> DynamicObject {
    let infrastructure = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Infrastructure",
        "metadata": {"name": name, "finalizers": finalizers},
        "spec": {"type": "mock", "region": "here", "secretRef": {"name": "cloudprovider", "namespace": name}},
    });
    let infrastructure = serde_json::from_value(infrastructure).unwrap();
    infrastructures(client, name).create(&PostParams::default(), &infrastructure).await.unwrap()
}

async fn create_namespace(client: Client, name: &str) -> Namespace {
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    Api::all(client).create(&PostParams::default(), &namespace).await.unwrap()
}

async fn create_secret(client: Client, namespace: &str, owner: Option<&DynamicObject>) -> Secret {
    let owners: Vec<_> = owner
        .iter()
        .map(|owner| {
            json!({
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": "Infrastructure",
                "name": owner.name_any(),
                "uid": owner.metadata.uid,
            })
        })
        .collect();
    let secret = json!({"metadata": {"generateName": "secret-", "ownerReferences": owners}});
    let secret = serde_json::from_value(secret).unwrap();
    Api::namespaced(client, namespace).create(&PostParams::default(), &secret).await.unwrap()
}

fn rule(verbs: &[&str], resource: &str) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_beds_run_side_by_side_and_serve_all_extension_kinds() {
    let start = Instant::now();
    let options = Options { etcd_quota_bytes: Some(64 << 20), ..Options::default() };
    let (one, other) =
        try_join(TestBed::start(&ASSETS, options.clone()), TestBed::start(&ASSETS, options)).await.unwrap();
    let _ = writeln!(io::stdout(), "two beds started in {:?}", start.elapsed());

    create_namespace(one.client(), "only-in-one").await;
    for bed in [&one, &other] {
        let definitions: Api<CustomResourceDefinition> = Api::all(bed.client());
        let definitions = definitions.list(&ListParams::default()).await.unwrap().items;
        assert!(definitions.len() > kinds::ALL.len(), "all extension kinds and Cluster");
        for definition in definitions {
            let spec = definition.spec;
            let kind = GroupVersionKind::gvk(&spec.group, &spec.versions[0].name, &spec.names.kind);
            let api: Api<DynamicObject> = Api::all_with(bed.client(), &ApiResource::from_gvk(&kind));
            assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 0);
        }
    }
    let namespaces: Api<Namespace> = Api::all(other.client());
    assert!(namespaces.get_opt("only-in-one").await.unwrap().is_none());

    let folders = [one.dir().to_owned(), other.dir().to_owned()];
    one.stop().await.unwrap();
    other.stop().await.unwrap();
    for folder in folders {
        assert!(!folder.exists());
        assert_eq!(processes(&folder), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_shows_the_log_of_a_server_that_cannot_start() {
    let options = Options { apiserver_flags: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = TestBed::start(&ASSETS, options).await.unwrap_err();
    assert!(matches!(&error, BedError::Exited { server: "kube-apiserver", .. }), "{error}");
    assert!(error.to_string().contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_or_suspended_server_serves_the_same_data_again() {
    let bed = start_bed().await;
    create_namespace(bed.client(), "a").await;
    let namespaces: Api<Namespace> = Api::all(bed.client());
    for member in [Member::Etcd, Member::KubeApiserver] {
        bed.kill(member).await.unwrap();
        assert!(bed.ready().await.is_err(), "{member:?} has ended");
        bed.start_again(member).await.unwrap();
        bed.ready().await.unwrap();
        namespaces.get("a").await.unwrap();

        bed.suspend(member).await.unwrap();
        // On a busy machine, the process may answer once more before it takes notice of the signal.
        let answers = async || tokio::time::timeout(Duration::from_millis(300), namespaces.get("a")).await.is_ok();
        within_deadline(async { while answers().await {} }).await;
        bed.resume(member).await.unwrap();
        within_deadline(namespaces.get("a")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_only_what_the_latest_grant_allows() {
    let bed = start_bed_with_users(&["mock-infrastructure"]).await;
    let client = bed.client_for("mock-infrastructure").await.unwrap();
    let secrets: Api<Secret> = Api::all(client.clone());
    let config_maps: Api<ConfigMap> = Api::all(client);
    let is_forbidden = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.is_forbidden());
    assert!(is_forbidden(secrets.list(&ListParams::default()).await.unwrap_err()));

    bed.grant("mock-infrastructure", vec![rule(&["get", "list"], "secrets")]).await.unwrap();
    secrets.list(&ListParams::default()).await.unwrap();
    assert!(is_forbidden(config_maps.list(&ListParams::default()).await.unwrap_err()));

    bed.grant("mock-infrastructure", vec![rule(&["list"], "configmaps")]).await.unwrap();
    config_maps.list(&ListParams::default()).await.unwrap();

    assert!(matches!(bed.grant("mock-worker", Vec::new()).await, Err(BedError::NoSuchUser(_))));
    let options = Options { users: vec![ADMIN.to_owned()], ..Options::default() };
    assert!(matches!(TestBed::start(&ASSETS, options).await, Err(BedError::UserName(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_contains_exactly_the_requests_of_a_user() {
    let bed = start_bed_with_users(&["counted"]).await;
    bed.grant("counted", vec![rule(&["*"], "configmaps")]).await.unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(bed.client_for("counted").await.unwrap(), "default");

    let config_map = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    config_maps.create(&PostParams::default(), &config_map).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"key": "value"}}));
    config_maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert!(config_maps.get_opt("b").await.unwrap().is_none());
    config_maps.delete("a", &DeleteParams::default()).await.unwrap();

    let requests = bed.audit().unwrap().requests(|request| request.user == "counted").unwrap();
    let requests: Vec<_> =
        requests.iter().map(|request| (request.verb.as_str(), request.name.as_str(), request.code)).collect();
    assert_eq!(requests, [("create", "a", 201), ("patch", "a", 200), ("get", "b", 404), ("delete", "a", 200)]);
    let requests = bed.audit().unwrap().requests(|request| request.user == ADMIN).unwrap();
    assert_eq!(requests.len(), 0, "the bed must use another user for its own requests: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_deletes_a_secret_when_its_owner_is_gone() {
    let bed = start_bed().await;
    create_namespace(bed.client(), "a").await;
    let infrastructure = create_infrastructure(bed.client(), "a", &[]).await;
    let owned = create_secret(bed.client(), "a", Some(&infrastructure)).await;
    let mut former_infrastructure = infrastructure.clone();
    former_infrastructure.metadata.uid = Some("5e2f4a1c-0000-4000-8000-000000000000".to_owned());
    let orphan = create_secret(bed.client(), "a", Some(&former_infrastructure)).await;
    let without_owner = create_secret(bed.client(), "a", None).await;
    let secrets: Api<Secret> = Api::namespaced(bed.client(), "a");

    wait_until_gone(&secrets, &orphan).await;
    assert!(secrets.get_opt(&owned.name_any()).await.unwrap().is_some());

    infrastructures(bed.client(), "a").delete("a", &DeleteParams::default()).await.unwrap();
    wait_until_gone(&secrets, &owned).await;
    assert!(secrets.get_opt(&without_owner.name_any()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_finalizes_a_namespace_when_its_last_finalizer_is_gone() {
    let bed = start_bed().await;
    let namespaces: Api<Namespace> = Api::all(bed.client());
    let uid = create_namespace(bed.client(), "a").await.metadata.uid.unwrap();
    let infrastructure = create_infrastructure(bed.client(), "a", &["example.org/mock"]).await;
    let secret = create_secret(bed.client(), "a", None).await;

    namespaces.delete("a", &DeleteParams::default()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(bed.client(), "a");
    wait_until_gone(&secrets, &secret).await;
    let is_terminating =
        |object: Option<&DynamicObject>| object.is_some_and(|o| o.metadata.deletion_timestamp.is_some());
    let infrastructures = infrastructures(bed.client(), "a");
    within_deadline(await_condition(infrastructures.clone(), "a", is_terminating)).await.unwrap();
    let phase = namespaces.get("a").await.unwrap().status.unwrap().phase;
    assert_eq!(phase.as_deref(), Some("Terminating"));

    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    infrastructures.patch(&infrastructure.name_any(), &PatchParams::default(), &release).await.unwrap();
    within_deadline(await_condition(namespaces, "a", is_deleted(&uid))).await.unwrap();
}

/// Starts a bed, prints its folder, and waits until the parent test kills this process or exits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of a_killed_process_leaves_no_processes_and_files"]
async fn process_to_be_killed() {
    if std::env::var_os(TO_BE_KILLED).is_some() {
        let bed = start_bed().await;
        writeln!(io::stdout(), "\n{BED_IN}{}", bed.dir().display()).unwrap();
        io::copy(&mut io::stdin(), &mut io::sink()).unwrap();
    }
}

const TO_BE_KILLED: &str = "MOCK_TESTBED_TO_BE_KILLED";
const BED_IN: &str = "bed in ";

#[test]
fn a_killed_process_leaves_no_processes_and_files() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_to_be_killed", "--ignored", "--nocapture"])
        .env(TO_BE_KILLED, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let folder = output.find_map(|line| line.unwrap().strip_prefix(BED_IN).map(str::to_owned)).expect("a bed started");
    let folder = Path::new(&folder);
    assert!(folder.is_dir());
    assert_eq!(processes(folder).len(), 3, "etcd, kube-apiserver and the guard: {:?}", processes(folder));

    process.kill().unwrap();
    process.wait().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while folder.exists() || !processes(folder).is_empty() {
        assert!(Instant::now() < deadline, "left behind: {} {:?}", folder.display(), processes(folder));
        std::thread::yield_now();
    }
}

/// Returns the command lines that contain the path of a folder. That includes all processes of the bed in the folder.
fn processes(folder: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
    let folder = folder.to_str().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter(|line| line.contains(folder)).map(str::to_owned).collect()
}

/// Starts a bed in the environment that the parent test made.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of a_bed_starts_in_a_long_folder_behind_a_proxy_and_with_relative_paths"]
async fn bed_in_an_odd_environment() {
    if std::env::var_os(ODD).is_some() {
        let bed = start_bed().await;
        create_namespace(bed.client(), "a").await;
        bed.stop().await.unwrap();
    }
}

const ODD: &str = "MOCK_TESTBED_ODD";

#[test]
fn a_bed_starts_in_a_long_folder_behind_a_proxy_and_with_relative_paths() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(120);
    std::fs::create_dir(folder.path().join(&long)).unwrap();
    for server in [&ASSETS.etcd, &ASSETS.kube_apiserver] {
        std::os::unix::fs::symlink(server, folder.path().join(server.file_name().unwrap())).unwrap();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bed_in_an_odd_environment", "--ignored"])
        .env(ODD, "")
        .current_dir(folder.path())
        .envs([("TMPDIR", long.as_str()), ("KUBEBUILDER_ASSETS", "."), ("https_proxy", "http://127.0.0.1:9")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
