//! Puts a controller to the test, rule by rule.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use gardener_testbed::audit::Request;
use kube::api::ListParams;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::finding::{Failure, Finding, Verdict, Written};
use crate::launcher::Controller;
use crate::object::excerpt;
use crate::rule::Rule;
use crate::scene::Scene;
use crate::subject::Feature;
use crate::suite::Suite;

/// Limit of one rule, if the subject's patience is short. Most rules need a few seconds.
const SHORTEST_LIMIT: Duration = Duration::from_secs(90);
/// How often the subject's patience may end within one rule. A rule fails at the first wait that exceeds it.
const WAITS: u32 = 3;
/// The same for a rule that restarts controllers: it waits for each of up to 36 starts.
const WAITS_FOR_STARTS: u32 = 40;

/// The user of the controller that the kit starts.
pub(crate) const CONTROLLER: &str = "controller";

/// A run of rules. It can be interrupted: drop the future of [`Judge::run`].
pub struct Judge {
    suite: Arc<Suite>,
    rules: Vec<Rule>,
    findings: Mutex<Vec<Finding>>,
    announce: Box<dyn Fn(&Finding) + Send + Sync>,
}

impl Judge {
    /// Judges by these rules. `announce` gets each finding at once.
    pub fn new(suite: Arc<Suite>, rules: Vec<Rule>, announce: impl Fn(&Finding) + Send + Sync + 'static) -> Self {
        let judge = Self { suite, rules, findings: Mutex::default(), announce: Box::new(announce) };
        for rule in &judge.rules {
            if let Some(lack) = judge.suite.subject().lacks(rule.needs) {
                judge.note(Finding { rule: *rule, verdict: lack.into(), took: Duration::ZERO });
            }
        }
        judge
    }

    /// How many rules will be put to the test.
    #[must_use]
    pub fn tested(&self) -> usize {
        self.rules.iter().filter(|rule| self.applies(rule)).count()
    }

    /// Runs all rules, `parallel` at the same time. `shared` is the controller that the kit has started, if it has. Rules
    /// that restart the controller run last, one by one and without the shared one, unless it can serve other types.
    /// Fails if the shared controller ends by itself: no further rule could hold.
    pub async fn run(&self, mut shared: Option<Controller>, parallel: usize) -> Result<(), Failed> {
        let restarts = |rule: &&Rule| rule.needs.contains(&Feature::Restart) && !self.suite.serves_any_type();
        let applying = || self.rules.iter().filter(|rule| self.applies(rule));
        let together = applying().filter(|rule| !restarts(rule));
        let together = stream::iter(together).for_each_concurrent(parallel, |rule| self.judge(rule));
        unless_it_ends(shared.as_mut(), together).await?;

        let alone: Vec<_> = applying().filter(restarts).collect();
        let Some(shared) = shared else { return Ok(()) };
        if !alone.is_empty() {
            shared.kill().await?;
        }
        for rule in alone {
            self.judge(rule).await;
        }
        Ok(())
    }

    /// The findings about all rules, in the order of the rules. `otherwise` says why some were not put to the test.
    #[must_use]
    pub fn findings(&self, otherwise: &str) -> Vec<Finding> {
        let found = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let of_rule = |rule: &Rule| {
            let finding = found.iter().find(|finding| finding.rule.name == rule.name).cloned();
            let verdict = Verdict::NotJudged(otherwise.to_owned());
            finding.unwrap_or(Finding { rule: *rule, verdict, took: Duration::ZERO })
        };
        self.rules.iter().map(of_rule).collect()
    }

    fn applies(&self, rule: &Rule) -> bool {
        self.suite.subject().lacks(rule.needs).is_none()
    }

    fn note(&self, finding: Finding) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    async fn judge(&self, rule: &Rule) {
        let started = Instant::now();
        let verdict = match Scene::create(self.suite.clone(), rule.name).await {
            Ok(scene) => self.verdict(rule, scene).await,
            Err(why) => Verdict::NotJudged(message(&why)),
        };
        let finding = Finding { rule: *rule, verdict, took: started.elapsed() };
        (self.announce)(&finding);
        self.note(finding);
    }

    async fn verdict(&self, rule: &Rule, scene: Scene) -> Verdict {
        let waits = if rule.needs.contains(&Feature::Restart) { WAITS_FOR_STARTS } else { WAITS };
        let limit = SHORTEST_LIMIT.max(self.suite.subject().patience * waits);
        let proof = tokio::time::timeout(limit, (rule.holds)(scene.clone())).await;
        let seen = match (scene.ended(), proof) {
            (Some(ended), _) if scene.had_neighbours() => {
                let ports = "do two at the same time listen on one port?";
                return Verdict::NotJudged(format!("a controller ended beside another one; {ports} {ended}"));
            }
            (Some(ended), _) => ended.to_owned(),
            (None, Ok(Ok(()))) => return Verdict::Passed,
            (None, Ok(Err(why))) => message(&why),
            (None, Err(_)) => format!("it took longer than {} s", limit.as_secs()),
        };
        if let Some(refusal) = scene.refusal() {
            return Verdict::NotJudged(refusal.to_owned());
        }
        let (objects, requests) = (objects(&scene).await, requests(&scene).unwrap_or_default());
        let seen = apart_from(&seen, &objects);
        Verdict::Failed(Box::new(Failure { seen, objects, requests }))
    }
}

/// Awaits `work`. Fails at once if the controller ends before.
pub(crate) async fn unless_it_ends<T>(
    controller: Option<&mut Controller>,
    work: impl Future<Output = T>,
) -> Result<T, Failed> {
    let Some(controller) = controller else { return Ok(work.await) };
    tokio::select! {
        done = work => Ok(done),
        why = controller.ends() => Err(why),
    }
}

fn message(failed: &Failed) -> String {
    failed.message().unwrap_or("the rule failed without a message").to_owned()
}

/// What was seen, without the lines that repeat an object: the failure has the objects as well.
fn apart_from(seen: &str, objects: &[Value]) -> String {
    let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let lines: Vec<_> = seen.lines().filter(|line| !objects.iter().any(|object| object == line)).collect();
    lines.join("\n").trim_end_matches(':').to_owned()
}

/// The relevant fields of the rule's objects. Empty if they cannot be read any more.
async fn objects(scene: &Scene) -> Vec<Value> {
    let list = scene.api().list(&ListParams::default()).await;
    let objects = list.into_iter().flatten().map(|object| json!(object));
    let prefix = scene.full_name("");
    let is_of_rule = |object: &Value| {
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        name.is_some_and(|name| name.starts_with(&prefix))
    };
    objects.filter(is_of_rule).map(|object| excerpt(&object)).collect()
}

/// What the controller has written about the rule's objects, and to the rule's namespace. Empty on a cluster that is not
/// the kit's own.
fn requests(scene: &Scene) -> Result<Vec<Written>, Failed> {
    let audit = scene.suite().bed()?.audit().ok_or("the test bed has no audit log")?;
    let prefix = scene.full_name("");
    let plural = scene.suite().subject().kind.plural;
    let is_namespaced = scene.suite().subject().kind.namespaced;
    let mut requests = audit.requests(|request: &Request| {
        let is_of_rule = request.namespace == scene.namespace()
            || (!is_namespaced && request.resource == plural && request.name.starts_with(&prefix));
        let is_write = !matches!(request.verb.as_str(), "get" | "list" | "watch");
        request.user == CONTROLLER && is_of_rule && is_write && request.resource != "events"
    })?;
    // The audit log has them in the order of their answers.
    requests.sort_by_key(|request| request.at.0);
    Ok(requests.iter().map(Written::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seen_does_not_repeat_an_object_that_has_not_changed_since() {
        let (old, new) = (json!({ "a": 1 }), json!({ "a": 2 }));
        let seen = format!("gave up waiting for b of a:\n{old}");
        assert_eq!(apart_from(&seen, &[new.clone(), old]), "gave up waiting for b of a");
        assert_eq!(apart_from(&seen, &[new]), seen);
    }
}
