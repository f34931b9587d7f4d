//! Every reason that the rules know, and what the explanation says of it.

use std::collections::BTreeSet;

use extension_contract::json::{annotate, set};
use extension_contract::kinds::{self, Kind};
use extension_contract::readiness::NotReady;
use extension_contract::{DELETION_CONFIRMATION_ANNOTATION, OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::act::Who;
use crate::garden::Garden;
use crate::heartbeat::Heartbeat;
use crate::secrets::Secret;
use crate::seed::ClusterOf;
use crate::{Explanation, Found, History, Ours, Seed, explain, words};

mod garden;
mod script;
mod watch;

const NAMESPACE: &str = "shoot--dev--a";
const REQUESTED: &str = "2026-08-20T10:15:30.5Z";

/// A minute after the request.
fn now() -> Timestamp {
    "2026-08-20T10:16:30.5Z".parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A ready object of a kind.
fn ready(kind: &'static Kind) -> Value {
    let mut object = json!({
        "metadata": { "name": "a", "uid": "1", "generation": 1, "creationTimestamp": "2026-08-20T10:00:00Z",
            "annotations": { TIMESTAMP_ANNOTATION: REQUESTED }, "finalizers": ["extensions.gardener.cloud/x"] },
        "spec": { "type": "mock" },
        "status": { "observedGeneration": 1, "machineDeploymentsLastUpdateTime": "2026-08-20T10:15:30Z",
            "lastOperation": { "type": "Reconcile", "state": "Succeeded", "progress": 100, "description": "done",
                "lastUpdateTime": "2026-08-20T10:15:30Z" } },
    });
    if kind.namespaced {
        set(&mut object, "metadata.namespace", NAMESPACE);
    } else if kind == &kinds::BACKUP_ENTRY {
        set(&mut object, "metadata.name", format!("{NAMESPACE}--uid"));
    }
    object
}

/// A seed with one Shoot, whose Secret `etcd-backup` exists.
fn seed() -> Seed {
    let cluster = json!({
        "metadata": { "name": NAMESPACE, "uid": "2" },
        "spec": {
            "shoot": { "metadata": { "namespace": "garden-dev", "name": "a" }, "status": { "technicalID": NAMESPACE } },
            "seed": { "metadata": { "name": "seed" } },
        },
    });
    Seed {
        clusters: [(NAMESPACE.to_owned(), cluster)].into(),
        shoot_namespaces: [NAMESPACE.to_owned()].into(),
        ..Seed::default()
    }
}

fn with(mut object: Value, path: &str, value: impl Into<Value>) -> Value {
    set(&mut object, path, value);
    object
}

fn annotated(mut object: Value, name: &str, value: &str) -> Value {
    annotate(&mut object, name, value);
    object
}

fn explained(kind: &'static Kind, object: Value, seed: &Seed) -> Explanation {
    explain(&Found { kind, object }, seed, &History::default(), &[], now())
}

fn failed(code: &str) -> Value {
    with(ready(&kinds::NETWORK), "status.lastError", json!({ "description": "no room", "codes": [code] }))
}

/// An object that does not meet a rule, the rule, who should act, and how long after the request gardenlet gives up.
type Case = (&'static Kind, Value, &'static str, Who, Option<i64>);

fn cases() -> Vec<Case> {
    [of_network(), of_other_kinds()].concat()
}

/// Networks that do not meet a rule that holds for all kinds.
fn of_network() -> Vec<Case> {
    let network = || ready(&kinds::NETWORK);
    let asked = |operation| annotated(network(), OPERATION_ANNOTATION, operation);
    let before = "2026-08-20T10:15:29Z";
    vec![
        (&kinds::NETWORK, failed("ERR_INFRA_RESOURCES_DEPLETED"), "LastError", Who::Extension, Some(30)),
        (&kinds::NETWORK, failed("ERR_INFRA_QUOTA_EXCEEDED"), "LastError", Who::Owner, Some(30)),
        (&kinds::NETWORK, with(network(), "metadata.generation", 2), "ObservedGeneration", Who::Extension, Some(180)),
        (&kinds::NETWORK, asked("reconcile"), "Operation", Who::Extension, Some(180)),
        (&kinds::NETWORK, asked("wait-for-state"), "Operation", Who::Gardenlet, Some(180)),
        (
            &kinds::NETWORK,
            with(network(), "status.lastOperation", Value::Null),
            "NoLastOperation",
            Who::Extension,
            Some(180),
        ),
        (
            &kinds::NETWORK,
            with(network(), "status.lastOperation.state", "Processing"),
            "State",
            Who::Extension,
            Some(180),
        ),
        (&kinds::NETWORK, with(network(), "status.lastOperation.state", "Pending"), "State", Who::Extension, Some(180)),
        (
            &kinds::NETWORK,
            with(network(), "status.lastOperation.lastUpdateTime", before),
            "Outdated",
            Who::Extension,
            Some(180),
        ),
        (
            &kinds::NETWORK,
            annotated(network(), TIMESTAMP_ANNOTATION, "today"),
            "UnreadableTimestamp",
            Who::Gardenlet,
            Some(-750),
        ),
        (
            &kinds::NETWORK,
            with(network(), "metadata.deletionTimestamp", "2026-08-20T10:15:40Z"),
            "StillThere",
            Who::Extension,
            Some(189),
        ),
        (&kinds::NETWORK, asked("migrate"), "NotMigrated", Who::Extension, Some(180)),
    ]
}

/// As [`of_network`], for the rules that are not for every kind.
fn of_other_kinds() -> Vec<Case> {
    let boot = with(ready(&kinds::OPERATING_SYSTEM_CONFIG), "spec.purpose", "provision");
    let reference = json!({ "namespace": NAMESPACE, "name": "gone" });
    let bucket =
        || with(ready(&kinds::BACKUP_BUCKET), "spec.secretRef", json!({ "namespace": "garden", "name": "new" }));
    let before = "2026-08-20T10:15:29Z";
    vec![
        (
            &kinds::WORKER,
            with(ready(&kinds::WORKER), "status.machineDeploymentsLastUpdateTime", before),
            "MachineDeployments",
            Who::Extension,
            Some(600),
        ),
        (
            &kinds::WORKER,
            with(ready(&kinds::WORKER), "status.machineDeploymentsLastUpdateTime", Value::Null),
            "NoMachineDeployments",
            Who::Extension,
            Some(600),
        ),
        (&kinds::OPERATING_SYSTEM_CONFIG, boot.clone(), "NoUserData", Who::Extension, Some(180)),
        (
            &kinds::OPERATING_SYSTEM_CONFIG,
            with(boot, "status.cloudConfig.secretRef", reference.clone()),
            "NoSecret",
            Who::Extension,
            Some(180),
        ),
        (&kinds::BACKUP_BUCKET, bucket(), "OlderThanCredentials", Who::Extension, None),
        (
            &kinds::BACKUP_BUCKET,
            with(ready(&kinds::BACKUP_BUCKET), "status.generatedSecretRef", reference),
            "NoSecret",
            Who::Extension,
            None,
        ),
        (
            &kinds::BACKUP_BUCKET,
            annotated(bucket(), OPERATION_ANNOTATION, "reconcile"),
            "Operation",
            Who::Extension,
            None,
        ),
        (
            &kinds::BACKUP_ENTRY,
            with(ready(&kinds::BACKUP_ENTRY), "metadata.deletionTimestamp", "2026-08-20T10:15:40Z"),
            "StillThere",
            Who::Extension,
            None,
        ),
        (
            &kinds::BASTION,
            with(ready(&kinds::BASTION), "status.lastError.description", "x"),
            "LastError",
            Who::Extension,
            None,
        ),
        (
            &kinds::BACKUP_BUCKET,
            with(with(ready(&kinds::BACKUP_BUCKET), "spec.class", "garden"), "metadata.generation", 2),
            "ObservedGeneration",
            Who::Extension,
            Some(60),
        ),
    ]
}

/// A seed whose Secrets make the rules about Secrets apply.
fn seed_with_secrets() -> Seed {
    let name = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
    let secrets = [
        (name("garden", "new"), Secret::Exists(Some("2026-08-20T10:15:31Z".to_owned()))),
        (name(NAMESPACE, "gone"), Secret::Missing),
    ];
    Seed { secrets: secrets.into(), ..seed() }
}

#[test]
fn each_unmet_rule_is_explained_with_who_acts_and_until_when_gardenlet_waits() {
    let seed = seed_with_secrets();
    let requested: Timestamp = REQUESTED.parse().unwrap();
    for (kind, object, rule, who, seconds) in cases() {
        let case = format!("{} {rule}: {object}", kind.name);
        let waits = explained(kind, object, &seed).waits.expect(&case);
        assert_eq!((waits.rule, waits.act.who), (rule, who), "{case}");
        let until = waits.patience.until.map(|until| until.duration_since(requested).as_secs());
        assert_eq!(until, seconds, "{case}");
        assert!(!waits.patience.then.is_empty() && !waits.why.is_empty(), "{case}");
    }
}

#[test]
fn every_reason_of_the_contract_has_a_case() {
    // Those that only a watch can see.
    let watched = ["Absent", "Timestamp", "Unnoticed"];
    let known: BTreeSet<_> = cases().iter().map(|case| case.2).chain(watched).collect();
    let all = [
        NotReady::Absent,
        NotReady::Timestamp { expected: String::new(), found: None },
        NotReady::LastError { description: String::new(), codes: Vec::new() },
        NotReady::ObservedGeneration { observed: 0, generation: 0 },
        NotReady::Operation(String::new()),
        NotReady::NoLastOperation,
        NotReady::State(String::new()),
        NotReady::UnreadableTimestamp(String::new()),
        NotReady::Outdated { requested: String::new(), updated: String::new() },
        NotReady::NoMachineDeployments,
        NotReady::MachineDeployments { before: String::new(), now: String::new() },
        NotReady::NotMigrated(String::new()),
        NotReady::OlderThanCredentials { credentials: String::new(), updated: String::new() },
        NotReady::NoUserData,
        NotReady::NoSecret(String::new()),
        NotReady::Unnoticed,
        NotReady::StillThere(String::new()),
    ];
    assert_eq!(known, all.iter().map(NotReady::name).collect());
}

#[test]
fn ready_object_of_each_kind_does_not_wait_and_takes_a_line() {
    for kind in kinds::ALL {
        let explanation = explained(kind, ready(kind), &seed());
        assert_eq!(explanation.waits, None, "{}", kind.name);
        let line = words::describe(&explanation, now());
        assert!(line.starts_with("ready") && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn migrated_object_and_hibernated_worker_do_not_wait() {
    let migrated = with(ready(&kinds::NETWORK), "status.lastOperation.type", "Migrate");
    assert_eq!(explained(&kinds::NETWORK, with(migrated, "metadata.generation", 2), &seed()).waits, None);
    let mut seed = seed();
    let worker = with(ready(&kinds::WORKER), "status.machineDeploymentsLastUpdateTime", Value::Null);
    assert!(explained(&kinds::WORKER, worker.clone(), &seed).waits.is_some());
    set(seed.clusters.get_mut(NAMESPACE).unwrap(), "spec.shoot.spec.hibernation.enabled", true);
    assert_eq!(explained(&kinds::WORKER, worker, &seed).waits, None);
}

#[test]
fn owner_acts_for_a_failed_shoot_and_gardenlet_for_a_missing_cluster() {
    let asked = || annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let mut seed = seed();
    set(seed.clusters.get_mut(NAMESPACE).unwrap(), "spec.shoot.status.lastOperation.state", "Failed");
    let act = explained(&kinds::NETWORK, asked(), &seed).waits.unwrap().act;
    assert!(act.who == Who::Owner && act.how.contains("operation=retry"), "{act:?}");
    seed.clusters.clear();
    let act = explained(&kinds::NETWORK, asked(), &seed).waits.unwrap().act;
    assert!(act.who == Who::Gardenlet && act.how.contains("Cluster"), "{act:?}");
    // A Bastion is served also for a Failed Shoot, and a bucket has no Cluster.
    let bucket = annotated(ready(&kinds::BACKUP_BUCKET), OPERATION_ANNOTATION, "reconcile");
    assert_eq!(explained(&kinds::BACKUP_BUCKET, bucket, &seed).waits.unwrap().act.who, Who::Extension);
}

#[test]
fn final_error_fails_the_shoot_and_another_one_lets_gardenlet_retry() {
    let then = |code| explained(&kinds::NETWORK, failed(code), &seed()).waits.unwrap().patience.then;
    assert!(then("ERR_INFRA_QUOTA_EXCEEDED").contains("Failed"));
    assert!(then("ERR_RETRYABLE_INFRA_DEPENDENCIES").contains("retries its whole flow"));
    let mut of_seed = failed("ERR_INFRA_QUOTA_EXCEEDED");
    set(&mut of_seed, "metadata.namespace", "garden");
    let then = explained(&kinds::DNS_RECORD, of_seed, &seed()).waits.unwrap().patience.then;
    assert!(then.contains("of the Seed"), "{then}");
}

#[test]
fn missing_timestamp_of_an_answered_request_is_noted() {
    let stripped = with(ready(&kinds::NETWORK), "metadata.annotations", json!({}));
    let notes = explained(&kinds::NETWORK, stripped.clone(), &seed()).notes;
    assert!(notes.iter().any(|note| note.contains("timestamp is missing")), "{notes:?}");
    assert_eq!(explained(&kinds::INFRASTRUCTURE, stripped, &seed()).notes, Vec::<String>::new());
}

#[test]
fn paragraph_names_rule_times_and_actor() {
    let object = annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile");
    let text = words::describe(&explained(&kinds::NETWORK, object, &seed()), now());
    assert_eq!(
        text,
        "WAITS  Network a (mock): gardener.cloud/operation must be gone, but is \"reconcile\"
         last operation: Reconcile Succeeded 1 min 0 s ago
         its description: done
         waited for since 10:15:30 UTC, 1 min 0 s ago; time-out in 2 min 0 s: the Shoot goes to Error, and gardenlet retries its whole flow, with a new request
         to act: its extension: remove gardener.cloud/operation, and report the result
         extension: without --garden-kubeconfig, it is unknown whether its extension is installed"
    );
}

#[test]
fn gist_stays_while_only_time_passes_and_changes_with_the_time_out() {
    let found =
        Found { kind: &kinds::NETWORK, object: annotated(ready(&kinds::NETWORK), OPERATION_ANNOTATION, "reconcile") };
    let gist = |seconds| {
        let now = now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        words::gist(&explain(&found, &seed(), &History::default(), &[], now), now)
    };
    assert_eq!(gist(0), gist(60));
    assert_ne!(gist(0), gist(150));
}

#[test]
fn span_has_the_units_that_suit_its_size() {
    let spans = [3_450, 12_900, 125_000, 7_260_000, 180_000_000].map(SignedDuration::from_millis).map(words::span);
    assert_eq!(spans, ["3.4 s", "12 s", "2 min 5 s", "2 h 1 min", "2 d 2 h"]);
}

#[test]
fn namespace_with_a_cluster_is_that_of_a_shoot_although_its_labels_are_unknown() {
    let seed = Seed { shoot_namespaces: BTreeSet::new(), ..seed() };
    let record = Found { kind: &kinds::DNS_RECORD, object: ready(&kinds::DNS_RECORD) };
    assert!(matches!(seed.cluster_of(&record), ClusterOf::Known(_)));
}
