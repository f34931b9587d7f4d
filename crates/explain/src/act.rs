//! Who should act so that an object gets on.

use extension_contract::json::{annotation, text};
use extension_contract::kinds::Class;
use extension_contract::readiness::{NotReady, state_of_shoot};
use extension_contract::{OPERATION_ANNOTATION, OperationAnnotation};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use crate::garden::{Installation, Server};
use crate::heartbeat::{Heartbeat, Heartbeats};
use crate::ours::Ours;
use crate::rule::Wait;
use crate::seed::{ClusterOf, Found, Seed};
use crate::words::ago;

/// Who should act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// The extension of the object's kind and type.
    Extension,
    /// gardenlet; for objects of class `garden`, gardener-operator.
    Gardenlet,
    /// The owner of the Shoot.
    Owner,
    /// The operator of the landscape: the extension does not run.
    Operator,
}

/// Who should act, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Act {
    /// Who.
    pub who: Who,
    /// What there is to do.
    pub how: String,
}

/// Who should act for an object that does not meet a rule.
#[must_use]
pub fn act(found: &Found, wait: Wait, unmet: &NotReady, cluster: ClusterOf<'_>) -> Act {
    let act = |who, how: &str| Act { who, how: how.to_owned() };
    let asked = annotation(&found.object, OPERATION_ANNOTATION).and_then(OperationAnnotation::parse);
    let is_failed = cluster.shoot().is_some_and(|shoot| text(shoot, "status.lastOperation.state") == Some("Failed"));
    match unmet {
        _ if asked == Some(OperationAnnotation::WaitForState) && wait != Wait::Gone => {
            act(Who::Gardenlet, "write status.state and ask to restore; extensions ignore the object until then")
        }
        _ if is_failed && found.kind.skips_failed_shoots => act(
            Who::Owner,
            "the Shoot is Failed, and extensions ignore its objects: remove the cause, then annotate the Shoot with \
             gardener.cloud/operation=retry",
        ),
        _ if matches!(cluster, ClusterOf::Missing) && matches!(wait, Wait::Ready | Wait::Event) => {
            act(Who::Gardenlet, "write the Cluster of this namespace; extensions wait for it")
        }
        NotReady::Absent => act(Who::Gardenlet, "create the object again, in its next flow"),
        NotReady::Timestamp { .. } | NotReady::UnreadableTimestamp(_) => act(
            Who::Gardenlet,
            "write a new gardener.cloud/timestamp, with its next request; what changed this one must not",
        ),
        NotReady::LastError { codes, .. } if state_of_shoot(codes) == "Failed" => {
            act(Who::Owner, "remove the cause; the extension retries until then")
        }
        NotReady::LastError { .. } => act(Who::Extension, "retry, and remove status.lastError with the success"),
        NotReady::ObservedGeneration { .. } if asked.is_none() => act(
            Who::Extension,
            "write status.observedGeneration; extensions that wait for gardener.cloud/operation do so only at gardenlet's \
             next request",
        ),
        NotReady::Operation(_) => act(Who::Extension, "remove gardener.cloud/operation, and report the result"),
        NotReady::StillThere(_) => act(Who::Extension, "clean up, and remove its finalizer"),
        NotReady::NotMigrated(_) => act(Who::Extension, "hand the object over, and report Migrate Succeeded"),
        NotReady::OlderThanCredentials { .. } => act(Who::Extension, "reconcile with the new credentials"),
        NotReady::NoSecret(_) => act(Who::Extension, "make the Secret before it reports success"),
        NotReady::Unnoticed => act(
            Who::Extension,
            "remove gardener.cloud/operation first, then write Processing, then Succeeded: only a change is noticed",
        ),
        NotReady::State(state) if state == "Processing" => act(Who::Extension, "finish the operation"),
        _ => act(Who::Extension, "reconcile the object, and report the result"),
    }
}

/// The extension of an object's kind and type, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// The installation, if the garden was read and has one for the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installation: Option<Installation>,
    /// The heartbeat, if the extension's namespace is known and has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// What is wrong or unknown, for people.
    pub notes: Vec<String>,
    /// What there is to do for the extension to run. `None` if it seems to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Act {
    /// The same, unless the extension should act and does not run: then the operator should start it.
    #[must_use]
    pub fn unless_missing(self, extension: &Extension) -> Self {
        match &extension.remedy {
            Some(remedy) if self.who == Who::Extension => Self { who: Who::Operator, how: remedy.clone() },
            _ => self,
        }
    }
}

/// Looks for the extension of an object.
#[must_use]
pub fn extension(found: &Found, seed: &Seed, ours: Option<&Ours>, now: Timestamp) -> Extension {
    let (kind, type_) = (found.kind.name, text(&found.object, "spec.type").unwrap_or_default());
    let shoot = seed.cluster_of(found);
    let seed_name = match shoot {
        ClusterOf::Known(cluster) => text(cluster, "spec.seed.metadata.name"),
        ClusterOf::Missing | ClusterOf::Unneeded => None,
    };
    let (mut notes, mut remedy) = (Vec::new(), None);
    let installation = match &seed.garden {
        _ if found.is_of_garden() => {
            notes.push("gardener-operator installs extensions of class garden by its own Extension".to_owned());
            None
        }
        None => {
            notes.push("without --garden-kubeconfig, it is unknown whether its extension is installed".to_owned());
            None
        }
        Some(garden) => match garden.server(kind, type_, seed_name.or(seed.name())) {
            Server::Unregistered => {
                notes.push(format!("no ControllerRegistration has kind {kind} and type {type_}"));
                remedy = Some("register an extension for this kind and type".to_owned());
                None
            }
            Server::NotInstalled(registration) => {
                notes.push(format!("ControllerRegistration {registration} is not installed on this seed"));
                remedy = Some(format!("install {registration}: look at its spec.deployment and at gardenlet"));
                None
            }
            Server::Installed(installation) => {
                notes.extend(installation.problems.iter().cloned());
                Some(installation)
            }
        },
    };
    let heartbeat = match &installation {
        Some(installation) => seed.heartbeats.get_key_value(&installation.namespace),
        None => ours.and_then(|ours| of_ours(ours, &seed.heartbeats)),
    };
    let namespace = installation.as_ref().map(|it| &it.namespace).or(heartbeat.map(|(namespace, _)| namespace));
    for idle in namespace.and_then(|namespace| seed.deployments.get(namespace)).into_iter().flatten() {
        let (problem, what) = idle.words();
        notes.push(problem);
        remedy.get_or_insert(what);
    }
    if let Some(installation) = installation.as_ref().filter(|installation| installation.is_broken) {
        remedy.get_or_insert_with(|| format!("look why ControllerInstallation {} is not healthy", installation.name));
    }
    let heartbeat = heartbeat.map(|(_, heartbeat)| heartbeat.clone());
    match &heartbeat {
        Some(heartbeat) if heartbeat.is_stale(now) => notes.push(match heartbeat.renewed {
            Some(renewed) => format!("its heartbeat is stale: renewed {}", ago(renewed, now)),
            None => "its heartbeat was never renewed".to_owned(),
        }),
        None if installation.is_some() => notes.push("it has no heartbeat".to_owned()),
        _ => {}
    }
    Extension { installation, heartbeat, notes, remedy }
}

/// The heartbeat of our own controller, with its namespace: it has the controller's name.
fn of_ours<'a>(ours: &Ours, heartbeats: &'a Heartbeats) -> Option<(&'a String, &'a Heartbeat)> {
    let name = format!("mock-{}", ours.kind.name.to_lowercase());
    heartbeats.iter().find(|(_, heartbeat)| heartbeat.holder == name)
}

/// The class of an object, as the spec spells it.
#[must_use]
pub fn class(found: &Found) -> String {
    text(&found.object, "spec.class").unwrap_or(Class::Shoot.as_str()).to_owned()
}
