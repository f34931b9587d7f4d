//! A load of Shoots: creates hibernated ones at a rate, and records what happens to them and to the machine.
//!
//! The inside writes [`records`], and the log of gardenlet tells the [`steps`]. The outside reads both as long as the
//! garden's folder exists, also after the load was interrupted.

mod measure;
pub mod records;
mod shoots;
pub mod steps;

use std::time::Duration;

use extension_contract::json::text;
use kube::Client;
use kube::api::{DynamicObject, PostParams};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

pub(crate) use self::measure::{Server, Usages};
use self::records::{Recorder, What};
use self::shoots::Shoots;
use crate::error::GardenError;
use crate::layout::Layout;
use crate::news::Say;
use crate::objects::core;

/// What a load consists of.
pub(crate) struct Load<'a> {
    /// The garden cluster.
    pub(crate) garden: Client,
    /// The manifest that all Shoots are copies of.
    pub(crate) shoot: Value,
    /// How many Shoots are created.
    pub(crate) shoots: u32,
    /// How many Shoots are created in a second.
    pub(crate) rate: f64,
    /// What is measured meanwhile.
    pub(crate) usages: Usages<'a>,
    pub(crate) say: Say<'a>,
}

impl Load<'_> {
    /// Creates all Shoots, and measures until gardenlet has created them. Returns whether all succeeded.
    pub(crate) async fn run(&self, layout: &Layout) -> Result<bool, GardenError> {
        let recorder = Recorder::create(layout)?;
        self.usages.all(&recorder).await?;
        recorder.note(What::Begins)?;
        let shoots = Shoots::new(self.names(), &recorder, self.say);
        tokio::select! {
            done = async { tokio::try_join!(self.create(&recorder, &shoots), shoots.follow(&self.garden, self.namespace())) } => {
                done?;
            }
            measured = self.usages.again_and_again(&recorder) => match measured? {},
        }
        self.usages.all(&recorder).await?;
        Ok(shoots.all_succeeded())
    }

    fn namespace(&self) -> &str {
        text(&self.shoot, "metadata.namespace").unwrap_or_default()
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.shoots).map(|number| format!("load-{number}"))
    }

    /// Creates one Shoot after the other at the rate, without waiting for earlier ones.
    async fn create(&self, recorder: &Recorder, shoots: &Shoots<'_>) -> Result<(), GardenError> {
        let api = core(&self.garden, "v1beta1", "Shoot", Some(self.namespace()));
        let first = Instant::now();
        let mut requests = JoinSet::new();
        for (number, name) in (0_u32..).zip(self.names()) {
            let due = first + Duration::from_secs_f64(f64::from(number) / self.rate);
            // Answers are recorded when they arrive.
            while let Ok(Some(done)) = timeout_at(due, requests.join_next()).await {
                note(recorder, shoots, done)?;
            }
            sleep_until(due).await;
            let shoot = copy(&self.shoot, &name)?;
            recorder.note(What::Asked(name.clone()))?;
            let api = api.clone();
            requests.spawn(async move { (name, api.create(&PostParams::default(), &shoot).await) });
        }
        while let Some(done) = requests.join_next().await {
            note(recorder, shoots, done)?;
        }
        Ok(())
    }
}

type Answer = Result<(String, Result<DynamicObject, kube::Error>), tokio::task::JoinError>;

fn note(recorder: &Recorder, shoots: &Shoots<'_>, answer: Answer) -> Result<(), GardenError> {
    let (shoot, answer) = answer.map_err(|error| GardenError::Unusable(error.to_string()))?;
    match answer {
        Ok(_) => recorder.note(What::Created(shoot)),
        Err(error) => shoots.refused(shoot, error.to_string()),
    }
}

/// A Shoot of another name. All Shoots may have the same networks: gardener-scheduler compares those of a Shoot with those
/// of its Seed only (`pkg/scheduler/controller/shoot/reconciler.go`).
fn copy(shoot: &Value, name: &str) -> Result<DynamicObject, GardenError> {
    let mut copy = shoot.clone();
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".to_owned(), json!(name));
    }
    DynamicObject::deserialize(copy).map_err(|error| GardenError::Unusable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_differs_in_its_name_alone() {
        let shoot = json!({
            "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot",
            "metadata": {"name": "asleep", "namespace": "garden-dev", "annotations": {"a": "b"}}, "spec": {"region": "x"},
        });
        let mut copied = serde_json::to_value(copy(&shoot, "load-7").unwrap()).unwrap();
        assert_eq!(copied["metadata"]["name"], "load-7");
        copied["metadata"]["name"] = json!("asleep");
        assert_eq!(copied, shoot);
    }
}
