//! What the promises know about our controller, in addition to the kit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use extension_conformance::{Suite, asking, merged};
use gardener_testbed::admission;
use gardener_testbed::assets::Assets;
use gardener_testbed::bed::{Options, TestBed};
use gardener_testbed::manifests::{self, Mode};
use k8s_openapi::api::rbac::v1::PolicyRule;
use libtest_mimic::Failed;
use mock_core::deploy::{rbac, secrets};
use mock_core::kind::{Class, MockKind};
use serde_json::{Value, json};

use crate::Secrets;
use crate::host::{Host, Place};
use crate::install;
use crate::written_paths::written_paths_exist;

/// A controller of ours, and who it is in the test bed.
pub(crate) struct Mock {
    /// The controller's name, such as `mock-network`.
    pub(crate) name: String,
    /// Its user at the API server.
    pub(crate) user: String,
    /// The Secrets of an outcome; see [`Candidate::secrets`](crate::Candidate::secrets).
    pub(crate) secrets: Secrets,
    /// Whether the controller deletes the Secrets with the object.
    pub(crate) deletes_secrets: bool,
    /// Everything that it may do.
    pub(crate) rules: Vec<PolicyRule>,
    /// Another user, who may do what the controller may do in the garden's runtime cluster.
    pub(crate) user_in_garden: String,
    /// Fails if a status of the kind has a field that is not in the schema of the CRD.
    pub(crate) check_schema: fn(&Value, &Value) -> Result<(), Failed>,
    /// Whether the kind's admission policy is in force.
    pub(crate) is_assisted: bool,
    host: Arc<Host>,
    folder: PathBuf,
}

impl Mock {
    /// Starts a bed and prepares it for the controller, which runs in its image if there is a folder `images`.
    pub(crate) async fn start<K: MockKind>(
        assets: &Assets,
        binary: &'static str,
        secrets_of_an_outcome: Secrets,
        images: Option<&Path>,
    ) -> Result<(TestBed, Self), Failed> {
        let name = format!("mock-{}", K::KIND.name.to_lowercase());
        let user_in_garden = format!("{name}-in-garden");
        let users = vec![name.clone(), user_in_garden.clone()];
        let bed = TestBed::start(assets, Options { users, ..Options::default() }).await?;
        bed.grant(&user_in_garden, rbac::rules::<K>(&[Class::Garden])).await?;
        let folder = bed.dir().join("controllers");
        fs::create_dir(&folder)?;
        // A Role would allow the Leases in one namespace only.
        let rules = [rbac::rules::<K>(K::KIND.usual_classes()), rbac::lease_rules(&name)].concat();
        let (host, user) = if let Some(images) = images {
            install::install::<K>(&bed, &name, images, &folder).await?
        } else {
            bed.grant(&name, rules.clone()).await?;
            for policy in secrets::policy_and_binding::<K>("secrets", &name).into_iter().flatten() {
                manifests::apply(&bed.client(), &policy, Mode::Apply).await?;
            }
            (Host { place: Place::Program(binary), kubeconfig: bed.kubeconfig_for(&name)? }, name.clone())
        };
        let mock = Self {
            name,
            user,
            secrets: secrets_of_an_outcome,
            deletes_secrets: K::DELETES_SECRETS,
            rules,
            user_in_garden,
            check_schema: written_paths_exist::<K>,
            is_assisted: false,
            host: Arc::new(host),
            folder,
        };
        Ok((bed, mock))
    }

    /// Puts the kind's admission policy in force for the shared type and for the types of the tests' own controllers.
    pub(crate) async fn assist<K: MockKind>(&mut self, suite: &Suite, tests: &[&str]) -> Result<(), Failed> {
        let own = tests.iter().map(|test| extension_conformance::Scene::namespace_of(test));
        let types: Vec<_> = [suite.subject().type_.clone()].into_iter().chain(own).collect();
        let policies = mock_core::deploy::admission::policy_and_binding::<K>(&self.name, &types);
        let policies = policies.ok_or("there is no policy for this kind")?;
        let probe = merged(suite.subject().object("default", "probe"), &asking("reconcile"));
        admission::install(&suite.client(), &policies, &[probe]).await?;
        self.is_assisted = true;
        Ok(())
    }

    /// Where the controller runs.
    pub(crate) const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The folder whose files controllers can read, wherever they run.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file that controllers can read, and returns its path.
    pub(crate) fn write_file(&self, name: &str, content: &Value) -> Result<String, Failed> {
        let path = self.folder.join(name);
        fs::write(&path, content.to_string())?;
        Ok(path.to_str().ok_or("the test bed's folder is not UTF-8")?.to_owned())
    }

    /// The kubeconfig of the controller.
    pub(crate) fn kubeconfig(&self) -> Result<Value, Failed> {
        Ok(serde_json::from_slice(&fs::read(&self.host.kubeconfig)?)?)
    }

    /// The kubeconfig of the controller, for another server.
    pub(crate) fn kubeconfig_for_server(&self, server: &str) -> Result<Value, Failed> {
        let mut kubeconfig = self.kubeconfig()?;
        let old = kubeconfig.pointer_mut("/clusters/0/cluster/server").ok_or("the kubeconfig has no server")?;
        *old = json!(server);
        Ok(kubeconfig)
    }
}
