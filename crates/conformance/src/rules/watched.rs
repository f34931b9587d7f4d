//! What gardenlet notices of the objects that it watches. It sees an object only when an event wakes it.

use extension_contract::watched::{Round, round, wakes};
use extension_contract::{OPERATION_ANNOTATION, OperationAnnotation, TIMESTAMP_ANNOTATION, readiness};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::object::{annotation, asking_at, ensure, excerpt, last, merged, text};
use crate::rule::rules;
use crate::scene::{A_SECOND, Scene};
use crate::versions::Versions;

rules! {
    section "watched kinds";

    Must result_of_a_request_is_noticed_and_complete needs [WatchedReader]
        from "pkg/controllerutils/predicate/predicate.go, pkg/utils/kubernetes/health/extensions.go":
        "The event that wakes gardenlet shows an object that is ready by the full rule of the kinds that it polls."
        otherwise "gardenlet looks at no later event and waits for ever, or gardener-operator, which polls the same \
                   kinds, does.";

    Must two_requests_within_one_second_are_both_noticed needs [WatchedReader]
        from "pkg/controllerutils/predicate/predicate.go":
        "Each request ends with a change of lastOperation."
        otherwise "An equal result, written in the same second, goes unnoticed, and gardenlet waits for ever.";

    Must annotation_goes_before_processing_and_processing_before_the_result needs [WatchedReader]
        from "pkg/controllerutils/reconciler/operation_annotation_wrapper.go, pkg/controllerutils/predicate/predicate.go":
        "The controller removes the annotation of a reconcile first, then writes Processing, then the result."
        otherwise "A result beside the annotation goes unnoticed, and gardenlet waits for ever.";

    May request_without_annotation_is_noticed needs [WatchedReader, Unannotated]
        from "pkg/controllerutils/predicate/predicate.go, pkg/utils/kubernetes/health/extensions.go":
        "A changed spec without annotation ends with an event that wakes gardenlet as well."
        otherwise "Callers that poll request it the same way, and wait until their timeout.";

    Must newer_secret_is_followed_by_one_request_and_rest needs [WatchedSecret]
        from "pkg/gardenlet/controller/backupbucket/reconciler.go, pkg/gardenlet/controller/backupentry/reconciler.go":
        "After a request that follows a new Secret, lastUpdateTime is not before the Secret's timestamp."
        otherwise "gardenlet sends requests for ever.";

    May secret_ahead_of_the_clock_is_followed_by_one_request_and_rest needs [WatchedSecret, ClockSkew]
        from "pkg/gardenlet/controller/backupbucket/reconciler.go, pkg/gardenlet/controller/backupentry/reconciler.go":
        "The same holds if gardenlet's clock is ahead."
        otherwise "gardenlet sends requests until the controller's clock has caught up.";

    Must restore_is_noticed_although_its_annotation_goes_last needs [WatchedReader, Migrate]
        from "pkg/controllerutils/predicate/predicate.go, pkg/gardenlet/controller/backupentry/reconciler.go":
        "A restore ends with an event that wakes gardenlet, as Restore/Succeeded, and then without the annotation."
        otherwise "gardenlet never reports the object as restored.";

    May migration_is_noticed_and_never_in_progress needs [WatchedReader, InstantMigrate]
        from "pkg/gardenlet/controller/backupentry/reconciler.go":
        "Migrate/Succeeded comes without Processing before it, in an event that wakes gardenlet."
        otherwise "A gardenlet that restarts meanwhile takes a migration in progress for done, and deletes the \
                   Secret.";
}

async fn result_of_a_request_is_noticed_and_complete(scene: Scene) -> Result<(), Failed> {
    let mut reader = Reader::of(&scene, None).await?;
    reader.create().await?;
    for expected in ["Create/Succeeded", "Reconcile/Succeeded"] {
        let object = reader.until_succeeded().await?;
        ensure(last(&object) == expected, last(&object))?;
        readiness::check(&object, annotation(&object, TIMESTAMP_ANNOTATION))
            .map_err(|unmet| format!("gardenlet is woken too early: {unmet}: {}", excerpt(&object)))?;
        tokio::time::sleep(A_SECOND).await;
        reader.ask().await?;
    }
    reader.until_succeeded().await.map(drop)
}

async fn two_requests_within_one_second_are_both_noticed(scene: Scene) -> Result<(), Failed> {
    let mut reader = Reader::of(&scene, None).await?;
    reader.create().await?;
    // Sooner or later, two of them are served within one second.
    for _ in 0..6 {
        reader.until_succeeded().await?;
        reader.ask().await?;
    }
    reader.until_succeeded().await.map(drop)
}

async fn annotation_goes_before_processing_and_processing_before_the_result(scene: Scene) -> Result<(), Failed> {
    let mut versions = scene.follow("a").await?;
    scene.create_annotated("a", "reconcile").await?;
    let mut before = String::from("/");
    for result in ["Create/Succeeded", "Reconcile/Succeeded"] {
        let is_asked = |object: &Value| annotation(object, OPERATION_ANNOTATION).is_some();
        let mut object = versions.until("the request", is_asked).await?;
        let mut seen = Vec::new();
        while last(&object) != result || is_asked(&object) {
            let state = (is_asked(&object), last(&object));
            ensure(!state.0 || state.1 == before, format!("{state:?} beside the annotation: {}", excerpt(&object)))?;
            seen.push(state.1);
            object = versions.next().await?;
        }
        let processing = result.replace("Succeeded", "Processing");
        ensure(seen.last() == Some(&processing), format!("{seen:?} before {result}"))?;
        before = result.to_owned();
        scene.until_ready("a").await?;
        // A timestamp ahead of the controller's clock would need ClockSkew.
        scene.ask_next_second("a", "reconcile").await?;
    }
    Ok(())
}

async fn request_without_annotation_is_noticed(scene: Scene) -> Result<(), Failed> {
    let mut reader = Reader::of(&scene, None).await?;
    reader.create().await?;
    reader.until_succeeded().await?;
    scene.patch("a", scene.change()).await?;
    let object = reader.until_succeeded().await?;
    ensure(readiness::check(&object, None).is_ok(), format!("gardenlet is woken too early: {}", excerpt(&object)))
}

async fn newer_secret_is_followed_by_one_request_and_rest(scene: Scene) -> Result<(), Failed> {
    follows_the_secret(&scene, SignedDuration::ZERO).await
}

async fn secret_ahead_of_the_clock_is_followed_by_one_request_and_rest(scene: Scene) -> Result<(), Failed> {
    follows_the_secret(&scene, SignedDuration::from_hours(1)).await
}

/// gardenlet's clock is `ahead` of the controller's.
async fn follows_the_secret(scene: &Scene, ahead: SignedDuration) -> Result<(), Failed> {
    let secret = OwnSecret::create(scene, ahead).await?;
    let mut reader = Reader::of(scene, Some(&secret)).await?;
    reader.ahead = ahead;
    reader.create().await?;
    reader.until_succeeded().await?;
    // The timestamp of the Secret is of another second than the last operation.
    tokio::time::sleep(A_SECOND).await;
    reader.secret = Some(secret.renew(ahead).await?);
    ensure(reader.asks_in_a_round().await?, "the new Secret does not make gardenlet send a request")?;
    let asked = reader.asked;
    let object = reader.until_succeeded().await?;
    ensure(reader.asked == asked, format!("{} more requests: {}", reader.asked - asked, excerpt(&object)))?;
    let object = scene.until_served("a", annotation(&object, TIMESTAMP_ANNOTATION)).await?;
    scene.unchanged("a", &object, "it is at rest").await
}

async fn restore_is_noticed_although_its_annotation_goes_last(scene: Scene) -> Result<(), Failed> {
    scene.prepare_restore().await?;
    let mut versions = scene.follow("a").await?;
    let asked = scene.ask("a", "restore").await?;
    let object = versions.until_woken("the restore", &asked).await?;
    ensure(last(&object) == "Restore/Succeeded", last(&object))?;
    ensure(
        round(Some(&object), None) == Round::Succeeds,
        format!("gardenlet does not report it: {}", excerpt(&object)),
    )?;
    scene.until_ready("a").await.map(drop)
}

async fn migration_is_noticed_and_never_in_progress(scene: Scene) -> Result<(), Failed> {
    scene.create_ready().await?;
    let mut versions = scene.follow("a").await?;
    let asked = scene.ask("a", "migrate").await?;
    let version = text(&asked, "/metadata/resourceVersion").to_owned();
    let mut before = versions.until("the request", |it| text(it, "/metadata/resourceVersion") == version).await?;
    loop {
        let now = versions.next().await?;
        let is_of_migrate = text(&now, "/status/lastOperation/type") == "Migrate";
        ensure(!is_of_migrate || last(&now) == "Migrate/Succeeded", format!("{}: {}", last(&now), excerpt(&now)))?;
        if wakes(Some(&before), &now) {
            break;
        }
        before = now;
    }
    scene.until_released("a").await.map(drop)
}

/// gardenlet's controller of a watched kind, for an object `a`. It sees the object only in events that wake it.
struct Reader {
    scene: Scene,
    versions: Versions,
    /// The object in the newest event.
    newest: Option<Value>,
    /// A merge patch of the spec that gardenlet wants.
    spec: Value,
    /// The timestamp of the Secret, if the spec names a Secret.
    secret: Option<String>,
    /// How far gardenlet's clock is ahead.
    ahead: SignedDuration,
    /// How many requests were sent.
    asked: usize,
}

impl Reader {
    async fn of(scene: &Scene, secret: Option<&OwnSecret>) -> Result<Self, Failed> {
        Ok(Self {
            versions: scene.follow("a").await?,
            scene: scene.clone(),
            newest: None,
            spec: secret.map_or_else(
                || json!({}),
                |secret| json!({ "secretRef": { "namespace": secret.namespace, "name": secret.name } }),
            ),
            secret: secret.map(|secret| secret.timestamp.clone()),
            ahead: SignedDuration::ZERO,
            asked: 0,
        })
    }

    fn request(&mut self) -> Result<Value, Failed> {
        self.asked += 1;
        let now = Timestamp::now().checked_add(self.ahead)?;
        Ok(asking_at(OperationAnnotation::Reconcile.as_str(), &now.to_string()))
    }

    async fn create(&mut self) -> Result<(), Failed> {
        let patch = merged(self.request()?, &json!({ "spec": self.spec }));
        self.scene.create_object("a", &patch).await.map(drop)
    }

    async fn ask(&mut self) -> Result<(), Failed> {
        let request = self.request()?;
        self.scene.patch("a", request).await.map(drop)
    }

    /// A round that something else than an event of the object has started. Returns whether it sends a request.
    async fn asks_in_a_round(&mut self) -> Result<bool, Failed> {
        let object = self.scene.get("a").await?;
        let asks = round(Some(&object), self.secret.as_deref()) == Round::Asks;
        if asks {
            self.ask().await?;
        }
        Ok(asks)
    }

    /// Reads events, and makes a round for each one that wakes gardenlet, until a round reports success. Returns the
    /// object as that round saw it.
    async fn until_succeeded(&mut self) -> Result<Value, Failed> {
        loop {
            let next = self.versions.next().await;
            let now = next.map_err(|_| format!("no event has woken gardenlet; the last one was {:#?}", self.newest))?;
            let is_woken = wakes(self.newest.as_ref(), &now);
            self.newest = Some(now.clone());
            if !is_woken {
                continue;
            }
            match round(Some(&now), self.secret.as_deref()) {
                Round::Succeeds => return Ok(now),
                Round::Asks => self.ask().await?,
                Round::Fails | Round::Waits => {
                    return Err(format!("gardenlet reports an error: {}", excerpt(&now)).into());
                }
            }
        }
    }
}

/// A copy of the Secret in the subject's spec, for one object alone.
struct OwnSecret {
    secrets: Api<Secret>,
    namespace: String,
    name: String,
    timestamp: String,
}

impl OwnSecret {
    async fn create(scene: &Scene, ahead: SignedDuration) -> Result<Self, Failed> {
        let spec = &scene.suite().subject().spec;
        let namespace = text(spec, "/secretRef/namespace");
        let name = text(spec, "/secretRef/name");
        let given = Api::<Secret>::namespaced(scene.client(), namespace).get_opt(name).await?;
        let missing = || scene.not_judged(&format!("create the Secret {namespace}/{name}, which the spec names"));
        let given = given.ok_or_else(missing)?;
        // On a cluster that is not the kit's, it writes to its own namespaces alone.
        let namespace = if scene.suite().is_own() { namespace } else { scene.namespace() };
        let secrets = Api::<Secret>::namespaced(scene.client(), namespace);
        let timestamp = Timestamp::now().checked_add(ahead)?.to_string();
        let name = scene.namespace().to_owned();
        let metadata = json!({ "name": name, "annotations": { TIMESTAMP_ANNOTATION: timestamp } });
        let own = json!({ "metadata": metadata, "data": given.data, "type": given.type_ });
        secrets.create(&PostParams::default(), &serde_json::from_value(own)?).await?;
        Ok(Self { secrets, namespace: namespace.to_owned(), name, timestamp })
    }

    /// Writes new credentials, as gardenlet does, and returns their timestamp.
    async fn renew(&self, ahead: SignedDuration) -> Result<String, Failed> {
        let timestamp = Timestamp::now().checked_add(ahead)?.to_string();
        let patch = json!({ "metadata": { "annotations": { TIMESTAMP_ANNOTATION: timestamp } },
            "stringData": { "renewed": "yes" } });
        self.secrets.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(timestamp)
    }
}
