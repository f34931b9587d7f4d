//! The Seeds and Shoots of a garden, as this machine sees them: what gardenlets work on.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt as _, future};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Store, reflector};
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::sleep;

use crate::access;
use crate::layout::Layout;

/// Pause before a watch that failed begins again. Gardener's API is not served in the first seconds of a garden.
const PAUSE: Duration = Duration::from_secs(1);

/// The Seeds and Shoots of a garden.
#[derive(Debug)]
pub struct Operated(Vec<Store<DynamicObject>>);

impl Operated {
    /// Follows the Seeds and Shoots of a garden, also of one that is still starting, as long as the second value is polled.
    pub fn follow(layout: &Layout) -> (Self, impl Future<Output = Infallible> + use<>) {
        let (mut stores, mut watches) = (Vec::new(), Vec::new());
        for kind in ["Seed", "Shoot"] {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("core.gardener.cloud", "v1beta1", kind));
            let writer = Writer::new(resource.clone());
            stores.push(writer.as_reader());
            let file = layout.kubeconfig("garden");
            watches.push(async move {
                let api = Api::all_with(client(&file).await, &resource);
                let events = reflector(writer, watcher(api, Config::default()));
                events
                    .for_each(async |event| {
                        if event.is_err() {
                            sleep(PAUSE).await;
                        }
                    })
                    .await;
            });
        }
        let following = async move {
            future::join_all(watches).await;
            future::pending().await
        };
        (Self(stores), following)
    }

    /// Each of them, as it is now.
    pub fn all(&self) -> impl Iterator<Item = Value> {
        self.0.iter().flat_map(Store::state).filter_map(|object| serde_json::to_value(&*object).ok())
    }
}

/// Returns a client as soon as there is a kubeconfig.
async fn client(file: &Path) -> Client {
    loop {
        if let Ok(text) = tokio::fs::read(file).await
            && let Ok(kubeconfig) = serde_json::from_slice(&text)
            && let Ok(client) = access::client(&kubeconfig).await
        {
            return client;
        }
        sleep(PAUSE).await;
    }
}
