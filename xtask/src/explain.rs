//! `cargo xtask explain`: why a Shoot waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use extension_contract::kinds;
use futures::StreamExt as _;
use futures::stream::Stream;
use gardener_testbed::causes;
use k8s_openapi::jiff::Timestamp;
use mock_core::process::client::connect;
use mock_explain::watch::Change;
use mock_explain::{Explanation, History, Ours, Outage, Reader, Seed, Watching, explain, words};
use mock_fleet::kinds::ALL;
use mock_view::say;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

/// Pause between two looks at what has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Pause between two readings of Clusters, Secrets, heartbeats and the garden.
const READ: Duration = Duration::from_secs(5);

/// Why does a Shoot wait? Explains each extension object of a seed, without changing anything
///
/// For each object, gardenlet's rule is evaluated. An object that meets it takes a line. Otherwise the command says which
/// rule is not met, since when and until when gardenlet waits and what happens then, who should act, and what a script
/// does next.
#[derive(clap::Args)]
#[command(after_long_help = PERMISSIONS)]
pub(crate) struct Args {
    /// The Shoot as project/name or by its technical ID, or another namespace such as garden [default: all namespaces]
    #[arg(value_name = "SHOOT|NAMESPACE")]
    shoot: Option<String>,
    /// Kubeconfig of the seed [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Kubeconfig of the garden: tells whether the extension of an object is registered, installed and healthy
    #[arg(long, value_name = "FILE")]
    garden_kubeconfig: Option<PathBuf>,
    /// Keep watching, and print each object again whose explanation changes
    #[arg(long, short)]
    watch: bool,
    /// Output: text or json; with --watch, json is one line for each change
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

const PERMISSIONS: &str = "Permissions on the seed:
  extensions.gardener.cloud, all resources: list; with --watch also watch
  namespaces: list, and get to explain a namespace that is no Shoot's
  secrets: get; only their metadata is read. Without it, rules about Secrets are left out
  leases (coordination.k8s.io): list. Without it, heartbeats are left out
  deployments (apps): list, in the namespaces of extensions. Without it, it is unknown whether an extension has a Pod
Permissions in the garden:
  controllerregistrations, controllerinstallations (core.gardener.cloud): list";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let client = connect(args.kubeconfig.as_deref()).await.context("cannot use the kubeconfig of the seed")?;
    let garden = match &args.garden_kubeconfig {
        Some(file) => Some(connect(Some(file)).await.context("cannot use --garden-kubeconfig")?),
        None => None,
    };
    let reader = Reader::new(client, garden);
    let namespace = match &args.shoot {
        Some(wanted) => Some(reader.find(wanted).await?),
        None => None,
    };
    let seed = reader.read(namespace.as_deref()).await?;
    let ours = ours();
    let now = Timestamp::now();
    let explanations: Vec<_> =
        seed.objects.iter().map(|found| explain(found, &seed, &History::default(), &ours, now)).collect();
    if args.watch {
        return watch(&reader, namespace.as_deref(), args.output, &ours, seed).await;
    }
    match args.output {
        Output::Text => print_all(&seed, &explanations, namespace.as_deref(), now),
        Output::Json => say!("{:#}", document(&seed, &explanations, now)),
    }
    Ok(ExitCode::SUCCESS)
}

/// What our controllers serve.
pub(crate) fn ours() -> Vec<Ours> {
    let of = |package: &mock_fleet::kinds::Package| {
        let types = package.types.iter().map(ToString::to_string).collect();
        Some(Ours { kind: kinds::find(package.kind())?, types, finalizer: package.finalizer })
    };
    ALL.iter().filter_map(of).collect()
}

/// The namespace that an object is printed under: that of its Shoot, else its own. Buckets belong to the Seed.
pub(crate) fn group(explanation: &Explanation, seed: &Seed) -> String {
    let is_it = |found: &&mock_explain::Found| found.kind.name == explanation.kind && found.name() == explanation.name;
    let of_shoot = seed.objects.iter().find(is_it).and_then(|found| found.shoot_namespace());
    match of_shoot {
        _ if !explanation.namespace.is_empty() => explanation.namespace.clone(),
        Some(namespace) => namespace.to_owned(),
        None => "(cluster-scoped)".to_owned(),
    }
}

fn print_all(seed: &Seed, explanations: &[Explanation], wanted: Option<&str>, now: Timestamp) {
    let mut groups = BTreeMap::<String, Vec<&Explanation>>::new();
    for namespace in seed.clusters.keys().map(String::as_str).chain(wanted) {
        groups.entry(namespace.to_owned()).or_default();
    }
    for explanation in explanations {
        groups.entry(group(explanation, seed)).or_default().push(explanation);
    }
    for (namespace, explanations) in &groups {
        let shoot = seed.clusters.get(namespace).and_then(|cluster| cluster.pointer("/spec/shoot"));
        let waiting = explanations.iter().filter(|explanation| explanation.waits.is_some()).count();
        let count = match (explanations.len(), waiting) {
            (0, _) => "no extension objects: gardenlet has not created any yet, or has deleted all".to_owned(),
            (1, 0) => "1 object is ready".to_owned(),
            (all, 0) => format!("all {all} objects are ready"),
            (all, waiting) => format!("{waiting} of {all} objects are not ready"),
        };
        say!("{}: {count}", words::heading(namespace, shoot));
        for explanation in explanations {
            say!("  {}", words::describe(explanation, now));
        }
    }
    if groups.is_empty() {
        say!("no Shoot and no extension object is on this seed");
    }
    for unread in &seed.unread {
        say!("could not read {unread}");
    }
}

/// The document that `--output json` prints. `crates/explain/README.md` describes its fields.
fn document(seed: &Seed, explanations: &[Explanation], now: Timestamp) -> Value {
    let shoots = seed.clusters.iter().map(|(namespace, cluster)| {
        let field = |path| cluster.pointer(path).cloned().unwrap_or_default();
        json!({
            "namespace": namespace,
            "project": field("/spec/shoot/metadata/namespace"),
            "name": field("/spec/shoot/metadata/name"),
            "lastOperation": field("/spec/shoot/status/lastOperation"),
        })
    });
    json!({ "time": now, "shoots": shoots.collect::<Vec<_>>(), "objects": explanations, "unread": seed.unread })
}

/// Prints each object whose explanation changes, until interrupted.
async fn watch(
    reader: &Reader,
    namespace: Option<&str>,
    output: Output,
    ours: &[Ours],
    mut seed: Seed,
) -> Result<ExitCode> {
    let mut changes = reader.watch(namespace);
    let mut watching = Watching::default();
    let (mut look, mut read) = (interval(LOOK), Instant::now());
    let mut told = BTreeMap::new();
    let mut outage = Outage::default();
    loop {
        look.tick().await;
        for line in note(&mut changes, &mut watching, &mut outage).await {
            eprintln!("{line}");
        }
        // What was seen before an outage may have changed.
        if outage.goes_on() {
            continue;
        }
        let objects = watching.objects(namespace);
        if read.elapsed() >= READ {
            seed = reader.context(objects, namespace, Vec::new()).await;
            read = Instant::now();
        } else {
            seed.objects = objects;
        }
        let now = Timestamp::now();
        let explanations = watching.explain(&seed, ours, now);
        let mut there = BTreeSet::new();
        for explanation in &explanations {
            let key = (explanation.kind, explanation.namespace.clone(), explanation.name.clone());
            let gist = words::gist(explanation, now);
            if told.get(&key) != Some(&gist) {
                match output {
                    Output::Text => {
                        let place = group(explanation, &seed);
                        say!("{} {place}\n  {}", now.strftime("%H:%M:%S"), words::describe(explanation, now));
                    }
                    Output::Json => say!("{}", json!({ "time": now, "object": explanation })),
                }
            }
            told.insert(key.clone(), gist);
            there.insert(key);
        }
        for (kind, namespace, name) in told.keys().filter(|key| !there.contains(key)) {
            match output {
                Output::Text => say!("{} {namespace}\n  gone   {kind} {name}", now.strftime("%H:%M:%S")),
                Output::Json => {
                    say!("{}", json!({ "time": now, "gone": { "kind": kind, "namespace": namespace, "name": name } }));
                }
            }
        }
        told.retain(|key, _| there.contains(key));
    }
}

/// Notes the events that come within a moment. Returns what to say of watches that fail: they start again by themselves.
async fn note(
    changes: &mut (impl Stream<Item = Change> + Unpin),
    watching: &mut Watching,
    outage: &mut Outage,
) -> Vec<String> {
    let moment = tokio::time::sleep(LOOK / 2);
    tokio::pin!(moment);
    let (mut failures, mut lines) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            () = &mut moment => break,
            change = changes.next() => match change {
                Some((kind, Ok(event))) => {
                    if watching.apply(kind, event) {
                        lines.extend(outage.work(kind.name).map(str::to_owned));
                    }
                }
                // Also a kind whose CRD is missing or that the user may not read.
                Some((kind, Err(error))) => failures.push((kind.name, causes(&error))),
                None => break,
            },
        }
    }
    lines.extend(outage.fail(failures));
    lines
}
