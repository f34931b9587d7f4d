//! One reconcile without a server: what a controller would do with an object. Tests and tools ask this of any kind.

use clap::Parser;
use extension_contract::{Class, HasCluster, OperationType};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::context::has_cluster;
use crate::decide::decide;
use crate::decide::plan::{Plan, Reason, Step};
use crate::decide::view::{ClusterView, Served, ShootFacts};
use crate::invalid::Invalid;
use crate::kind::{MockKind, Object, Outcome};
use crate::process::args::Args;
use crate::round::Round;
use crate::watch::clusters::Cluster;
use crate::watch::decode::Guarded;
use crate::write::compose::{Composed, Target, compose, report_with_outcome};

/// What a controller with default flags meets.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The object, as JSON.
    pub object: &'a str,
    /// Its Cluster, as JSON. `None` if it does not exist.
    pub cluster: Option<&'a str>,
    /// The Secret that the object names. `None` if it does not exist.
    pub secret: Option<&'a Secret>,
    /// The time.
    pub now: Timestamp,
}

/// What the controller does.
#[derive(Clone, Debug)]
pub enum Act {
    /// It logs why the object cannot be decoded, and ignores it until it is deleted.
    Undecodable(Invalid),
    /// Nothing, for this reason. If the Cluster is unreadable, the controller logs why.
    Leave(Reason, Option<Invalid>),
    /// Nothing before that time.
    RetryAt(Timestamp),
    /// It sends requests.
    Write(OperationType, Box<Composed>),
}

/// Why there is nothing that a controller could be asked about.
#[derive(Debug, thiserror::Error)]
pub enum NoScene {
    /// No API server sends such JSON: it is no object, or its metadata is malformed.
    #[error("no {what} as an API server sends it: {source}")]
    NotSent {
        /// The object or its Cluster.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The kind's flags have no defaults.
    #[error("the controller needs flags: {0}")]
    Flags(#[from] clap::Error),
}

/// What the controller of a kind does with an object.
pub fn rehearse<K: MockKind>(scene: &Scene<'_>) -> Result<Act, NoScene> {
    let sent = |what| move |source| NoScene::NotSent { what, source };
    let object: Object<K> = match serde_json::from_str::<Guarded<K>>(scene.object).map_err(sent("object"))?.0 {
        Ok(object) => object,
        Err(undecodable) => return Ok(Act::Undecodable(undecodable.invalid)),
    };
    let cluster: Option<Cluster> = scene.cluster.map(serde_json::from_str).transpose().map_err(sent("Cluster"))?;
    let facts = cluster.as_ref().map(Cluster::facts);
    let (facts, unreadable) = match facts {
        None => (None, None),
        Some(Ok(facts)) => (Some(facts), None),
        Some(Err(invalid)) => (None, Some(invalid)),
    };
    let lead = |_: &str, time: Timestamp| time.duration_since(scene.now).max(SignedDuration::ZERO);
    let round = Round { object: &object, facts: facts.as_ref(), now: scene.now, lead: &lead };
    let types: Vec<String> = K::TYPES.iter().map(ToString::to_string).collect();
    let classes = K::KIND.usual_classes();
    let served = Served { types: &types, classes, finalizer: K::FINALIZER, kind: K::KIND };
    let view = cluster_view::<K>(&object, cluster.is_some(), facts.as_ref());
    match decide(round.view(), view, &served, &round.scripting(None), scene.now) {
        Step::Leave(reason) => Ok(Act::Leave(reason, unreadable)),
        Step::RetryAt(due) => Ok(Act::RetryAt(due)),
        Step::Write(plan) => {
            let outcome = outcome(&round, &plan, cluster.as_ref(), scene.secret)?;
            let target = Target::of(&object);
            Ok(Act::Write(plan.operation, Box::new(compose(&plan, &target, outcome, scene.now))))
        }
    }
}

fn cluster_view<'a, K: MockKind>(object: &Object<K>, exists: bool, facts: Option<&'a ShootFacts>) -> ClusterView<'a> {
    let is_needed = match has_cluster::<K>(K::KIND.usual_classes()) {
        HasCluster::Never => false,
        HasCluster::Always => true,
        HasCluster::InShootNamespaces => exists,
    };
    if !is_needed || object.metadata.namespace.is_none() || Class::Garden.is(object.base.class.as_deref()) {
        return ClusterView::Unneeded;
    }
    facts.map_or(ClusterView::Missing, ClusterView::Known)
}

fn outcome<K: MockKind>(
    round: &Round<'_, K>,
    plan: &Plan,
    cluster: Option<&Cluster>,
    secret: Option<&Secret>,
) -> Result<Result<Outcome, Invalid>, NoScene> {
    let Some(report) = report_with_outcome(plan, !K::EARLY.is_empty()) else { return Ok(Ok(Outcome::default())) };
    if let Some(outcome) = Outcome::without_kind::<K>(plan.operation) {
        return Ok(Ok(outcome));
    }
    let cluster = cluster.filter(|_| round.facts.is_some() && round.object.spec.reads_shoot());
    let shoot = match cluster.map_or_else(|| Ok(K::Shoot::default()), Cluster::view) {
        Ok(shoot) => shoot,
        Err(invalid) => return Ok(Err(invalid)),
    };
    let secret = match round.secret() {
        Err(invalid) => return Ok(Err(invalid)),
        Ok(None) => None,
        Ok(Some(key)) if secret.is_none() => return Ok(Err(key.missing())),
        Ok(Some(_)) => secret,
    };
    let options = Args::<K::Options>::try_parse_from([K::KIND.name])?.kind;
    Ok(round.outcome(&options, report, &shoot, secret))
}
