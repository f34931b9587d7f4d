//! Runs the parts of a flow, each after those that it needs.

use std::collections::BTreeMap;

use futures::future::join_all;
use tokio::sync::watch;

use crate::shoot::Part;
use crate::shoot::parts::{Row, TABLE};
use crate::stuck::Stuck;

/// The parts that are done, and whether each succeeded.
pub(crate) struct Order(watch::Sender<BTreeMap<Part, bool>>);

impl Order {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(BTreeMap::new()))
    }

    /// Runs `part` for all parts, each as soon as the parts in `after` are done. If a part fails, those after it do not
    /// run, and all others do, as in gardenlet (`pkg/utils/flow/flow.go`). Returns the failure that the table names
    /// first.
    pub(crate) async fn run<F: Future<Output = Result<(), Stuck>>>(
        &self,
        after: impl Fn(&Row) -> &'static [Part],
        part: impl Fn(&'static Row) -> F,
    ) -> Result<(), Stuck> {
        let parts = TABLE.iter().map(|row| {
            let (needed, run) = (after(row), &part);
            async move {
                let result = if self.reached(needed).await { Some(run(row).await) } else { None };
                let succeeded = matches!(result, Some(Ok(())));
                if row.part == Part::Worker {
                    // Also if there is no Worker, or if it failed before it reported them.
                    self.note(Part::MachineDeployments, succeeded);
                }
                self.note(row.part, succeeded);
                result.unwrap_or(Ok(()))
            }
        });
        join_all(parts).await.into_iter().collect()
    }

    /// Waits until these parts are done, or one has failed. Returns whether all of them succeeded.
    pub(crate) async fn reached(&self, parts: &[Part]) -> bool {
        let mut done = self.0.subscribe();
        let is_settled = |done: &BTreeMap<Part, bool>| {
            parts.iter().any(|part| done.get(part) == Some(&false)) || parts.iter().all(|part| done.contains_key(part))
        };
        // It fails only if the sender is dropped, which this value holds.
        let settled = done.wait_for(is_settled).await;
        settled.is_ok_and(|done| parts.iter().all(|part| done.get(part) == Some(&true)))
    }

    /// Notes that a part is done. The first result counts.
    pub(crate) fn note(&self, part: Part, succeeded: bool) {
        self.0.send_modify(|done| {
            done.entry(part).or_insert(succeeded);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::shoot::Lifecycle;

    #[tokio::test]
    async fn failure_ends_what_comes_after_it_and_nothing_else() {
        let ran = Mutex::new(Vec::new());
        let fails = async |row: &'static Row| {
            ran.lock().unwrap().push(row.part);
            if row.part != Part::ControlPlane {
                return Ok(());
            }
            let (object, rule, status) = ("ControlPlane".to_owned(), "fails".to_owned(), String::new());
            Err(Stuck::Waiting { object, rule, status, after: Duration::ZERO })
        };
        let failed = Order::new().run(|row| row.deploy, fails).await;
        assert!(failed.unwrap_err().to_string().contains("ControlPlane: fails"));
        let ran = ran.into_inner().unwrap();
        assert!(ran.contains(&Part::ExternalDns) && ran.contains(&Part::ContainerRuntimes), "{ran:?}");
        for after in [Part::OperatingSystemConfigs, Part::Worker, Part::Extensions(Lifecycle::AfterWorker)] {
            assert!(!ran.contains(&after), "{ran:?}");
        }
    }
}
