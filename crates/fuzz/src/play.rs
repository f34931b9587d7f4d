//! Plays rounds of a controller with one object, and applies what the controller writes as an API server does.

use gardener_testbed::schema::violations;
use k8s_openapi::api::core::v1::Secret;
use mock_core::kind::{Invalid, SecretKey};
use mock_core::rehearse::{Act, NoScene, Scene};
use mock_core::write::compose::Composed;
use mock_core::write::patch::{Request, status_body};
use mock_fleet::kinds::Package;
use serde_json::{Value, json};

use crate::clear::misleads;
use crate::crds::Crd;
use crate::generate;

/// Scripts may retry for ever.
const ROUNDS: usize = 12;

/// What a controller does and must not do.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// The CRDs lack the kind.
    #[error("there is no CRD of {0}: write it to crates/<kind>/crd.yaml, or use the release of Gardener that has it")]
    NoCrd(&'static str),
    /// The object is not like those of an API server, so the generator is wrong.
    #[error("{0}")]
    NoScene(#[from] NoScene),
    /// A promise is broken.
    #[error("{kind}: {promise}\n{detail}\nobject: {object:#}\nCluster: {cluster:#}")]
    Broken {
        /// The kind.
        kind: &'static str,
        /// What does not hold.
        promise: &'static str,
        /// How that shows.
        detail: String,
        /// The object before the round.
        object: Box<Value>,
        /// Its Cluster, or null.
        cluster: Box<Value>,
    },
}

/// An object and its controller.
pub(crate) struct Play<'a> {
    package: Package,
    crd: &'a Crd,
    scene: generate::Scene,
    version: u64,
}

enum Next {
    Round,
    Rest,
}

/// What does not hold, and how that shows.
type Broken = (&'static str, String);

impl<'a> Play<'a> {
    pub(crate) const fn new(package: Package, crd: &'a Crd, scene: generate::Scene) -> Self {
        Self { package, crd, scene, version: 1 }
    }

    /// Plays until the object rests, or until a script has been retried often enough.
    pub(crate) fn run(mut self) -> Result<(), Finding> {
        if self.scene.is_valid {
            let found = self.refused_by_crd();
            self.ensure(found.is_empty(), "the generator makes objects that the CRD accepts", || found.join("\n"))?;
        }
        for _ in 0..ROUNDS {
            let before = self.scene.object.clone();
            let act = self.rehearse()?;
            match self.perform(act) {
                Ok(Next::Round) => {}
                Ok(Next::Rest) => break,
                Err((promise, detail)) => {
                    self.scene.object = before;
                    return Err(self.broken(promise, detail));
                }
            }
        }
        Ok(())
    }

    fn rehearse(&self) -> Result<Act, NoScene> {
        let object = self.scene.object.to_string();
        let cluster = self.scene.cluster.as_ref().map(Value::to_string);
        let secret = Secret::default();
        self.package.rehearse(&Scene {
            object: &object,
            cluster: cluster.as_deref(),
            secret: self.scene.has_secret.then_some(&secret),
            now: self.scene.now,
        })
    }

    fn perform(&mut self, act: Act) -> Result<Next, Broken> {
        match act {
            Act::Undecodable(invalid) => {
                let misled = misleads(&invalid, &self.scene.object);
                misled.map_or(Ok(()), |why| Err(("an error names the field of the object", why)))?;
                if self.scene.is_valid {
                    return Err(("an object that the CRD accepts can be decoded", invalid.to_string()));
                }
                Ok(Next::Rest)
            }
            Act::Leave(_, unreadable) => {
                let cluster = self.scene.cluster.as_ref().unwrap_or(&Value::Null);
                let misled = unreadable.and_then(|invalid| misleads(&invalid, cluster));
                misled.map_or(Ok(Next::Rest), |why| Err(("an error names the field of the Cluster", why)))
            }
            Act::RetryAt(due) => {
                if due <= self.scene.now {
                    return Err(("a retry is later than now", due.to_string()));
                }
                self.scene.now = due;
                Ok(Next::Round)
            }
            Act::Write(_, composed) => self.write(&composed),
        }
    }

    fn write(&mut self, composed: &Composed) -> Result<Next, Broken> {
        let before = self.scene.object.clone();
        composed.refusal.iter().try_for_each(check_refusal)?;
        for request in &composed.requests {
            match request {
                Request::Secret(wanted) => SecretKey::of(&wanted.secret.metadata)
                    .check()
                    .map_err(|invalid| ("the name of a Secret is a name", invalid.to_string()))?,
                Request::DeleteSecret(_) => {}
                Request::Status(fields) => {
                    let version = self.version.to_string();
                    self.apply(&status_body(fields, Some(&version)))?;
                }
                Request::Metadata(patch) => {
                    let version = self.version.to_string();
                    let held = self.finalizers();
                    json_patch::patch(&mut self.scene.object, &patch.body(Some(&version)))
                        .map_err(|error| ("a patch fits the object that it is for", error.to_string()))?;
                    self.check_finalizers(&held)?;
                }
            }
            if !matches!(request, Request::Secret(_) | Request::DeleteSecret(_)) {
                self.version = self.version.saturating_add(1);
                let mut object = std::mem::take(&mut self.scene.object);
                self.set_version(&mut object);
                self.scene.object = object;
            }
        }
        if self.is_gone() {
            return Ok(Next::Rest);
        }
        let mut before = before;
        self.set_version(&mut before);
        let is_change = before != self.scene.object;
        if is_change { Ok(Next::Round) } else { Err(("a write changes the object", format!("{composed:#?}"))) }
    }

    /// Applies a merge patch of the status.
    fn apply(&mut self, body: &Value) -> Result<(), Broken> {
        json_patch::merge(&mut self.scene.object, body);
        let found = if self.scene.is_valid { self.refused_by_crd() } else { Vec::new() };
        if found.is_empty() { Ok(()) } else { Err(("the CRD accepts what is written", found.join("\n"))) }
    }

    /// What the schema of the CRD says against the object.
    fn refused_by_crd(&self) -> Vec<String> {
        let part = |name: &'static str, schema: &Value| {
            let part = self.scene.object.get(name);
            part.map(|part| violations(name, part, schema)).unwrap_or_default()
        };
        [part("spec", &self.crd.spec), part("status", &self.crd.status)].concat()
    }

    fn finalizers(&self) -> Vec<Value> {
        let held = self.scene.object.pointer("/metadata/finalizers").and_then(Value::as_array);
        held.cloned().unwrap_or_default()
    }

    fn is_deleted(&self) -> bool {
        self.scene.object.pointer("/metadata/deletionTimestamp").is_some()
    }

    fn is_gone(&self) -> bool {
        self.is_deleted() && self.finalizers().is_empty()
    }

    /// `held`: the finalizers before the write.
    fn check_finalizers(&self, held: &[Value]) -> Result<(), Broken> {
        let now = self.finalizers();
        let new = now.iter().find(|finalizer| !held.contains(finalizer));
        if let (true, Some(new)) = (self.is_deleted(), new) {
            return Err(("no finalizer is added to a deleted object", new.to_string()));
        }
        let twice = new.filter(|new| now.iter().filter(|finalizer| finalizer == new).count() > 1);
        twice.map_or(Ok(()), |new| Err(("a finalizer is added once", new.to_string())))
    }

    fn set_version(&self, object: &mut Value) {
        json_patch::merge(object, &json!({ "metadata": { "resourceVersion": self.version.to_string() } }));
    }

    fn ensure(&self, holds: bool, promise: &'static str, detail: impl FnOnce() -> String) -> Result<(), Finding> {
        if holds { Ok(()) } else { Err(self.broken(promise, detail())) }
    }

    fn broken(&self, promise: &'static str, detail: String) -> Finding {
        Finding::Broken {
            kind: self.package.kind(),
            promise,
            detail,
            object: Box::new(self.scene.object.clone()),
            cluster: Box::new(self.scene.cluster.clone().unwrap_or_default()),
        }
    }
}

/// The value may be anywhere: in the object, its Cluster, or a Secret.
fn check_refusal(Invalid { field, problem }: &Invalid) -> Result<(), Broken> {
    let is_clear = !field.is_empty() && !field.ends_with('.') && !problem.is_empty();
    if is_clear { Ok(()) } else { Err(("an error names the field", format!("{field}: {problem}"))) }
}
