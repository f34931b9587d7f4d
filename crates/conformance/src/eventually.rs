//! The one way to wait for something that no watch announces.

use std::time::Duration;

use libtest_mimic::Failed;
use tokio::time::{Instant, sleep};

/// Pause before the second check. Each further pause is half as long again, up to [`LONGEST_PAUSE`]: a short wait ends
/// promptly, and a long one leaves the API server to the other tests.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Usual limit of a wait. A loaded machine needs a fraction of it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Calls `check` until it returns `Ok`, and returns that value. After `limit` it returns the last error.
// With `AsyncFnMut`, rustc cannot prove that the futures of rules are Send.
pub async fn eventually<T, C: Future<Output = Result<T, Failed>>>(
    limit: Duration,
    mut check: impl FnMut() -> C,
) -> Result<T, Failed> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        match check().await {
            Err(_) if Instant::now() < deadline => sleep(pause).await,
            result => return result,
        }
        pause = (pause + pause / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_the_first_value_or_the_last_error() {
        let mut checks = 0;
        let third = eventually(LIMIT, || {
            checks += 1;
            std::future::ready(if checks == 3 { Ok(checks) } else { Err("not yet".into()) })
        });
        assert_eq!(third.await.ok(), Some(3));
        let never = eventually(Duration::ZERO, async || Err::<(), _>("never".into())).await;
        assert_eq!(never.err().and_then(|failed| failed.message().map(str::to_owned)), Some("never".to_owned()));
    }
}
