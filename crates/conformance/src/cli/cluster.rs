//! Judges a controller that runs already, in namespaces of the kit's own.

use std::path::Path;
use std::sync::Arc;

use extension_contract::{DELETION_CONFIRMATION_ANNOTATION, GROUP, Kind};
use gardener_testbed::causes;
use kube::api::{DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use libtest_mimic::Failed;

use super::args::Args;
use super::interrupts::Interrupts;
use super::{Ended, names, tell, test};
use crate::clean_up::clean_up;
use crate::rule::Rule;
use crate::subject::Subject;
use crate::suite::{RUN_LABEL, Suite};

/// Puts the controller to the test, and removes everything that this created. Returns `None` if the run should only say
/// what it would create.
pub(super) async fn judge(
    args: &Args,
    kubeconfig: &Path,
    subject: Subject,
    rules: Vec<Rule>,
) -> Result<Option<Ended>, Failed> {
    let unusable = |error: &dyn std::fmt::Display| format!("cannot use --kubeconfig {}: {error}", kubeconfig.display());
    let config = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(&error))?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    let config = config.map_err(|error| unusable(&error))?;
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).map_err(|error| unusable(&error))?;
    answers(&client, &subject).await.map_err(|why| unusable(&why))?;

    let run = new_run()?;
    tell(format_args!("{}", plan(&run, &server, &subject, &rules)));
    if args.dry_run {
        return Ok(None);
    }
    // From here on, a signal ends the run only after the clean-up.
    let mut interrupts = Interrupts::listen()?;
    let suite = Arc::new(Suite::on_cluster(client, subject, run.clone()));
    let mut ended = test(args, &suite, rules, None, server, &mut interrupts).await;
    if ended.interrupted {
        tell(format_args!("interrupted: interrupt again to leave what the run has created"));
    }
    tell(format_args!("removing what the run has created"));
    let cleaned = tokio::select! {
        cleaned = clean_up(&suite) => cleaned,
        () = interrupts.next() => Err("interrupted again".into()),
    };
    if let Err(why) = cleaned {
        let left = "the run has left objects behind";
        let by_hand = by_hand(&run, suite.subject().kind);
        let left = format!("{left}: {}\nremove them with:\n{by_hand}", why.message().unwrap_or_default());
        let earlier = ended.trouble.as_ref().and_then(Failed::message).map(|why| format!("{why}\n"));
        ended.trouble = Some(format!("{}{left}", earlier.unwrap_or_default()).into());
    }
    Ok(Some(ended))
}

/// Fails if the cluster cannot be asked for objects of the kind. Nothing was created then.
async fn answers(client: &Client, subject: &Subject) -> Result<(), String> {
    let objects = Api::<DynamicObject>::all_with(client.clone(), &subject.resource());
    match objects.list_metadata(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(()),
        // The answer for a kind that is not served is no `Status`, so `is_not_found` does not recognise it.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Err(format!("the cluster has no {}.{GROUP}: is it a seed?", subject.kind.plural))
        }
        Err(error) => Err(format!("the server of its context does not answer as wanted: {}", causes(&error))),
    }
}

/// A new ID. Runs on one cluster at the same time must differ.
fn new_run() -> Result<String, Failed> {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes).map_err(|error| format!("cannot get random bytes: {error}"))?;
    let [a, b, c] = bytes;
    Ok(format!("kit{a:02x}{b:02x}{c:02x}"))
}

/// What the run creates, for the owner of the cluster.
pub(super) fn plan(run: &str, server: &str, subject: &Subject, rules: &[Rule]) -> String {
    let applying = rules.iter().filter(|rule| subject.lacks(rule.needs).is_none()).count();
    // A rule may need a second namespace, and the first object needs one.
    let namespaces = 2 * applying + 1;
    let apply = match subject.in_each_namespace.len() {
        0 => String::new(),
        count => format!("\n  - {count} objects of --apply in each namespace"),
    };
    format!(
        "judging the controller of {} on {server} by {applying} rules. The run creates, and removes at its end or when \
         interrupted:\n  - up to {namespaces} namespaces with the name shoot--{run}--… and the label {RUN_LABEL}={run}\n  \
         - a Cluster (extensions.gardener.cloud) of the same name for each\n  - {} objects for the namespaces, with \
         whatever the controller creates for them{apply}\nIt changes nothing else. If the kit is killed, remove them with:\n{}",
        names(subject),
        subject.kind.name,
        by_hand(run, subject.kind),
    )
}

/// The commands that remove everything of a run. A webhook of gardener-resource-manager refuses to delete an object
/// without the confirmation (`pkg/resourcemanager/webhook/crddeletionprotection/handler.go`). A controller may need the
/// Cluster to delete its objects, so the Clusters go last.
fn by_hand(run: &str, kind: &Kind) -> String {
    let (objects, clusters) = (format!("{}.{GROUP}", kind.plural), format!("clusters.{GROUP}"));
    let of_run = format!("--selector {RUN_LABEL}={run}");
    let all = if kind.namespaced { "--all-namespaces " } else { "" };
    format!(
        "  kubectl annotate {objects} {all}{of_run} {DELETION_CONFIRMATION_ANNOTATION}=true\n  kubectl delete {objects} \
         {all}{of_run}\n  kubectl delete namespaces,{clusters} {of_run}"
    )
}
