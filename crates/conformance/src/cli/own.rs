//! Judges a command on the kit's own API server.

use std::sync::Arc;
use std::time::Duration;

use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{self, ManifestsError, Mode};
use k8s_openapi::api::rbac::v1::PolicyRule;
use libtest_mimic::Failed;

use super::args::Args;
use super::interrupts::Interrupts;
use super::{Ended, names, tell, test};
use crate::eventually::eventually;
use crate::judge::CONTROLLER;
use crate::launcher::CommandLine;
use crate::rule::Rule;
use crate::subject::Subject;
use crate::suite::Suite;

/// Limit for the API server to serve the kind of a `CustomResourceDefinition` that it has just got.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Starts servers and the controller, and puts it to the test.
pub(super) async fn judge(
    args: &Args,
    assets: &Assets,
    words: Vec<String>,
    subject: Subject,
    rules: Vec<Rule>,
) -> Result<Ended, Failed> {
    let mut interrupts = Interrupts::listen()?;
    let options = Options { users: vec![CONTROLLER.to_owned()], ..Options::default() };
    let bed = Arc::new(TestBed::start(assets, options).await?);
    bed.grant(CONTROLLER, everything()).await?;
    for file in &args.setup {
        for object in manifests::read(file)? {
            apply(&bed, &object).await?;
        }
    }
    tell(format_args!("judging the controller of {}: {}", names(&subject), words.join(" ")));
    let kubeconfig = bed.kubeconfig_for(CONTROLLER)?;
    let launcher = Arc::new(CommandLine { words, kubeconfig, type_: subject.type_.clone() });
    let logs = args.logs.clone().unwrap_or_else(|| bed.dir().join("logs"));
    let suite = Arc::new(Suite::logging_to(logs, bed, subject, launcher).await?);
    let shared = suite.start_shared()?;
    let place = "the kit's own API server".to_owned();
    Ok(test(args, &suite, rules, Some(shared), place, &mut interrupts).await)
}

/// Applies an object. If its kind is not served yet, its definition may have come a moment ago.
async fn apply(bed: &TestBed, object: &serde_json::Value) -> Result<(), Failed> {
    let applied = eventually(SERVED_WITHIN, || async {
        match manifests::apply(&bed.client(), object, Mode::Apply).await {
            Err(ManifestsError::Refused { source: kube::Error::Discovery(error), doing, object }) => {
                Err(format!("cannot {doing} {object}: {error}").into())
            }
            other => Ok(other.map(drop)),
        }
    });
    Ok(applied.await??)
}

/// All permissions. The kit judges what a controller does, not what it may do.
fn everything() -> Vec<PolicyRule> {
    let all = || Some(vec!["*".to_owned()]);
    let resources =
        PolicyRule { api_groups: all(), resources: all(), verbs: vec!["*".to_owned()], ..PolicyRule::default() };
    let urls = PolicyRule { non_resource_urls: all(), verbs: vec!["*".to_owned()], ..PolicyRule::default() };
    vec![resources, urls]
}
