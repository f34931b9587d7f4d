//! Whether the API server can be reached, as the watch of objects finds out.

use std::time::Duration;

use tokio::sync::watch;

/// Shared by the watches and the workers of a process. While the API server is away, only the watches send requests.
#[derive(Clone, Debug, Default)]
pub struct Reach(watch::Sender<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    away: bool,
    /// How often a pause had a reason to end.
    reasons: u64,
}

impl Reach {
    /// A request found that the API server is away.
    pub(crate) fn lost(&self) {
        self.0.send_modify(|state| state.away = true);
    }

    /// The API server has answered a watch after a failure. If it was not away, that ends no pause: watches that fail
    /// for reasons of their own would else end each other's pauses.
    pub(crate) fn back(&self) {
        self.0.send_if_modified(|state| {
            let was_away = std::mem::take(&mut state.away);
            state.reasons = state.reasons.wrapping_add(was_away.into());
            was_away
        });
    }

    /// A request may succeed now that failed before: the credentials are new.
    pub(crate) fn try_now(&self) {
        self.0.send_modify(|state| state.reasons = state.reasons.wrapping_add(1));
    }

    /// Waits while the API server is away.
    pub(crate) async fn until_back(&self) {
        // The sender lives as long as self, so there is no error to handle.
        let _ = self.0.subscribe().wait_for(|state| !state.away).await;
    }

    /// Waits, but only until the API server has come back, as another watch finds out, or until the credentials are new.
    pub(crate) async fn pause(&self, pause: Duration) {
        let mut states = self.0.subscribe();
        let reasons = states.borrow_and_update().reasons;
        // An error is the end of the pause, and the pause is enough.
        let _ = tokio::time::timeout(pause, states.wait_for(|state| state.reasons != reasons)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn workers_and_pauses_wait_until_the_api_server_is_back() {
        let reach = Reach::default();
        assert!(reach.until_back().now_or_never().is_some());
        reach.lost();
        let mut workers = pin!(reach.until_back());
        let mut pause = pin!(reach.pause(Duration::from_secs(3600)));
        assert!(workers.as_mut().now_or_never().is_none() && pause.as_mut().now_or_never().is_none());
        reach.back();
        assert!(workers.now_or_never().is_some() && pause.now_or_never().is_some());
        reach.pause(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn new_credentials_end_a_pause_but_do_not_bring_the_api_server_back() {
        let reach = Reach::default();
        reach.lost();
        let mut pause = pin!(reach.pause(Duration::from_secs(3600)));
        assert!(pause.as_mut().now_or_never().is_none());
        reach.try_now();
        assert!(pause.now_or_never().is_some() && reach.until_back().now_or_never().is_none());
    }

    #[tokio::test]
    async fn answer_of_an_api_server_that_was_not_away_ends_no_pause() {
        let reach = Reach::default();
        let mut pause = pin!(reach.pause(Duration::from_secs(3600)));
        assert!(pause.as_mut().now_or_never().is_none());
        reach.back();
        assert!(pause.now_or_never().is_none());
    }
}
