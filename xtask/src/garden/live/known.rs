//! What is known of a garden that runs.

use std::collections::BTreeMap;

use extension_contract::json::text;
use k8s_openapi::jiff::Timestamp;
use mock_explain::Explanation;
use mock_garden::{News, Progress, progress};
use serde_json::{Value, json};

/// What is known of a garden that runs.
#[derive(Default)]
pub(super) struct Known {
    /// When the first step began.
    pub(super) begun: Option<Timestamp>,
    /// The steps that go on, and since when.
    pub(super) steps: Vec<(String, Timestamp)>,
    /// Whether many Shoots are created, so that the picture shows only some of them.
    is_load: bool,
    /// Where a load is.
    pub(super) passing: Option<String>,
    /// What gardenlets work on, by kind, namespace and name: Seeds before Shoots.
    pub(super) operands: BTreeMap<Key, Operand>,
}

pub(super) type Key = (String, String, String);

/// A Seed or Shoot.
#[derive(Default)]
pub(super) struct Operand {
    pub(super) object: Value,
    /// gardenlet's steps, and since when it is at them.
    pub(super) steps: BTreeMap<String, Option<Timestamp>>,
    /// The extension objects.
    pub(super) objects: Vec<Explanation>,
}

impl Known {
    /// Nothing is known yet, of a load or of another garden.
    pub(super) fn of(is_load: bool) -> Self {
        Self { is_load, ..Self::default() }
    }

    /// Notes what the inside tells. Returns what stays on the screen.
    pub(super) fn hear(&mut self, news: News, now: Timestamp) -> Option<String> {
        match news {
            News::Begun(step) => {
                self.begun.get_or_insert(now);
                self.steps.push((step, now));
                None
            }
            News::Ended { step, line } => {
                self.steps.retain(|(known, _)| *known != step);
                self.passing = None;
                Some(line)
            }
            News::Line(line) | News::Error(line) => Some(line),
            // Of a few Shoots, the picture shows it better.
            News::Passing(line) => {
                self.passing = Some(line).filter(|_| self.is_load);
                None
            }
        }
    }

    /// Notes the Seeds and Shoots that there are.
    pub(super) fn see(&mut self, objects: impl IntoIterator<Item = Value>) {
        let mut before = std::mem::take(&mut self.operands);
        for object in objects {
            let field = |path: &str| text(&object, path).unwrap_or_default().to_owned();
            let key = (field("kind"), field("metadata.namespace"), field("metadata.name"));
            let Operand { steps, objects, .. } = before.remove(&key).unwrap_or_default();
            self.operands.insert(key, Operand { steps: self::steps(&object, &steps), object, objects });
        }
    }

    /// The Shoots that gardenlets work on, as Clusters, by Seed and by the namespace that they have there.
    pub(super) fn shoots_in_work(&self) -> BTreeMap<String, BTreeMap<String, Value>> {
        let mut seeds = BTreeMap::<String, BTreeMap<_, _>>::new();
        let is_in_work = |operand: &&Operand| matches!(progress(&operand.object), Progress::Running(_));
        for Operand { object, .. } in self.operands.values().filter(is_in_work) {
            if let (Some(seed), Some(namespace)) = (text(object, "status.seedName"), text(object, "status.technicalID"))
            {
                let cluster = json!({"metadata": {"name": namespace}, "spec": {"shoot": object}});
                seeds.entry(seed.to_owned()).or_default().insert(namespace.to_owned(), cluster);
            }
        }
        seeds
    }

    /// Notes the extension objects of each Shoot, by the namespace of the Shoot in the Seed.
    pub(super) fn explain(&mut self, mut objects: BTreeMap<String, Vec<Explanation>>) {
        for operand in self.operands.values_mut() {
            let namespace = text(&operand.object, "status.technicalID").unwrap_or_default();
            operand.objects = objects.remove(namespace).unwrap_or_default();
        }
    }
}

/// The steps in the description of an operation, with what is known of earlier ones. gardenlet lists all that it is at
/// (`pkg/utils/flow/progress_reporter.go`).
fn steps(object: &Value, before: &BTreeMap<String, Option<Timestamp>>) -> BTreeMap<String, Option<Timestamp>> {
    let updated = text(object, "status.lastOperation.lastUpdateTime").and_then(|time| time.parse().ok());
    let description = text(object, "status.lastOperation.description").unwrap_or_default();
    let steps = description.split(", ").filter(|step| !step.is_empty());
    steps.map(|step| (step.to_owned(), before.get(step).copied().unwrap_or(updated))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shoot(description: &str, time: &str) -> Value {
        json!({
            "kind": "Shoot",
            "metadata": {"namespace": "garden-dev", "name": "a"},
            "status": {"seedName": "mock", "technicalID": "shoot--dev--a", "lastOperation": {
                "type": "Create", "state": "Processing", "description": description, "lastUpdateTime": time,
            }},
        })
    }

    fn time(text: &str) -> Option<Timestamp> {
        text.parse().ok()
    }

    #[test]
    fn step_lasts_since_the_update_that_has_shown_it_first() {
        let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z");
        let mut known = Known::default();
        known.see([shoot("A, B", first)]);
        known.see([shoot("B, C", second)]);
        let operand = known.operands.values().next().unwrap();
        let expected = [("B".to_owned(), time(first)), ("C".to_owned(), time(second))];
        assert_eq!(operand.steps, BTreeMap::from(expected));
        known.see([shoot("A", second)]);
        let operand = known.operands.values().next().unwrap();
        assert_eq!(operand.steps, BTreeMap::from([("A".to_owned(), time(second))]));
    }

    #[test]
    fn shoot_that_is_gone_is_forgotten() {
        let mut known = Known::default();
        known.see([shoot("A", "")]);
        assert_eq!(known.shoots_in_work()["mock"].keys().collect::<Vec<_>>(), ["shoot--dev--a"]);
        known.see([]);
        assert!(known.operands.is_empty() && known.shoots_in_work().is_empty());
    }

    #[test]
    fn load_shows_how_many_shoots_there_are_until_its_step_ends() {
        let now = Timestamp::UNIX_EPOCH;
        let mut known = Known::of(true);
        assert_eq!(known.hear(News::Passing("3 of 50".to_owned()), now), None);
        assert_eq!(known.passing.as_deref(), Some("3 of 50"));
        known.hear(News::Ended { step: String::new(), line: String::new() }, now);
        assert_eq!(known.passing, None);
    }

    #[test]
    fn gardenlet_does_not_work_on_a_shoot_that_has_failed() {
        let mut failed = shoot("A", "");
        failed["status"]["lastOperation"]["state"] = json!("Failed");
        let mut known = Known::default();
        known.see([failed]);
        assert!(known.shoots_in_work().is_empty());
    }

    #[test]
    fn ended_steps_and_lines_stay_and_the_rest_passes() {
        let now = Timestamp::UNIX_EPOCH;
        let mut known = Known::default();
        let line = || "a".to_owned();
        assert_eq!(known.hear(News::Begun(line()), now), None);
        assert_eq!(known.hear(News::Begun("b".to_owned()), now), None);
        assert_eq!(known.steps, [(line(), now), ("b".to_owned(), now)]);
        assert_eq!(known.hear(News::Passing(line()), now), None);
        assert_eq!((known.passing.take(), known.hear(News::Line(line()), now)), (None, Some(line())));
        assert_eq!(known.hear(News::Ended { step: line(), line: line() }, now), Some(line()));
        assert_eq!(known.steps, [("b".to_owned(), now)]);
        assert_eq!(known.hear(News::Error(line()), now), Some(line()));
    }
}
