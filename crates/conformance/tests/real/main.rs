//! Real controllers on Gardener's Go library keep every *must*: a rule that they break is no rule of the contract.
//!
//! ```text
//! MOCK_KEEP=1 cargo test --package extension-conformance --test real -- --ignored
//! ```
//!
//! judges them, and writes the results to `REAL.md`. `OS_GARDENLINUX` is a folder with a checkout of
//! `gardener-extension-os-gardenlinux`; without it, that extension is left out.
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
use std::{env, fs};

use extension_contract::GARDENER_VERSION;
use gardener_testbed::assets;
use gardener_testbed::port;
use serde_json::{Value, json};

/// What comes before the results in `REAL.md` is written by people.
const MARKER: &str = "<!-- results -->";
/// What the library can do besides the core of the contract.
const FEATURES: &str = "migrate,force-deletion,retry,cluster,failed-shoot,keeps-state";
/// The webhooks of both extensions. They need kinds and a network that a test bed lacks.
const WEBHOOKS: &str = "controlplane,shoot,node,networkpolicy,prometheus,rollout-speedup,os-gardenlinux-webhook";

/// A controller to judge.
struct Row {
    /// Name of the program in the results.
    program: &'static str,
    /// Value of `--controllers`.
    controller: &'static str,
    kind: &'static str,
    spec: fn() -> Value,
    /// The Secret that the spec names.
    has_secret: bool,
    finalizer: Option<&'static str>,
}

fn secret() -> Value {
    json!({ "name": "credentials", "namespace": "garden" })
}

const ROWS: [Row; 4] = [
    Row {
        program: "provider-local",
        controller: "operatingsystemconfig",
        kind: "OperatingSystemConfig",
        spec: || json!({ "type": "local", "purpose": "provision" }),
        has_secret: false,
        finalizer: None,
    },
    Row {
        program: "provider-local",
        controller: "backupbucket",
        kind: "BackupBucket",
        spec: || json!({ "type": "local", "region": "local", "secretRef": secret() }),
        has_secret: true,
        finalizer: None,
    },
    Row {
        program: "provider-local",
        controller: "backupentry",
        kind: "BackupEntry",
        spec: || json!({ "type": "local", "region": "local", "bucketName": "b", "secretRef": secret() }),
        has_secret: true,
        finalizer: None,
    },
    Row {
        program: "provider-local",
        controller: "local-ext-shoot",
        kind: "Extension",
        spec: || json!({ "type": "local-ext-shoot" }),
        has_secret: false,
        finalizer: Some("extensions.gardener.cloud/local-ext-shoot"),
    },
];

const GARDENLINUX: Row = Row {
    program: "os-gardenlinux",
    controller: "operatingsystemconfig",
    kind: "OperatingSystemConfig",
    spec: || json!({ "type": "gardenlinux", "purpose": "provision" }),
    has_secret: false,
    finalizer: None,
};

#[test]
#[ignore = "builds Gardener's provider-local and judges real controllers, for half an hour"]
fn controllers_on_gardeners_library_keep_every_must() {
    let progress = |line: &str| eprintln!("{line}");
    let local = assets::provider_local(&progress).unwrap();
    let mut judged: Vec<_> =
        ROWS.iter().map(|row| (format!("{} {GARDENER_VERSION}", row.program), judge(row, &local))).collect();
    if let Some(checkout) = env::var_os("OS_GARDENLINUX").map(PathBuf::from) {
        let (version, program) = build(&checkout);
        judged.push((format!("os-gardenlinux {version}"), judge(&GARDENLINUX, &program)));
    } else {
        eprintln!("OS_GARDENLINUX names no checkout: os-gardenlinux is left out");
    }
    if env::var_os("MOCK_KEEP").is_some() {
        keep(&judged);
    }
    let is_broken = |rule: &&Value| rule["verdict"] == "failed" && rule["level"] == "must";
    let broken: Vec<_> = judged
        .iter()
        .flat_map(|(name, report)| {
            report["rules"].as_array().unwrap().iter().filter(is_broken).map(move |rule| (name, &rule["id"]))
        })
        .collect();
    assert!(broken.is_empty(), "rules of level must that Gardener's library breaks: {broken:?}");
}

/// Builds os-gardenlinux from a checkout. Returns its version and the program.
fn build(checkout: &Path) -> (String, PathBuf) {
    let program = env::temp_dir().join("os-gardenlinux");
    let mut go = Command::new("go");
    go.current_dir(checkout).env("GOWORK", "off").args(["build", "-o"]).arg(&program);
    assert!(go.arg("./cmd/gardener-extension-os-gardenlinux").status().unwrap().success());
    let git = Command::new("git").current_dir(checkout).args(["log", "-1", "--format=%h"]).output().unwrap();
    let version = fs::read_to_string(checkout.join("VERSION")).unwrap_or_default();
    (format!("{} ({})", version.trim(), String::from_utf8_lossy(&git.stdout).trim()), program)
}

/// Judges a controller with the program of this crate. Returns its report.
fn judge(row: &Row, program: &Path) -> Value {
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
    kit.args(["--kind", row.kind, "--patience", "60s", "--parallel", "2", "--features", FEATURES]);
    kit.arg("--spec").arg(file("spec.json", &(row.spec)())).arg("--report").arg(&report);
    kit.env("WEBHOOK_CONFIG_NAMESPACE", "garden").env("LEADER_ELECTION_NAMESPACE", "garden").env_remove("SEED_NAME");
    if row.has_secret {
        kit.arg("--setup").arg(file("secret.json", &secret));
    }
    if let Some(finalizer) = row.finalizer {
        kit.args(["--finalizer", finalizer]);
    }
    for definition in fs::read_dir(assets::provider_local_crds(&|line| eprintln!("{line}")).unwrap()).unwrap() {
        kit.arg("--setup").arg(definition.unwrap().path());
    }
    kit.arg("--command").arg(command(row, program, folder.path()));
    let status = kit.status().unwrap();
    let report = fs::read_to_string(&report).unwrap_or_else(|_| panic!("{}: not judged, {status}", row.kind));
    serde_json::from_str(&report).unwrap()
}

/// The command line of a controller, without leader election and webhooks.
fn command(row: &Row, program: &Path, folder: &Path) -> String {
    let (port, folder) = (port::free().unwrap(), folder.display());
    let mut command = format!(
        "{} --kubeconfig $KUBECONFIG --leader-election=false --controllers {} --disable-webhooks {WEBHOOKS} \
         --heartbeat-namespace garden --metrics-bind-address 0 --health-bind-address 0 --webhook-config-mode url \
         --webhook-config-url 127.0.0.1:{port} --webhook-config-server-port {port} \
         --webhook-config-server-host 127.0.0.1 --webhook-config-namespace garden \
         --webhook-config-cert-dir {folder}/certificates --gardener-version {GARDENER_VERSION}",
        program.display(),
        row.controller,
    );
    if row.program == "provider-local" {
        let _ = write!(command, " --backupbucket-local-dir {folder} --backupbucket-container-mount-path {folder}");
    }
    command
}

/// Writes the results to `REAL.md`.
fn keep(judged: &[(String, Value)]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("REAL.md");
    let page = fs::read_to_string(&file).unwrap_or_default();
    let (before, _) = page.split_once(MARKER).unwrap_or((&page, ""));
    let mut text = format!("{before}{MARKER}\n\n| rule | level |");
    for (name, report) in judged {
        let _ = write!(text, " {name}, {} |", report["subject"].as_str().unwrap_or_default());
    }
    let _ = write!(text, "\n| --- | --- |{}", " --- |".repeat(judged.len()));
    let mut rules = BTreeMap::<usize, (String, Vec<&str>)>::new();
    for (_, report) in judged {
        for (index, rule) in report["rules"].as_array().unwrap().iter().enumerate() {
            let head = format!("`{}` | {}", rule["id"].as_str().unwrap(), rule["level"].as_str().unwrap());
            rules.entry(index).or_insert((head, Vec::new())).1.push(rule["verdict"].as_str().unwrap());
        }
    }
    for (head, verdicts) in rules.values() {
        let cells = verdicts.iter().map(|verdict| if verdict.starts_with("not a") { "–" } else { verdict });
        let _ = write!(text, "\n| {head} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    fs::write(file, text + "\n").unwrap();
}
