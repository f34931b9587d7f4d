//! Waits until something is as it should be.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::GardenError;

/// How often conditions are looked at. It is short beside the seconds that Gardener needs for a step.
const PAUSE: Duration = Duration::from_millis(200);

/// Calls `check` until it returns `Ok`. `what` says what has not happened if it does not within `limit`, as the start of a
/// sentence; the sentence ends with the last text of `check`.
pub(crate) async fn until<T>(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, GardenError> {
    let deadline = Instant::now() + limit;
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => {
                return Err(GardenError::Late { what: what.to_owned(), after: limit, last });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
