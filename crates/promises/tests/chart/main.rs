//! The chart in `deploy/chart`: helm renders it, and the real API server accepts the objects.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

mod admission;
mod hollow_nodes;
mod pods;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use clap::Parser;
use gardener_testbed::assets::{self, Assets};
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{self, Mode};
use gardener_testbed::workspace::root;
use kube::api::PostParams;
use kube::{Api, Client};
use mock_core::kind::NoOptions;
use mock_core::process::args::Args;
use mock_gardenlet::installation::{Installation, gardener, template};
use serde_json::{Value, json};

use crate::admission::POLICY;

const NAMESPACE: &str = "extension-mock";
/// The seed's version, which gardenlet passes to the chart.
const KUBERNETES: &str = "v1.36.3";

static HELM: LazyLock<PathBuf> = LazyLock::new(|| assets::helm(&progress).unwrap_or_else(|error| panic!("{error}")));

fn progress(step: &str) {
    let _ = writeln!(io::stderr(), "{step}");
}

fn chart() -> PathBuf {
    root().join("deploy/chart")
}

/// The kinds that the chart can install.
fn kinds() -> Vec<String> {
    kinds_in("rbac")
}

/// The kinds that the chart can install in the garden's runtime cluster.
fn kinds_in_garden() -> Vec<String> {
    kinds_in("rbac-in-garden")
}

/// The kinds that can have an admission policy.
fn kinds_with_policy() -> Vec<String> {
    kinds_in("admission")
}

fn kinds_in(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(chart().join(folder)).unwrap().map(|file| file.unwrap().path());
    let mut kinds: Vec<_> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    kinds.sort();
    assert!(kinds.len() >= 4, "{folder}: {kinds:?}");
    kinds
}

/// The values that gardener-operator sets in the garden's runtime cluster
/// (`pkg/operator/controller/extension/extension/runtime/runtime.go`).
fn in_garden() -> Value {
    let cluster = json!({ "enabled": "true", "priorityClassName": "gardener-garden-system-200" });
    json!({ "gardener": { "runtimeCluster": cluster } })
}

/// Renders the chart with these values. Returns helm's message if helm refuses them.
fn render(kind: &str, values: &Value) -> Result<Vec<Value>, String> {
    render_for(KUBERNETES, kind, values)
}

/// Renders the chart for a seed of another version.
fn render_for(version: &str, kind: &str, values: &Value) -> Result<Vec<Value>, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    std::fs::write(&file, values.to_string()).unwrap();
    let mut helm = Command::new(&*HELM);
    helm.args(["template", &format!("mock-{kind}"), "--namespace", NAMESPACE, "--set", &format!("kind={kind}")]);
    helm.args(["--kube-version", version]);
    let rendered = template(helm.arg("--values").arg(file).arg(chart())).map_err(|error| error.to_string())?;
    Ok(manifests::parse(&rendered, "the rendered chart").unwrap())
}

fn object<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind)
}

fn pod(objects: &[Value]) -> &Value {
    &object(objects, "Deployment").unwrap()["spec"]["template"]
}

fn arguments(objects: &[Value]) -> Vec<String> {
    serde_json::from_value(pod(objects)["spec"]["containers"][0]["args"].clone()).unwrap()
}

fn seed() -> Value {
    let documents = manifests::read(&root().join("example/40-seed.yaml")).unwrap();
    documents.into_iter().find(|document| document["kind"] == "Seed").unwrap()
}

fn unusual_types() -> Value {
    json!(["yes", "1", "a: {b}", "--x", "ü/\"'", "{{ . }}", "TYPES", "\\n<&>"])
}

/// Unusual values, each with what is unusual about it.
fn unusual_values() -> Vec<(&'static str, Value)> {
    vec![
        ("nothing but the kind", json!({})),
        ("the values of gardenlet", json!({ "gardener": gardener(&seed()), "usablePorts": [10_100, 10_101] })),
        ("no values of gardenlet", json!({ "gardener": null })),
        ("a seed with IPv6", json!({ "gardener": { "seed": { "networks": { "ipFamilies": ["IPv6"] } } } })),
        ("disabled", json!({ "replicas": 0 })),
        (
            "everything on",
            json!({
                "replicas": 3,
                "concurrency": 65535,
                "logLevel": "debug,kube=info",
                "vpa": { "enabled": true },
                "admissionPolicy": { "enabled": true },
                "metrics": { "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } } },
                "image": { "repository": "localhost:5000/a/b", "tag": "1.0", "pullPolicy": "Always", "pullSecrets": ["a"] },
                "script": "a: |\n  {{ .Values }} \"'\n# ü\n",
                "extraArgs": ["--log-format=text"],
                "adminPort": 65535,
            }),
        ),
        (
            "everything off",
            json!({
                "heartbeat": { "enabled": false },
                "metrics": { "scrape": false },
                "priorityClassName": "",
                "resources": null,
                "livenessProbe": null,
                "readinessProbe": null,
            }),
        ),
        (
            "words that are no text in YAML 1.1",
            json!({
                "vpa": { "enabled": true, "updateMode": "Off" },
                "image": { "pullSecrets": ["1234"], "tag": "1.10" },
                "metrics": { "serviceMonitor": { "enabled": true, "labels": { "on": "yes" } } },
            }),
        ),
        ("a digest", json!({ "image": { "tag": format!("1.0@sha256:{}", "0".repeat(64)) } })),
        ("types that are no text in YAML", json!({ "types": unusual_types() })),
        ("numbers for quantities", json!({ "resources": { "requests": { "cpu": 1, "memory": 134_217_728 } } })),
        (
            "mixed and tainted nodes",
            json!({
                "nodeSelector": { "kubernetes.io/arch": "amd64", "example.org/yes": "true" },
                "tolerations": [{ "key": "control-plane-only", "operator": "Exists" }, { "operator": "Exists" }],
                "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["1"] }] }],
                } } },
            }),
        ),
        ("no scheduling", json!({ "nodeSelector": null, "tolerations": null, "affinity": null })),
        ("other classes", json!({ "classes": ["seed", "shoot"] })),
        ("another liveness probe", json!({ "livenessProbe": { "initialDelaySeconds": 30, "timeoutSeconds": 5 } })),
    ]
}

/// A bed with the resources that the chart can render, and with the namespace and the priority class of a seed.
async fn bed() -> TestBed {
    let assets = Assets::locate(&progress).unwrap();
    let bed = TestBed::start(&assets, Options::default()).await.unwrap();
    let further = assets::further_crds(&progress).unwrap();
    bed.install_crds(&further).await.unwrap();
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "labels": labels } });
    let class = |name: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": name },
            "value": 999_998_900,
        })
    };
    for object in [namespace, class("gardener-system-900"), class("gardener-garden-system-200")] {
        manifests::apply(&bed.client(), &object, Mode::Apply).await.unwrap();
    }
    bed
}

/// Fails unless the API server would accept the Pod, its security standard included.
async fn admits_pod(client: &Client, objects: &[Value]) -> Result<(), String> {
    let mut pod = pod(objects).clone();
    pod["metadata"]["name"] = json!("pod");
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&params, &serde_json::from_value(pod).unwrap()).await.map_err(|error| error.to_string()).map(drop)
}

#[test]
fn helm_lint_accepts_the_chart_of_every_kind() {
    let every_kind = kinds().into_iter().map(|kind| vec![format!("--set=kind={kind}")]);
    for arguments in every_kind.chain([vec![]]) {
        let output = Command::new(&*HELM).args(["lint", "--strict"]).args(&arguments).arg(chart()).output().unwrap();
        let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !output_text.contains("[WARNING]"), "{arguments:?}: {output_text}");
    }
}

#[tokio::test]
async fn api_server_accepts_every_object_of_every_kind_with_unusual_values() {
    let bed = bed().await;
    for kind in kinds() {
        let policy = json!({ "admissionPolicy": { "enabled": kinds_with_policy().contains(&kind) } });
        let in_garden = kinds_in_garden().contains(&kind).then(|| ("the garden", in_garden()));
        let nodes = ("hollow nodes", json!({ "hollowNodes": true }));
        // Only names, permissions and policies differ between kinds.
        let unusual = if kind == "network" { unusual_values() } else { vec![] };
        for (case, values) in [("the policy", policy), nodes].into_iter().chain(in_garden).chain(unusual) {
            let objects = render(&kind, &values).unwrap_or_else(|error| panic!("{kind}, {case}: {error}"));
            for object in &objects {
                let accepted = manifests::apply(&bed.client(), object, Mode::DryRun).await;
                accepted.unwrap_or_else(|error| panic!("{kind}, {case}: {error}"));
            }
            admits_pod(&bed.client(), &objects).await.unwrap_or_else(|error| panic!("{kind}, {case}: {error}"));
        }
    }
    bed.stop().await.unwrap();
}

#[test]
fn arguments_are_flags_of_the_controller_with_the_given_values() {
    for (case, values) in unusual_values() {
        let objects = render("network", &values).unwrap();
        let arguments = arguments(&objects);
        let parsed = Args::<NoOptions>::try_parse_from([&["mock".to_owned()], arguments.as_slice()].concat());
        let args = parsed.unwrap_or_else(|error| panic!("{case}: {error}"));
        let types: Vec<String> = serde_json::from_value(values["types"].clone()).unwrap_or_default();
        assert_eq!(args.types, types, "{case}");
        let classes: Vec<&str> = args.classes.iter().map(|class| class.as_str()).collect();
        assert_eq!(json!(classes), values.get("classes").cloned().unwrap_or(json!([])), "{case}");
        let port = values["usablePorts"][0].as_u64().or(values["adminPort"].as_u64()).unwrap_or(8080);
        let address = args.admin_address.unwrap();
        assert_eq!(u64::from(address.port()), port, "{case}");
        assert!(address.ip().is_unspecified(), "{case}");
        assert_eq!(address.is_ipv6(), case == "a seed with IPv6", "{case}");
        if let Some(level) = values["logLevel"].as_str() {
            assert_eq!(args.log_level, level);
        }
    }
}

/// A controller's installation does not depend on the files of other kinds.
#[test]
fn registration_of_every_kind_holds_what_its_chart_needs() {
    for kind in kinds() {
        let folder = tempfile::tempdir().unwrap();
        let file = root().join(format!("deploy/controllerregistrations/mock-{kind}.yaml"));
        let installation = Installation::render(&file, &seed(), &HELM, folder.path()).unwrap();
        assert_eq!(rules(&installation.objects), rules(&render(&kind, &json!({})).unwrap()), "{kind}");

        let chart = folder.path().join(format!("{}.tgz", installation.namespace));
        let packed = |kind: &str, values: &[&str]| {
            let mut helm = Command::new(&*HELM);
            helm.args(["template", "mock", "--kube-version", KUBERNETES, "--set", &format!("kind={kind}")]);
            let rendered = template(helm.args(values).arg(&chart)).map_err(|error| error.to_string())?;
            Ok::<_, String>(manifests::parse(&rendered, "the rendered chart").unwrap())
        };
        if kinds_with_policy().contains(&kind) {
            let rendered = render(&kind, &json!({ "admissionPolicy": { "enabled": true } })).unwrap();
            let packed = packed(&kind, &["--set", "admissionPolicy.enabled=true"]).unwrap();
            assert_eq!(object(&packed, POLICY).unwrap()["spec"], object(&rendered, POLICY).unwrap()["spec"], "{kind}");
        }
        if kinds_in_garden().contains(&kind) {
            let packed = packed(&kind, &["--set", "classes={garden}"]).unwrap();
            assert_eq!(rules(&packed), rules(&render(&kind, &in_garden()).unwrap()), "{kind}");
        }
        let another = kinds().into_iter().find(|other| *other != kind).unwrap();
        let refused = packed(&another, &[]).unwrap_err();
        assert!(refused.contains(&format!("has no controller: set it to one of {kind}")), "{refused}");
    }
}

fn rules(objects: &[Value]) -> Value {
    object(objects, "ClusterRole").unwrap()["rules"].clone()
}

/// The classes that the controller gets as flags.
fn classes(objects: &[Value]) -> Vec<String> {
    let arguments = arguments(objects).into_iter();
    arguments.filter_map(|argument| argument.strip_prefix("--class=").map(str::to_owned)).collect()
}

#[test]
fn class_garden_is_served_in_the_runtime_cluster_alone_and_without_rights_to_clusters() {
    let enabled = |enabled: Value| json!({ "gardener": { "runtimeCluster": { "enabled": enabled } } });
    for kind in kinds_in_garden() {
        for values in [enabled(json!("true")), enabled(json!(true)), json!({ "classes": ["garden"] })] {
            let objects = render(&kind, &values).unwrap();
            assert_eq!(classes(&objects), ["garden"], "{kind}: {values}");
            let rules = rules(&objects).to_string();
            assert!(!rules.contains("clusters") && !rules.contains("namespaces"), "{kind}: {rules}");
        }
        let on_seeds = render(&kind, &json!({})).unwrap();
        for values in [enabled(json!("false")), enabled(json!(false)), json!({ "gardener": gardener(&seed()) })] {
            let objects = render(&kind, &values).unwrap();
            assert_eq!((classes(&objects), rules(&objects)), (vec![], rules(&on_seeds)), "{kind}: {values}");
        }
        let all = render(&kind, &json!({ "classes": ["seed", "shoot", "garden"] })).unwrap();
        assert_eq!(classes(&all), ["seed", "shoot", "garden"], "{kind}");
        assert_eq!(rules(&all), rules(&on_seeds), "{kind}");
    }
}

#[test]
fn kind_without_objects_in_the_garden_is_refused_there() {
    for kind in kinds().into_iter().filter(|kind| !kinds_in_garden().contains(kind)) {
        for values in [in_garden(), json!({ "classes": ["garden"] })] {
            let error = render(&kind, &values).unwrap_err();
            assert!(error.contains(&format!("kind \"{kind}\" has no objects of class garden")), "{error}");
        }
    }
}

#[test]
fn pods_in_the_runtime_cluster_have_the_priority_class_of_gardener_operator() {
    let class = |values: Value| pod(&render("dnsrecord", &values).unwrap())["spec"]["priorityClassName"].clone();
    assert_eq!(class(json!({})), "gardener-system-900");
    assert_eq!(class(in_garden()), "gardener-garden-system-200");
    let mut none = in_garden();
    none["priorityClassName"] = json!("");
    assert_eq!(class(none), Value::Null);
}

#[test]
fn invalid_values_are_refused_by_name() {
    for (values, named) in [
        (json!({ "replica": 2 }), "'replica' not allowed"),
        (json!({ "replicas": -1 }), "/replicas"),
        (json!({ "replicas": "two" }), "/replicas"),
        (json!({ "types": "mock" }), "/types"),
        (json!({ "types": ["a", "a"] }), "/types"),
        (json!({ "types": [""] }), "/types/0"),
        (json!({ "classes": ["shoots"] }), "/classes/0"),
        (json!({ "classes": ["seed", "seed"] }), "/classes"),
        (json!({ "classes": null }), "missing property 'classes'"),
        (json!({ "concurrency": 0 }), "/concurrency"),
        (json!({ "image": { "tag": "a b" } }), "/image/tag"),
        (json!({ "image": { "name": "x" } }), "/image"),
        (json!({ "adminPort": 80 }), "/adminPort"),
        (json!({ "nodeSelector": { "a": true } }), "/nodeSelector/a"),
        (json!({ "tolerations": {} }), "/tolerations"),
        (json!({ "affinity": [] }), "/affinity"),
        (json!({ "livenessProbe": { "httpGet": {} } }), "/livenessProbe"),
        (json!({ "heartbeat": { "renewIntervalSeconds": 0 } }), "/heartbeat/renewIntervalSeconds"),
        (json!({ "heartbeat": { "renewIntervalSeconds": 241 } }), "/heartbeat/renewIntervalSeconds"),
        (json!({ "heartbeat": null }), "missing property 'heartbeat'"),
        (json!({ "leaderElection": null }), "missing property 'leaderElection'"),
        (json!({ "image": { "pullSecrets": null } }), "missing property 'pullSecrets'"),
        (json!({ "metrics": { "serviceMonitor": null } }), "missing property 'serviceMonitor'"),
        (json!({ "adminPort": null }), "missing property 'adminPort'"),
        (json!({ "admissionPolicy": { "enabled": "yes" } }), "/admissionPolicy/enabled"),
        (json!({ "admissionPolicy": null }), "missing property 'admissionPolicy'"),
        (json!({ "vpa": { "updateMode": "Sometimes" } }), "/vpa/updateMode"),
        (json!({ "hollowNodes": "yes" }), "/hollowNodes"),
        (json!({ "hollowNodes": null }), "missing property 'hollowNodes'"),
    ] {
        let error = render("network", &values).expect_err(&values.to_string());
        assert!(error.contains(named), "{values}: {error}");
    }
    let error = render("bastille", &json!({})).unwrap_err();
    assert!(error.contains("\"bastille\"") && error.contains(&kinds().join(", ")), "{error}");
}

/// What the policy allows is proven by the suite of the kind.
#[test]
fn secrets_of_the_controllers_service_account_are_limited_where_it_may_write_some() {
    for kind in kinds() {
        let objects = render(&kind, &json!({})).unwrap();
        let rules = object(&objects, "ClusterRole").unwrap()["rules"].to_string();
        let policy = object(&objects, "ValidatingAdmissionPolicy");
        assert_eq!(policy.is_some(), rules.contains("secrets"), "{kind}");
        let Some(policy) = policy else { continue };
        let user = format!("request.userInfo.username == \"system:serviceaccount:{NAMESPACE}:mock-{kind}\"");
        assert_eq!(policy["spec"]["matchConditions"][0]["expression"], user);
        let binding = object(&objects, "ValidatingAdmissionPolicyBinding").unwrap();
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    }
}
