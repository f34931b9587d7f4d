//! The explanation of one object: everything that was found out about it.

use extension_contract::json::{annotation, get, text};
use extension_contract::kinds;
use extension_contract::readiness::NotReady;
use extension_contract::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::act::{Act, Extension, act, class, extension};
use crate::history::History;
use crate::ours::{Next, Ours};
use crate::patience::{Patience, patience, since};
use crate::rule::{Wait, check};
use crate::secrets::{self, Secret};
use crate::seed::{Found, Seed};

/// Why one object waits, or that it does not.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Kind of the object.
    pub kind: &'static str,
    /// Namespace of the object, empty for a cluster-scoped one.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// `spec.type`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `spec.class`; `shoot` if it is absent.
    pub class: String,
    /// `status.lastOperation`.
    pub last_operation: Option<Value>,
    /// Why gardenlet waits for the object. `None` if it does not.
    pub waits: Option<Waits>,
    /// Further observations, for people.
    pub notes: Vec<String>,
}

/// Why gardenlet waits for an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waits {
    /// What gardenlet waits for.
    #[serde(rename = "for")]
    pub wait: Wait,
    /// The name of the first unmet rule.
    pub rule: &'static str,
    /// The rule in words.
    pub why: String,
    /// Since when gardenlet waits.
    pub since: Option<Timestamp>,
    /// Until when gardenlet waits, and what happens then.
    pub patience: Patience,
    /// Who should act.
    pub act: Act,
    /// The extension of the object.
    pub extension: Extension,
    /// What our controller does next, for objects of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Next>,
}

/// Explains one object of a seed. `ours`: what our own controllers serve.
#[must_use]
pub fn explain(found: &Found, seed: &Seed, history: &History, ours: &[Ours], now: Timestamp) -> Explanation {
    let cluster = seed.cluster_of(found);
    let is_hibernated =
        cluster.shoot().is_some_and(|shoot| get(shoot, "spec.hibernation.enabled") == Some(&Value::Bool(true)));
    let unmet = check(found, is_hibernated, &seed.secrets, history).err();
    let ours = ours.iter().find(|ours| ours.is_ours(found));
    let waits = unmet.map(|unmet| {
        let wait = Wait::of(found);
        let since = since(&found.object, wait);
        let extension = extension(found, seed, ours, now);
        Waits {
            wait,
            rule: unmet.name(),
            why: unmet.to_string(),
            since,
            patience: patience(found, wait, &unmet, since, timeout(found, seed, wait)),
            act: act(found, wait, &unmet, cluster).unless_missing(&extension),
            extension,
            script: ours.and_then(|ours| ours.next(found, cluster, now)),
        }
    });
    Explanation { notes: notes(found, seed, waits.is_some()), waits, ..described(found) }
}

/// Explains an object that is gone although gardenlet has not deleted it. `last`: the object as it was.
#[must_use]
pub fn explain_absent(last: &Found, seed: &Seed, now: Timestamp) -> Explanation {
    let unmet = NotReady::Absent;
    let wait = Wait::of(last);
    let since = since(&last.object, wait);
    let waits = Waits {
        wait,
        rule: unmet.name(),
        why: unmet.to_string(),
        since,
        patience: patience(last, wait, &unmet, since, timeout(last, seed, wait)),
        act: act(last, wait, &unmet, seed.cluster_of(last)),
        extension: extension(last, seed, None, now),
        script: None,
    };
    Explanation { waits: Some(waits), last_operation: None, ..described(last) }
}

fn described(found: &Found) -> Explanation {
    Explanation {
        kind: found.kind.name,
        namespace: found.namespace().to_owned(),
        name: found.name().to_owned(),
        type_: text(&found.object, "spec.type").unwrap_or_default().to_owned(),
        class: class(found),
        last_operation: get(&found.object, "status.lastOperation").cloned(),
        waits: None,
        notes: Vec::new(),
    }
}

/// How long gardenlet waits for an object. The registration of an Extension can say so for the wait until it is ready
/// (`pkg/component/extensions/extension/extension.go`).
fn timeout(found: &Found, seed: &Seed, wait: Wait) -> SignedDuration {
    let type_ = text(&found.object, "spec.type").unwrap_or_default();
    let registered = seed.garden.as_ref().filter(|_| found.kind == &kinds::EXTENSION && wait == Wait::Ready);
    let registered = registered.and_then(|garden| garden.reconcile_timeout(found.kind.name, type_)?.parse().ok());
    registered.unwrap_or_else(|| SignedDuration::try_from(found.kind.timeout).unwrap_or(SignedDuration::MAX))
}

/// What is remarkable about an object besides the rule that it does not meet.
fn notes(found: &Found, seed: &Seed, is_waiting: bool) -> Vec<String> {
    let object = &found.object;
    let mut notes = Vec::new();
    let is_reported = get(object, "status.lastOperation").is_some();
    // An Infrastructure can be created without a request (`pkg/component/extensions/infrastructure/infrastructure.go`).
    if annotation(object, TIMESTAMP_ANNOTATION).is_none() && is_reported && found.kind != &kinds::INFRASTRUCTURE {
        notes.push(
            "gardener.cloud/timestamp is missing: if gardenlet has written one, it waits for exactly that value"
                .to_owned(),
        );
    }
    if let Some(operation) = annotation(object, OPERATION_ANNOTATION)
        && extension_contract::OperationAnnotation::parse(operation).is_none()
    {
        notes.push(format!("gardener.cloud/operation={operation} is no request that an extension knows"));
    }
    if !is_waiting {
        return notes;
    }
    if get(object, "metadata.deletionTimestamp").is_none()
        && annotation(object, extension_contract::DELETION_CONFIRMATION_ANNOTATION) == Some("true")
    {
        notes.push("the deletion is confirmed, and the DELETE has not come".to_owned());
    }
    if let Some(name) = secrets::credentials(found)
        && seed.secrets.get(&name) == Some(&Secret::Missing)
    {
        notes.push(format!("the Secret {}/{} of spec.secretRef does not exist", name.0, name.1));
    }
    notes
}
