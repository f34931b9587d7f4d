//! What the log says of the failures of something that is retried for ever, such as a watch: few lines, however often
//! it fails.

use std::time::{Duration, Instant};

/// Minimum interval between two lines about failures.
const INTERVAL: Duration = Duration::from_secs(60);

/// Failures since it last worked.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    began: Option<Instant>,
    failures: u32,
    logged: Option<Instant>,
    owes_an_end: bool,
}

/// An outage that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Time since its first failure.
    pub(crate) lasted: Duration,
    /// Number of failures.
    pub(crate) failures: u32,
}

impl Outage {
    /// Notes a failure. Returns whether to log it.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.began.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let is_due = self.logged.is_none_or(|logged| now.duration_since(logged) >= INTERVAL);
        if is_due {
            self.logged = Some(now);
            self.owes_an_end = true;
        }
        is_due
    }

    /// Notes that it works again. Returns what to log: each logged failure is followed by one end.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<Ended> {
        let (began, failures) = (self.began.take()?, std::mem::take(&mut self.failures));
        let ended = Ended { lasted: now.duration_since(began), failures };
        std::mem::take(&mut self.owes_an_end).then_some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_once_a_minute_and_their_end_once() {
        let mut outage = Outage::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.ended(start), None);
        let logged = (0..=125).filter(|seconds| outage.failed(after(*seconds))).collect::<Vec<_>>();
        assert_eq!(logged, [0, 60, 120]);
        assert_eq!(outage.ended(after(130)), Some(Ended { lasted: Duration::from_secs(130), failures: 126 }));
        assert_eq!(outage.ended(after(131)), None);
        assert!(!outage.failed(after(140)), "a minute has not passed since the last line");
        assert_eq!(outage.ended(after(141)), None, "nothing was logged that has to end");
        assert!(outage.failed(after(180)));
        assert!(outage.ended(after(181)).is_some());
    }
}
