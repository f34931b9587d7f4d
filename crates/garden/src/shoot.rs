//! A Shoot of the garden: what a user does with it, and how gardenlet gets on.

mod moving;

use std::time::{Duration, Instant};

use extension_contract::json::{annotation, get, list, text};
use k8s_openapi::ByteString;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::error::GardenError;
use crate::news::{News, Say};
use crate::objects::{self, core};
use crate::wait;

/// A busy machine takes minutes for each operation.
const DONE_WITHIN: Duration = Duration::from_secs(600);

/// gardenlet looks at the conditions of Shoots every 30 s here, and forgives 10 s.
const HEALTHY_WITHIN: Duration = Duration::from_secs(180);

/// The conditions of an awake Shoot with nodes (`pkg/utils/gardener/shoot.go`).
const CONDITIONS: [&str; 5] = [
    "APIServerAvailable",
    "ControlPlaneHealthy",
    "ObservabilityComponentsHealthy",
    "EveryNodeReady",
    "SystemComponentsHealthy",
];

/// A step of gardenlet that lasts so long counts as stuck. gardenlet looks every 5 s whether a Network or an Extension is
/// ready.
const STUCK: Duration = Duration::from_secs(10);

/// The longest text of a step that is shown. gardenlet lists all steps that it is at.
const SHOWN: usize = 100;

/// A Shoot in the garden cluster.
#[derive(Clone, Debug)]
pub(crate) struct Shoot {
    api: Api<DynamicObject>,
    pub(crate) name: String,
}

impl Shoot {
    /// The Shoot of a manifest.
    pub(crate) fn of(garden: &Client, manifest: &Value) -> Self {
        let field = |path: &str| text(manifest, path).unwrap_or_default();
        Self {
            api: core(garden, "v1beta1", "Shoot", Some(field("metadata.namespace"))),
            name: field("metadata.name").to_owned(),
        }
    }

    /// Requests a reconciliation.
    pub(crate) async fn request_reconciliation(&self) -> Result<(), GardenError> {
        self.change(json!({"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}})).await
    }

    /// Merges `change` into the Shoot.
    pub(crate) async fn change(&self, change: Value) -> Result<(), GardenError> {
        objects::merge(&self.api, &self.name, change).await
    }

    /// Returns when gardenlet has succeeded in the operation that the Shoot's last change demands. Passes what gardenlet
    /// is at to `say` whenever it changes.
    pub(crate) async fn succeeds(&self, say: Say<'_>) -> Result<(), GardenError> {
        let shoot = self.ends(say).await?;
        match progress(&shoot) {
            Progress::Failed(why) => Err(self.unexpected(&format!("failed for good: {why}"))),
            Progress::Done | Progress::Running(_) => Ok(()),
        }
    }

    /// Returns when gardenlet has given up the operation that the Shoot's last change demands, with this error code.
    pub(crate) async fn fails_with(&self, code: &str, say: Say<'_>) -> Result<(), GardenError> {
        let shoot = self.ends(say).await?;
        if !matches!(progress(&shoot), Progress::Failed(_)) {
            return Err(self.unexpected("succeeded, although its script lets it fail"));
        }
        if codes(&shoot).any(|found| found == code) {
            return Ok(());
        }
        Err(self.unexpected(&format!("failed without the code {code}: {}", describe(&shoot))))
    }

    /// Returns when gardenlet has met an error with this code, whether or not it tries again.
    pub(crate) async fn has_error(&self, code: &str, say: Say<'_>) -> Result<(), GardenError> {
        let mut shown = String::new();
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            self.show(&shoot, &mut shown, say);
            if codes(&shoot).any(|found| found == code) { Ok(()) } else { Err(describe(&shoot)) }
        };
        wait::until(DONE_WITHIN, &format!("the Shoot {} has no error {code}", self.name), check).await
    }

    /// Returns when a condition of the Shoot does not hold, with this code. Until a Shoot is created, gardenlet writes
    /// Progressing in place of False (`PardonConditions` in `pkg/gardenlet/controller/shoot/care/health.go`).
    pub(crate) async fn has_unmet(&self, condition: &str, code: &str) -> Result<(), GardenError> {
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            let found = objects::condition(&shoot, condition).cloned().unwrap_or_default();
            let has_code = list(&found, "codes").iter().any(|found| found == code);
            if has_code && text(&found, "status") != Some("True") { Ok(()) } else { Err(found.to_string()) }
        };
        let what = format!("the condition {condition} of the Shoot {} does not fail with {code}", self.name);
        wait::until(HEALTHY_WITHIN, &what, check).await
    }

    /// The Shoot when gardenlet has ended the operation that its last change demands, well or not.
    async fn ends(&self, say: Say<'_>) -> Result<Value, GardenError> {
        let mut shown = String::new();
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            self.show(&shoot, &mut shown, say);
            match progress(&shoot) {
                Progress::Running(at) => Err(at),
                Progress::Done | Progress::Failed(_) => Ok(shoot),
            }
        };
        wait::until(DONE_WITHIN, &format!("the Shoot {} is not reconciled", self.name), check).await
    }

    fn unexpected(&self, what: &str) -> GardenError {
        GardenError::Unusable(format!("the Shoot {} {what}", self.name))
    }

    /// The name of the Seed that has it. It is empty if no Seed has it.
    pub(crate) async fn seed(&self) -> Result<String, GardenError> {
        let doing = GardenError::request(format!("read the Shoot {}", self.name));
        let shoot = self.api.get(&self.name).await.map_err(doing)?;
        Ok(text(&shoot.data, "status.seedName").unwrap_or_default().to_owned())
    }

    /// The kubeconfig that Gardener hands out to its administrators, as YAML, for a day.
    pub(crate) async fn admin_kubeconfig(&self) -> Result<String, GardenError> {
        let doing = || GardenError::request(format!("ask for a kubeconfig of the Shoot {}", self.name));
        let request = json!({
            "apiVersion": "authentication.gardener.cloud/v1alpha1",
            "kind": "AdminKubeconfigRequest",
            "spec": {"expirationSeconds": 24 * 3600},
        });
        let answer: Value = self
            .api
            .create_subresource("adminkubeconfig", &self.name, &PostParams::default(), &request)
            .await
            .map_err(doing())?;
        let data = get(&answer, "status.kubeconfig").cloned().unwrap_or_default();
        let data: ByteString = serde_json::from_value(data).map_err(kube::Error::SerdeError).map_err(doing())?;
        Ok(String::from_utf8_lossy(&data.0).into_owned())
    }

    /// Deletes it, with the confirmation that Gardener asks for (`plugin/pkg/global/deletionconfirmation`).
    pub(crate) async fn delete(&self) -> Result<(), GardenError> {
        let change = json!({"metadata": {"annotations": {"confirmation.gardener.cloud/deletion": "true"}}});
        self.change(change).await?;
        let deleted = self.api.delete(&self.name, &DeleteParams::default()).await;
        deleted.map(drop).map_err(GardenError::request(format!("delete the Shoot {}", self.name)))
    }

    /// Returns when it does not exist any more. Passes what gardenlet is at to `say` whenever it changes.
    pub(crate) async fn is_gone(&self, say: Say<'_>) -> Result<(), GardenError> {
        let mut shown = String::new();
        let check = async || match objects::get(&self.api, &self.name).await? {
            None => Ok(()),
            Some(shoot) => {
                self.show(&shoot, &mut shown, say);
                Err(describe(&shoot))
            }
        };
        wait::until(DONE_WITHIN, &format!("the Shoot {} is not deleted", self.name), check).await
    }

    /// Returns when all conditions of an awake Shoot hold, as its owner sees them.
    pub(crate) async fn is_healthy(&self) -> Result<(), GardenError> {
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            objects::unmet(&shoot, &CONDITIONS).map_or(Ok(()), Err)
        };
        wait::until(HEALTHY_WITHIN, &format!("the Shoot {} is not healthy", self.name), check).await
    }

    /// Returns when gardenlet has been at a step for [`STUCK`].
    pub(crate) async fn waits_at(&self, step: &str, say: Say<'_>) -> Result<(), GardenError> {
        let mut shown = String::new();
        let mut since: Option<Instant> = None;
        let check = async || {
            let shoot = objects::get(&self.api, &self.name).await?.ok_or("it does not exist")?;
            self.show(&shoot, &mut shown, say);
            let at = text(&shoot, "status.lastOperation.description").unwrap_or_default();
            let processing = text(&shoot, "status.lastOperation.state") == Some("Processing");
            since = since.or_else(|| Some(Instant::now())).filter(|_| processing && at.contains(step));
            if since.is_some_and(|since| since.elapsed() >= STUCK) { Ok(()) } else { Err(describe(&shoot)) }
        };
        wait::until(DONE_WITHIN, &format!("the Shoot {} does not wait at {step:?}", self.name), check).await
    }

    fn show(&self, shoot: &Value, shown: &mut String, say: Say<'_>) {
        let now = describe(shoot);
        if now != *shown {
            say(News::Passing(format!("  {}: {now}", self.name)));
            *shown = now;
        }
    }
}

/// Removes the annotation that makes gardenlet not wait for nodes: here, awake Shoots have nodes. Leaves other objects as
/// they are.
pub(crate) fn with_all_waits(mut manifest: Value) -> Value {
    if let Some(annotations) = manifest.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("shoot.gardener.cloud/skip-readiness");
    }
    manifest
}

/// How gardenlet gets on with the last change of a Shoot or Seed.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// gardenlet has succeeded.
    Done,
    /// gardenlet does not try again, for this reason.
    Failed(String),
    /// gardenlet is at it, or has not begun.
    Running(String),
}

/// How gardenlet gets on with the last change of a Shoot or Seed.
#[must_use]
pub fn progress(shoot: &Value) -> Progress {
    let generation = |path: &str| get(shoot, path).and_then(Value::as_i64);
    let noticed = generation("metadata.generation") == generation("status.observedGeneration")
        && annotation(shoot, "gardener.cloud/operation").is_none();
    match text(shoot, "status.lastOperation.state") {
        Some("Succeeded") if noticed => Progress::Done,
        Some("Failed") if noticed => Progress::Failed(described(shoot)),
        _ => Progress::Running(describe(shoot)),
    }
}

/// The last operation of a Shoot in one line, with its errors.
pub(crate) fn described(shoot: &Value) -> String {
    let operation = |field: &str| text(shoot, &format!("status.lastOperation.{field}"));
    let Some(kind) = operation("type") else { return "gardenlet has not begun".to_owned() };
    let percent = get(shoot, "status.lastOperation.progress").and_then(Value::as_i64).unwrap_or_default();
    let state = operation("state").unwrap_or_default();
    let errors = list(shoot, "status.lastErrors").iter();
    let errors: Vec<_> = errors.filter_map(|error| text(error, "description")).collect();
    let said =
        if errors.is_empty() { operation("description").unwrap_or_default().to_owned() } else { errors.join("; ") };
    format!("{kind} {state}, {percent} %: {}", said.replace('\n', " "))
}

/// The same, as a line that changes often.
pub(crate) fn describe(shoot: &Value) -> String {
    shortened(&described(shoot))
}

/// The codes of a Shoot's errors.
fn codes(shoot: &Value) -> impl Iterator<Item = &str> {
    list(shoot, "status.lastErrors").iter().flat_map(|error| list(error, "codes")).filter_map(Value::as_str)
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shoot(generation: i64, state: &str) -> Value {
        json!({
            "metadata": {"generation": generation},
            "status": {
                "observedGeneration": 2,
                "lastOperation": {"type": "Create", "state": state, "progress": 42, "description": "Deploying x"},
            },
        })
    }

    #[test]
    fn success_of_an_earlier_generation_does_not_count() {
        assert_eq!(progress(&shoot(2, "Succeeded")), Progress::Done);
        assert!(matches!(progress(&shoot(3, "Succeeded")), Progress::Running(_)));
        assert!(matches!(progress(&shoot(2, "Failed")), Progress::Failed(_)));
        let mut requested = shoot(2, "Succeeded");
        requested["metadata"]["annotations"] = json!({"gardener.cloud/operation": "reconcile"});
        assert!(matches!(progress(&requested), Progress::Running(_)));
    }

    #[test]
    fn description_is_one_short_line_and_errors_take_precedence() {
        assert_eq!(describe(&json!({})), "gardenlet has not begun");
        assert_eq!(describe(&shoot(1, "Processing")), "Create Processing, 42 %: Deploying x");
        let mut failing = shoot(1, "Error");
        failing["status"]["lastErrors"] = json!([{"description": "quota\nexceeded ".repeat(20)}]);
        let line = describe(&failing);
        assert!(line.starts_with("Create Error, 42 %: quota exceeded quota") && line.ends_with('…'), "{line}");
    }
}
