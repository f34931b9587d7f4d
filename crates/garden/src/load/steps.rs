//! The steps of gardenlet's flows, as its log tells them (`pkg/utils/flow/flow.go`). At the level debug, gardenlet logs the
//! start and the end of each step.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::GardenError;
use crate::layout::Layout;

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The Shoot.
    pub shoot: String,
    /// What gardenlet did, as in the Shoot's status.
    pub name: String,
    /// When it began, in seconds since the Unix epoch.
    pub began: f64,
    /// When it ended, in seconds since the Unix epoch.
    pub ended: f64,
}

/// What the log of a gardenlet tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// All steps of all Shoots, in the order of their ends.
    pub steps: Vec<Step>,
    /// How often gardenlet logged that a request waited for more than a second for its own limit of requests. It logs that
    /// every 10 s at most (`rest/request.go` of client-go).
    pub throttled: usize,
}

/// Reads the log of the garden's gardenlet.
pub fn read(layout: &Layout) -> Result<Told, GardenError> {
    let path = layout.log("gardenlet");
    let doing = || format!("read {}", path.display());
    let mut reader = Reader::default();
    let file = File::open(&path).map_err(GardenError::system(doing()))?;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(GardenError::system(doing()))?;
        reader.line(&String::from_utf8_lossy(&line));
    }
    Ok(reader.told)
}

/// What is behind the message of a line.
#[derive(Deserialize)]
struct Fields {
    name: Option<String>,
    flow: Option<String>,
    task: Option<String>,
}

/// Reads lines one after the other.
#[derive(Default)]
struct Reader {
    /// When each step began, by the Shoot, the flow and the step.
    began: HashMap<(String, String, String), f64>,
    told: Told,
}

impl Reader {
    fn line(&mut self, line: &str) {
        // Most lines are about something else, and parsing costs more than this look.
        if line.contains("\tWaited before sending request\t") {
            self.told.throttled += 1;
        }
        if !line.contains("\tStarted\t") && !line.contains("\tFinished\t") {
            return;
        }
        let Some((time, rest)) = line.split_once('\t') else { return };
        let Some((rest, fields)) = rest.rsplit_once('\t') else { return };
        let (Ok(time), Ok(fields)) = (time.parse::<Timestamp>(), serde_json::from_str(fields)) else { return };
        let Fields { name: Some(shoot), flow: Some(flow), task: Some(name) } = fields else { return };
        let at = time.as_duration().as_secs_f64();
        let key = (shoot, flow, name);
        if rest.ends_with("Started") {
            self.began.insert(key, at);
        } else if let Some((key, began)) = self.began.remove_entry(&key) {
            self.told.steps.push(Step { shoot: key.0, name: key.2, began, ended: at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, message: &str, shoot: &str, task: &str) -> String {
        let fields = format!(r#""namespace": "garden-dev", "name": "{shoot}", "flow": "Shoot cluster creation""#);
        format!(
            "2026-01-02T03:04:{time}Z\tDEBUG\t{message}\t{{\"controller\": \"shoot\", {fields}, \"task\": \"{task}\"}}"
        )
    }

    #[test]
    fn step_lasts_from_its_start_to_its_end_and_shoots_do_not_mix() {
        let mut reader = Reader::default();
        for text in [
            &line("05.250", "Started", "a", "Deploying x"),
            &line("05.500", "Started", "b", "Deploying x"),
            "2026-01-02T03:04:05.600Z\tINFO\tSucceeded\t{\"name\": \"a\", \"task\": \"Deploying x\"}",
            "2026-01-02T03:04:05.600Z\tINFO\tWaited before sending request\t{\"delay\": \"1.5s\"}",
            "\tStarted\t",
            "a stack trace",
            &line("05.750", "Finished", "b", "Deploying x"),
            &line("06.250", "Finished", "a", "Deploying x"),
            // The end of a step that began before the log.
            &line("06.500", "Finished", "a", "Deploying y"),
        ] {
            reader.line(text);
        }
        let steps: Vec<_> = reader.told.steps.iter().map(|of| (of.shoot.as_str(), of.ended - of.began)).collect();
        assert_eq!((steps, reader.told.throttled), (vec![("b", 0.25), ("a", 1.0)], 1));
    }
}
