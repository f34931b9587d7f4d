//! Answers of the API server: in pages, in time and complete.

use std::time::Duration;

use kube::core::ObjectList;
use tokio::time::timeout;

use super::Trouble;

/// How many objects an answer may contain. `None` means all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    /// In a page of whole objects.
    pub(crate) objects: u32,
    /// In a page of metadata. The API server reads all objects of a page from etcd, but serves a list without pages
    /// from its cache.
    pub(crate) metadata: Option<u32>,
}

/// Sends a request that has to end in time.
pub(super) async fn within<T>(limit: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    Ok(timeout(limit, request).await.map_err(|_| Trouble::NoAnswer(limit.as_secs()))??)
}

/// The objects of a page, its version, and the token for the next page. An answer without a version, which is a number,
/// is no list.
pub(super) fn complete<T: Clone>(list: ObjectList<T>) -> Result<(Vec<T>, String, Option<String>), Trouble> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let version = list.metadata.resource_version.filter(|version| number(version) > 0).ok_or(Trouble::NoVersion)?;
    Ok((list.items, version, filled(list.metadata.continue_)))
}

pub(super) fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}
