//! stub
#![allow(missing_docs, unreachable_pub, dead_code, clippy::all, clippy::pedantic)]
pub mod shoot_unused {
    use std::path::Path;
    #[derive(Debug)]
    pub struct ManifestError;
    impl std::fmt::Display for ManifestError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "manifest")
        }
    }
    impl std::error::Error for ManifestError {}
    #[derive(Clone)]
    pub struct ShootPlan {
        pub namespace: String,
    }
    pub struct Landscape;
    impl Landscape {
        pub fn load(_s: &Path, _c: Option<&Path>, _e: Option<&Path>) -> Result<Self, ManifestError> {
            Ok(Self)
        }
        pub fn plan(&self, i: Option<usize>) -> ShootPlan {
            ShootPlan { namespace: format!("shoot--mock--s{}", i.unwrap_or(0)) }
        }
    }
}
pub mod gardenlet {
    use mock_testbed::shoot::ShootPlan;
    use std::time::Duration;
    use tokio::sync::mpsc::UnboundedSender;
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Phase {
        Create,
        Reconcile,
        Hibernate,
        Wake,
        Migrate,
        Restore,
        Delete,
        ForceDelete,
    }
    #[derive(Clone, Debug)]
    pub struct Report {
        pub phase: Phase,
        pub namespace: String,
        pub kind: &'static str,
        pub name: String,
        pub spec_type: String,
        pub what: Progress,
    }
    #[derive(Clone, Debug)]
    pub enum Progress {
        Requested,
        State(String),
        Ready(Duration),
        Gone(Duration),
        Stuck(String),
    }
    #[derive(Debug)]
    pub struct Stuck;
    impl std::fmt::Display for Stuck {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "Worker x: rule y")
        }
    }
    impl std::error::Error for Stuck {}
    pub struct Gardenlet(UnboundedSender<Report>);
    impl Gardenlet {
        pub fn new<C>(_c: C, r: UnboundedSender<Report>, _p: Duration) -> Self {
            Self(r)
        }
        pub async fn play(&self, plan: &mut ShootPlan, phase: Phase) -> Result<(), Stuck> {
            for (kind, ms) in [
                ("Infrastructure", 40),
                ("Network", 200),
                ("ControlPlane", 60),
                ("OperatingSystemConfig", 30),
                ("Worker", 300),
            ] {
                let r = |what| {
                    let _ = self.0.send(Report {
                        phase,
                        namespace: plan.namespace.clone(),
                        kind,
                        name: "foo".into(),
                        spec_type: "mock".into(),
                        what,
                    });
                };
                r(Progress::Requested);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                if std::env::var("STUB_FAIL").is_ok() && phase == Phase::Reconcile && kind == "Worker" {
                    r(Progress::Stuck("rule".into()));
                    return Err(Stuck);
                }
                r(if phase == Phase::Delete {
                    Progress::Gone(Duration::from_millis(ms))
                } else {
                    Progress::Ready(Duration::from_millis(ms))
                });
            }
            Ok(())
        }
    }
}
