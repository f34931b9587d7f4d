//! The answers of a controller on its admin address.

use std::net::SocketAddr;

use extension_conformance::{LIMIT, ensure, eventually};
use gardener_testbed::http;
use libtest_mimic::Failed;

/// Waits until GET returns this status code.
pub(crate) async fn until_status(address: SocketAddr, path: &str, expected: u16) -> Result<(), Failed> {
    eventually(LIMIT, || async move {
        let (status, body) = http::get(address, path).await?;
        ensure(status.as_u16() == expected, format!("{path} answers {status} instead of {expected}: {body}"))
    })
    .await
}

/// Waits until the metrics contain this line.
pub(crate) async fn until_metric(address: SocketAddr, expected: &str) -> Result<(), Failed> {
    until_metrics(address, expected, |metrics| metrics.lines().any(|line| line == expected)).await
}

/// Waits until the metrics meet a condition. `what` completes the sentence "the metrics do not show ...".
pub(crate) async fn until_metrics(address: SocketAddr, what: &str, holds: impl Fn(&str) -> bool) -> Result<(), Failed> {
    eventually(LIMIT, || async {
        let (_, body) = http::get(address, "/metrics").await?;
        ensure(holds(&body), format!("the metrics do not show {what}:\n{body}"))
    })
    .await
}
