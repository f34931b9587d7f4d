//! Installs mutating admission policies and waits until they take effect.

use std::time::Duration;

use extension_contract::OPERATION_ANNOTATION;
use extension_contract::json::{annotation, text};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::manifests::{self, ManifestsError, Mode};

/// The API server looks for new policies every second, and for schemas of the objects that they change every 5 s.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(30);

/// Why policies do not take effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// The API server rejected a policy or a probe.
    #[error(transparent)]
    Refused(#[from] ManifestsError),
    /// A policy does not change the objects that it selects.
    #[error("the policy for {kind} has no effect after {} s", EFFECTIVE_WITHIN.as_secs())]
    NoEffect {
        /// The kind of the objects.
        kind: String,
    },
}

/// Applies `policies`, which are policies and their bindings. Returns when they take effect, usually after 1 s. A
/// policy takes effect when it removes gardenlet's operation annotation from new objects.
///
/// `probes` contains, for each kind that a policy selects, one object as gardenlet would create it. Its namespace must
/// exist. The objects are created in dry-run mode only.
pub async fn install(client: &Client, policies: &[Value], probes: &[Value]) -> Result<(), AdmissionError> {
    for policy in policies {
        manifests::apply(client, policy, Mode::Apply).await?;
    }
    let deadline = Instant::now() + EFFECTIVE_WITHIN;
    for probe in probes {
        while !takes_effect(client, probe).await? {
            if Instant::now() >= deadline {
                return Err(AdmissionError::NoEffect { kind: text(probe, "kind").unwrap_or_default().to_owned() });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Returns whether a policy removes the operation annotation from the object.
async fn takes_effect(client: &Client, probe: &Value) -> Result<bool, AdmissionError> {
    match manifests::apply(client, probe, Mode::DryRun).await {
        Ok(created) => Ok(annotation(&json!(created), OPERATION_ANNOTATION).is_none()),
        // The API server does not know the kind's schema yet.
        Err(ManifestsError::Refused { source: kube::Error::Api(status), .. }) if status.code == 503 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
