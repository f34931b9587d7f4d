//! Shoots as gardener-apiserver admits them: the kept answers for the examples, and users' manifests.

use std::fs;

use gardener_testbed::assets::{self, Assets};
use mock_core::script::SCRIPT_ANNOTATION;
use mock_gardenlet::shoot::kept::{self, KEPT_FILE};
use mock_gardenlet::shoot::{Garden, Manifests};

use crate::world::{RUNTIME, files, progress, root};

/// Writes the answers instead of comparing them.
const KEEP: &str = "MOCK_KEEP";

/// The demo, the benchmark and the tests play these answers.
#[test]
fn kept_answers_for_the_examples_are_those_of_gardener_apiserver() {
    let shoots = files("example").into_iter().filter(|file| file.to_string_lossy().contains("-shoot"));
    let answers = RUNTIME.block_on(async {
        // Without gardener-controller-manager, which writes into CloudProfile and Seed at any time.
        let mut garden = start(false).await;
        let mut answers = Vec::new();
        for file in shoots {
            let manifests = Manifests::read(&file, None, None, None).unwrap();
            let admitted = garden.admit(&manifests, &progress).await.unwrap();
            answers.push((manifests, admitted));
        }
        kept::render(&answers, SCRIPT_ANNOTATION)
    });
    let file = root().join("crates/gardenlet").join(KEPT_FILE);
    if std::env::var_os(KEEP).is_some() {
        fs::write(&file, &answers).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap();
    assert!(kept == answers, "{} is stale: run this test with {KEEP}=1\n{answers}", file.display());
}

async fn start(with_controller_manager: bool) -> Garden {
    let assets = Assets::locate(&progress).unwrap();
    let apiserver = assets::gardener_apiserver(&progress).unwrap();
    let manager = with_controller_manager.then(|| assets::gardener_controller_manager(&progress).unwrap());
    Garden::start(&assets, &apiserver, manager.as_deref()).await.unwrap()
}
