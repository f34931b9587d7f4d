//! Puts admission policies in force.

use std::time::Duration;

use kube::Client;
use mock_core::contract::OPERATION_ANNOTATION;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    json::{annotation, text},
    manifests::{self, ManifestsError, Mode},
};

/// The API server looks once a second for new policies, and every five for the schemas of what they change.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why policies are not in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The API server refused a policy, or a probe.
    #[error(transparent)]
    Refused(#[from] ManifestsError),
    /// A policy does not do its work.
    #[error("the policy for {kind} has no effect after {} s", PATIENCE.as_secs())]
    NoEffect {
        /// The kind of the objects that it is for.
        kind: String,
    },
}

/// Applies the policies and bindings of [`mock_core::admission::objects`] and returns when they have effect, after
/// about a second.
///
/// Of each kind that a policy is for, `probes` holds one object as gardenlet would create it, in a namespace that is
/// there. None is kept.
pub async fn install(client: &Client, policies: &[Value], probes: &[Value]) -> Result<(), AdmissionError> {
    for policy in policies {
        manifests::apply(client, policy, Mode::Apply).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    for probe in probes {
        while !takes_up(client, probe).await? {
            if Instant::now() >= deadline {
                return Err(AdmissionError::NoEffect { kind: text(probe, "kind").unwrap_or_default().to_owned() });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Whether the request is taken off the object as soon as it is created.
async fn takes_up(client: &Client, probe: &Value) -> Result<bool, AdmissionError> {
    match manifests::apply(client, probe, Mode::DryRun).await {
        Ok(created) => Ok(annotation(&serde_json::json!(created), OPERATION_ANNOTATION).is_none()),
        // It does not know the kind's schema yet.
        Err(ManifestsError::Refused { source: kube::Error::Api(status), .. }) if status.code == 503 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
