//! What a watch has seen of one object. Some of gardenlet's rules compare an object with what it was before.

use extension_contract::json::{annotation, get, text};
use extension_contract::watched::wakes;
use extension_contract::{OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION};
use serde_json::Value;

/// What a watch has seen of one object.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// gardenlet's latest request.
    pub(crate) request: Option<Request>,
    /// The object in the latest event.
    last: Option<Value>,
}

/// A request of gardenlet that the watch has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The timestamp annotation that gardenlet wrote.
    pub(crate) timestamp: String,
    /// `status.machineDeploymentsLastUpdateTime` before the request.
    pub(crate) machine_deployments: Option<String>,
    /// Whether an event has woken gardenlet since.
    pub(crate) is_noticed: bool,
}

impl History {
    /// Notes an event: the object as it is now.
    pub fn observe(&mut self, now: &Value) {
        let timestamp = annotation(now, TIMESTAMP_ANNOTATION);
        let known = self.request.as_ref().map(|request| request.timestamp.as_str());
        if let (Some(timestamp), true) = (timestamp, is_requested(now))
            && known != Some(timestamp)
        {
            let before = self.last.as_ref().unwrap_or(now);
            self.request = Some(Request {
                timestamp: timestamp.to_owned(),
                machine_deployments: text(before, "status.machineDeploymentsLastUpdateTime").map(str::to_owned),
                is_noticed: false,
            });
        }
        if let Some(request) = &mut self.request {
            request.is_noticed |= wakes(self.last.as_ref(), now);
        }
        // Any other new timestamp belongs to a deletion.
        if get(now, "metadata.deletionTimestamp").is_some() {
            self.request = None;
        }
        self.last = Some(now.clone());
    }
}

fn is_requested(object: &Value) -> bool {
    let asked = annotation(object, OPERATION_ANNOTATION).and_then(OperationAnnotation::parse);
    asked.is_some_and(|asked| asked != OperationAnnotation::WaitForState)
}
