//! Real controllers on Gardener's Go library keep every *must*: a rule that they break is no rule of the contract.
//!
//! ```text
//! MOCK_KEEP=1 cargo test --package extension-conformance --test real -- --ignored
//! ```
//!
//! judges them, and writes the results to `REAL.md`. `OS_GARDENLINUX`, `OS_SUSE_CHOST` and `RUNTIME_GVISOR` are folders
//! with a checkout of these extensions; without it, an extension is left out. `REAL_ONLY` names the kinds or
//! programs to judge, separated by commas.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests may panic, but .clippy.toml allows it only in test functions, not in their helpers"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{env, fs, thread};

use extension_contract::GARDENER_VERSION;
use gardener_testbed::assets;
use serde_json::{Value, json};

/// What comes before the results in `REAL.md` is written by people.
const MARKER: &str = "<!-- results -->";
/// What the library can do besides the core of the contract.
const FEATURES: &str = "migrate,force-deletion,retry,cluster,failed-shoot,keeps-state";
/// How many controllers are judged at the same time. Most limit themselves to five requests a second.
const AT_ONCE: usize = 3;

/// A controller to judge.
struct Row {
    /// Name of the program in the results.
    program: &'static str,
    /// Value of `--controllers`, where the program has several.
    controller: &'static str,
    /// Value of `--disable-webhooks`, where the program has any: webhooks need kinds and a network that a test bed lacks.
    webhooks: &'static str,
    kind: &'static str,
    spec: fn() -> Value,
    /// What the controller reads of a Cluster.
    cluster: fn() -> Value,
    finalizer: Option<&'static str>,
}

fn secret() -> Value {
    json!({ "name": "credentials", "namespace": "garden" })
}

/// A controller of provider-local.
const LOCAL: Row = Row {
    program: "provider-local",
    controller: "",
    webhooks: "controlplane,shoot,node,networkpolicy,prometheus,rollout-speedup,calico-self-hosted-shoot",
    kind: "",
    spec: || Value::Null,
    cluster: || {
        json!({ "shoot": { "spec": { "kubernetes": { "version": "1.33.0" }, "provider": { "type": "local" } } },
            "cloudProfile": { "spec": { "providerConfig": {
                "apiVersion": "local.provider.extensions.gardener.cloud/v1alpha1", "kind": "CloudProfileConfig",
                "machineImages": [] } } } })
    },
    finalizer: None,
};

const ROWS: [Row; 4] = [
    Row {
        controller: "operatingsystemconfig",
        kind: "OperatingSystemConfig",
        spec: || json!({ "type": "local", "purpose": "provision" }),
        ..LOCAL
    },
    Row {
        controller: "backupbucket",
        kind: "BackupBucket",
        spec: || json!({ "type": "local", "region": "local", "secretRef": secret() }),
        ..LOCAL
    },
    Row {
        controller: "backupentry",
        kind: "BackupEntry",
        spec: || json!({ "type": "local", "region": "local", "bucketName": "b", "secretRef": secret() }),
        ..LOCAL
    },
    Row {
        controller: "local-ext-shoot",
        kind: "Extension",
        spec: || json!({ "type": "local-ext-shoot" }),
        finalizer: Some("extensions.gardener.cloud/local-ext-shoot"),
        ..LOCAL
    },
];

/// Extensions in repositories of their own, and the variables that name a checkout of each.
const FOREIGN: [(&str, Row); 3] = [
    (
        "OS_GARDENLINUX",
        Row {
            program: "os-gardenlinux",
            controller: "operatingsystemconfig",
            webhooks: "os-gardenlinux-webhook",
            kind: "OperatingSystemConfig",
            spec: || json!({ "type": "gardenlinux", "purpose": "provision" }),
            ..LOCAL
        },
    ),
    (
        "OS_SUSE_CHOST",
        Row {
            program: "os-suse-chost",
            controller: "operatingsystemconfig",
            webhooks: "",
            kind: "OperatingSystemConfig",
            spec: || json!({ "type": "suse-chost", "purpose": "provision" }),
            ..LOCAL
        },
    ),
    (
        "RUNTIME_GVISOR",
        Row {
            program: "runtime-gvisor",
            webhooks: "",
            kind: "ContainerRuntime",
            spec: || {
                let pool = json!({ "name": "pool", "selector": { "matchLabels": { "a": "b" } } });
                json!({ "type": "gvisor", "binaryPath": "/var/bin/containerruntimes", "workerPool": pool })
            },
            ..LOCAL
        },
    ),
];

#[test]
#[ignore = "builds Gardener's provider-local and judges real controllers, for a quarter of an hour"]
fn controllers_on_gardeners_library_keep_every_must() {
    let progress = |line: &str| eprintln!("{line}");
    let only = env::var("REAL_ONLY").unwrap_or_default();
    let is_wanted = |row: &Row| only.is_empty() || only.split(',').any(|name| [row.kind, row.program].contains(&name));
    let mut programs = Vec::new();
    for row in ROWS.iter().filter(|row| is_wanted(row)) {
        programs.push((row, GARDENER_VERSION.to_owned(), assets::provider_local(&progress).unwrap()));
    }
    for (variable, row) in FOREIGN.iter().filter(|(_, row)| is_wanted(row)) {
        if let Some(checkout) = env::var_os(variable).map(PathBuf::from) {
            let (version, program) = build(row.program, &checkout);
            programs.push((row, version, program));
        } else {
            eprintln!("{variable} names no checkout: {} is left out", row.program);
        }
    }
    let (queue, judged) = (Mutex::new(programs), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || queue.lock().unwrap().pop();
                while let Some((row, version, program)) = next() {
                    let report = judge(row, &program);
                    let mut judged = judged.lock().unwrap();
                    if let (Ok(report), Some(_)) = (&report, env::var_os("MOCK_KEEP")) {
                        keep(row.program, &version, report);
                    }
                    judged.push(report);
                }
            });
        }
    });
    let judged = judged.into_inner().unwrap();
    let wrong: Vec<_> =
        judged.into_iter().flat_map(|judged| judged.map_or_else(|why| vec![why], |report| broken(&report))).collect();
    assert!(wrong.is_empty(), "rules of level must that are broken or not judged: {wrong:?}");
}

/// The rules of level must that a controller breaks, or by which it was not judged.
fn broken(report: &Value) -> Vec<String> {
    let is_broken =
        |rule: &&Value| (rule["verdict"] == "failed" || rule["verdict"] == "not judged") && rule["level"] == "must";
    let broken = report["rules"].as_array().unwrap().iter().filter(is_broken);
    broken.map(|rule| format!("{}: {}", report["subject"], rule["id"])).collect()
}

/// Builds an extension from a checkout. Returns its version and the program.
fn build(name: &str, checkout: &Path) -> (String, PathBuf) {
    let program = env::temp_dir().join(name);
    let mut go = Command::new("go");
    go.current_dir(checkout).env("GOWORK", "off").env("CGO_ENABLED", "0").args(["build", "-mod=mod", "-trimpath"]);
    go.args(["-ldflags", "-s -w", "-o"]).arg(&program).arg(format!("./cmd/gardener-extension-{name}"));
    assert!(go.status().unwrap().success());
    let git = Command::new("git").current_dir(checkout).args(["log", "-1", "--format=%h"]).output().unwrap();
    let version = fs::read_to_string(checkout.join("VERSION")).unwrap_or_default();
    (format!("{} ({})", version.trim(), String::from_utf8_lossy(&git.stdout).trim()), program)
}

/// Judges a controller with the program of this crate. Returns its report, or why there is none.
fn judge(row: &Row, program: &Path) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &Value| {
        let path = folder.path().join(name);
        fs::write(&path, content.to_string()).unwrap();
        path
    };
    let metadata = json!({ "name": "credentials", "namespace": "garden",
        "annotations": { "gardener.cloud/timestamp": "2026-01-01T00:00:00.1Z" } });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "a": "Yg==" } });
    let report = folder.path().join("report.json");
    let mut kit = Command::new(env!("CARGO_BIN_EXE_extension-conformance"));
    kit.args(["--kind", row.kind, "--patience", "60s", "--parallel", "3", "--features", FEATURES]);
    kit.arg("--spec").arg(file("spec.json", &(row.spec)())).arg("--report").arg(&report);
    kit.arg("--cluster").arg(file("cluster.json", &(row.cluster)())).arg("--setup").arg(file("secret.json", &secret));
    kit.env("WEBHOOK_CONFIG_NAMESPACE", "garden").env("LEADER_ELECTION_NAMESPACE", "garden").env_remove("SEED_NAME");
    if let Some(finalizer) = row.finalizer {
        kit.args(["--finalizer", finalizer]);
    }
    for definition in fs::read_dir(assets::provider_local_crds(&|line| eprintln!("{line}")).unwrap()).unwrap() {
        kit.arg("--setup").arg(definition.unwrap().path());
    }
    kit.arg("--command").arg(command(row, program, folder.path()));
    let status = kit.status().unwrap();
    // A controller that was not judged does not keep the others from it.
    let report = fs::read_to_string(&report).map_err(|_| format!("{}: no report, {status}", row.kind))?;
    let report: Value = serde_json::from_str(&report).unwrap();
    if report["summary"]["passed"].is_null() {
        return Err(format!("{}: no rule was tried, {status}", report["subject"]));
    }
    Ok(report)
}

/// The command line of a controller, without leader election and webhooks.
fn command(row: &Row, program: &Path, folder: &Path) -> String {
    let mut command = format!(
        "{} --kubeconfig $KUBECONFIG --leader-election=false --ignore-operation-annotation=false \
         --heartbeat-namespace garden --metrics-bind-address 0 --health-bind-address 0 \
         --gardener-version {GARDENER_VERSION}",
        program.display(),
    );
    if !row.controller.is_empty() {
        let _ = write!(command, " --controllers {}", row.controller);
    }
    if !row.webhooks.is_empty() {
        // Two controllers at the same time need two ports, and a shell's process ID is that of its controller.
        let (port, folder) = ("$((20000 + $$ % 12000))", folder.display());
        let _ = write!(
            command,
            " --disable-webhooks {} --webhook-config-mode url --webhook-config-url \
             127.0.0.1:{port} --webhook-config-server-port {port} --webhook-config-server-host 127.0.0.1 \
             --webhook-config-namespace garden --webhook-config-cert-dir {folder}/certificates",
            row.webhooks,
        );
    }
    if row.program == LOCAL.program {
        let folder = folder.display();
        let _ = write!(command, " --backupbucket-local-dir {folder} --backupbucket-container-mount-path {folder}");
    }
    format!("sh -c 'exec {command}'")
}

/// Writes the results of a controller to `REAL.md`, and keeps those of others.
fn keep(program: &str, version: &str, report: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("REAL.md");
    let page = fs::read_to_string(&file).unwrap();
    let (before, results) = page.split_once(MARKER).unwrap();
    let sections = results.split("\n### ").filter_map(|section| section.split_once("\n\n"));
    let mut sections: BTreeMap<_, _> =
        sections.map(|(heading, text)| (heading.to_owned(), text.trim_end().to_owned())).collect();
    let heading = format!("{program}: {}", report["subject"].as_str().unwrap());
    sections.insert(heading, section(version, report));
    let sections: Vec<_> = sections.iter().map(|(heading, text)| format!("\n### {heading}\n\n{text}\n")).collect();
    fs::write(file, format!("{before}{MARKER}\n{}", sections.concat())).unwrap();
}

/// The counts of a report, and the rules that are broken or were not judged.
fn section(version: &str, report: &Value) -> String {
    let counts = report["summary"].as_object().unwrap().iter();
    let counts: Vec<_> = counts.map(|(verdict, count)| format!("{count} {verdict}")).collect();
    let mut text = format!("{version}: {}.", counts.join(", "));
    let rules = report["rules"].as_array().unwrap().iter();
    let mut shown =
        rules.filter(|rule| ["failed", "not judged"].contains(&rule["verdict"].as_str().unwrap())).peekable();
    if shown.peek().is_some() {
        text.push_str("\n\n| rule | level | verdict |\n| --- | --- | --- |");
    }
    for rule in shown {
        let field = |name: &str| rule[name].as_str().unwrap();
        let _ = write!(text, "\n| `{}` | {} | {} |", field("id"), field("level"), field("verdict"));
    }
    text
}
