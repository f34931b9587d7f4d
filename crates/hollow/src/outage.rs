//! What the log says of something that is retried for ever: one line once it has failed for a while, and one when it works
//! again.

use std::time::{Duration, Instant};

/// An API server that starts or restarts answers within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Failures since it last worked.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    began: Option<Instant>,
    is_told: bool,
}

impl Outage {
    /// Notes a failure. Returns whether to log it.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        let began = *self.began.get_or_insert(now);
        let is_due = !self.is_told && now.duration_since(began) >= PATIENCE;
        self.is_told |= is_due;
        is_due
    }

    /// Notes that it works. Returns whether to log that.
    pub(crate) fn ended(&mut self) -> bool {
        std::mem::take(self).is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outage_is_told_once_and_a_short_one_never() {
        let mut outage = Outage::default();
        let start = Instant::now();
        let told: Vec<_> = (0..600).filter(|seconds| outage.failed(start + Duration::from_secs(*seconds))).collect();
        assert_eq!(told, [60]);
        assert!(outage.ended() && !outage.ended());
        assert!(!outage.failed(start + Duration::from_secs(700)));
        assert!(!outage.ended());
    }
}
