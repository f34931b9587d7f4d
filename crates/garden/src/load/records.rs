//! What the inside records of a load, as lines of JSON in a file: the outside reads it also if the inside was interrupted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::GardenError;
use crate::layout::Layout;

/// Something that happened, or was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, in seconds since the Unix epoch.
    pub at: f64,
    /// What.
    pub what: What,
}

/// What happened, or was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// The Seed is ready, and the load begins.
    Begins,
    /// A Shoot will be created.
    Asked(String),
    /// The API server has accepted a Shoot.
    Created(String),
    /// A Seed has been chosen for a Shoot.
    Scheduled(String),
    /// gardenlet has begun with a Shoot.
    Begun(String),
    /// gardenlet has created a Shoot.
    Succeeded(String),
    /// gardenlet has failed with a Shoot, and will try again.
    Erred {
        /// The Shoot.
        shoot: String,
        /// Why.
        why: String,
    },
    /// A Shoot was not created.
    Failed {
        /// The Shoot.
        shoot: String,
        /// Why.
        why: String,
    },
    /// CPU time and memory.
    Usage(Usage),
    /// What gardenlet's metrics say.
    Gardenlet(Gardenlet),
    /// The proportional set size of each process, in bytes.
    Memory(BTreeMap<String, u64>),
    /// What the metrics of an API server say.
    Requests(Requests),
}

/// CPU time and memory at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// CPU time of the whole machine that was used so far, in seconds.
    pub used: f64,
    /// CPU time of the whole machine that was used or idle so far, in seconds.
    pub all: f64,
    /// CPU time of each process so far, in seconds. Processes of one program in Pods count as one.
    pub cpu: BTreeMap<String, f64>,
    /// Resident memory of each process, in bytes.
    pub memory: BTreeMap<String, u64>,
}

/// What the metrics of gardenlet say at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gardenlet {
    /// Shoots in the work queue.
    pub waiting: f64,
    /// Shoots in work.
    pub working: f64,
    /// The most Shoots that gardenlet works on at once.
    pub workers: f64,
    /// Requests so far, by the API server that they were sent to.
    pub sent: BTreeMap<String, f64>,
}

/// What the metrics of an API server say at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// The API server.
    pub server: String,
    /// Requests since the begin of the load, by verb and resource as in `patch networks/status`. Those that the server sends
    /// to itself are left out.
    pub counts: BTreeMap<String, u64>,
    /// Watches that are open.
    pub watches: u64,
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The file of all records.
#[derive(Debug)]
pub(super) struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    pub(super) fn create(layout: &Layout) -> Result<Self, GardenError> {
        let path = layout.records();
        let file = File::create(&path).map_err(GardenError::system(format!("create {}", path.display())))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Appends a record.
    pub(super) fn note(&self, what: What) -> Result<(), GardenError> {
        let written = || -> io::Result<()> {
            let mut line = serde_json::to_vec(&Record { at: now(), what })?;
            line.push(b'\n');
            let mut file = self.file.lock().map_err(|_| io::Error::other("another thread panicked"))?;
            file.write_all(&line)
        };
        written().map_err(GardenError::system("record what happened"))
    }
}

/// Reads all records, in their order.
///
/// # Errors
/// The file does not exist: the load has not begun.
pub fn read(layout: &Layout) -> Result<Vec<Record>, GardenError> {
    let path = layout.records();
    let text = fs::read_to_string(&path).map_err(GardenError::system(format!("read {}", path.display())))?;
    Ok(parse(&text))
}

/// Reads lines. The last one may be cut off.
fn parse(text: &str) -> Vec<Record> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_a_cut_line_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        assert!(read(&layout).is_err());
        let recorder = Recorder::create(&layout).unwrap();
        let failed = What::Failed { shoot: "a".to_owned(), why: "line 1\nline 2".to_owned() };
        let usage = What::Usage(Usage { used: 1.5, cpu: [("etcd".to_owned(), 0.25)].into(), ..Usage::default() });
        for what in [What::Begins, failed.clone(), usage.clone()] {
            recorder.note(what).unwrap();
        }
        recorder.file.lock().unwrap().write_all(b"{\"at\":1,").unwrap();
        let read = read(&layout).unwrap();
        assert!(read.is_sorted_by_key(|record| record.at));
        assert_eq!(read.into_iter().map(|record| record.what).collect::<Vec<_>>(), [What::Begins, failed, usage]);
    }
}
