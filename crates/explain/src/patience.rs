//! Since when gardenlet waits, until when, and what happens then.

use extension_contract::TIMESTAMP_ANNOTATION;
use extension_contract::json::{annotation, text};
use extension_contract::kinds;
use extension_contract::readiness::{NotReady, state_of_shoot};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::rule::Wait;
use crate::seed::Found;

/// Until when gardenlet waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Patience {
    /// When gardenlet gives up. `None` if it waits for ever.
    pub until: Option<Timestamp>,
    /// What happens then.
    pub then: String,
}

/// When the wait began: the deletion, else gardenlet's latest request, else the creation of the object.
#[must_use]
pub fn since(object: &Value, wait: Wait) -> Option<Timestamp> {
    let time = |path| text(object, path).and_then(|time| time.parse().ok());
    let requested = || annotation(object, TIMESTAMP_ANNOTATION).and_then(|time| time.parse().ok());
    match wait {
        Wait::Gone => time("metadata.deletionTimestamp"),
        Wait::Ready | Wait::Event | Wait::Migrated => requested().or_else(|| time("metadata.creationTimestamp")),
    }
}

/// Until when gardenlet waits for an object that does not meet a rule. `timeout` is that of the wait.
#[must_use]
pub fn patience(
    found: &Found,
    wait: Wait,
    unmet: &NotReady,
    since: Option<Timestamp>,
    timeout: SignedDuration,
) -> Patience {
    let after = |time: SignedDuration| since.and_then(|since| since.checked_add(time).ok());
    if found.is_of_garden() {
        let then = "gardener-operator fails this reconcile of the Garden, and retries it";
        return Patience { until: after(timeout), then: then.to_owned() };
    }
    match (wait, unmet) {
        (Wait::Event, _) => Patience { until: None, then: waits_for_ever(found) },
        (Wait::Gone, _) if found.kind.reader == kinds::Reader::Watches => {
            let then = "gardenlet confirms and deletes the object again every 5 s, for ever";
            Patience { until: None, then: then.to_owned() }
        }
        // gardenlet counts its polls from the start of the wait, those without an error too
        // (`pkg/extensions/customresources.go`).
        (Wait::Ready, NotReady::LastError { codes, .. }) => {
            let severe = SignedDuration::try_from(found.kind.severe).unwrap_or(SignedDuration::MAX);
            Patience { until: after(severe.min(timeout)), then: gives_up(found, state_of_shoot(codes)) }
        }
        _ => Patience { until: after(timeout), then: gives_up(found, "Error") },
    }
}

/// What gardenlet does when a wait fails. `shoot` is the state that the Shoot goes to
/// (`pkg/gardenlet/controller/shoot/shoot/reconciler.go`).
fn gives_up(found: &Found, shoot: &str) -> String {
    if found.namespace() == "garden" {
        return "gardenlet fails this reconcile of the Seed, and retries it".to_owned();
    }
    if shoot == "Failed" {
        return "the Shoot goes to Failed, and gardenlet does nothing until the Shoot's owner acts".to_owned();
    }
    "the Shoot goes to Error, and gardenlet retries its whole flow, with a new request".to_owned()
}

/// Of a kind that gardenlet watches: what ends its wait, and who waits in turn.
fn waits_for_ever(found: &Found) -> String {
    let waiting = if found.kind == &kinds::BACKUP_ENTRY {
        // `pkg/component/garden/backupentry/backupentry.go`
        "; the Shoot's flow gives up on the garden's BackupEntry after 10 minutes and retries"
    } else if found.kind == &kinds::BACKUP_BUCKET {
        "; BackupEntries of the bucket wait for it"
    } else {
        ""
    };
    format!("gardenlet does nothing until status.lastOperation changes{waiting}")
}
