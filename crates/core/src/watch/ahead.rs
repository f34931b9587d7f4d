//! Times in objects that lie ahead of our clock: another process wrote them, or our clock has been set back since. What
//! is due at such a time plus a delay is due that delay after this process first met the time, at the latest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::key::Key;

/// The times that lie ahead, each with when it was met. Empty unless a clock is wrong.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<HashMap<(Key, String), Met>>);

#[derive(Clone, Copy, Debug)]
struct Met {
    written: Timestamp,
    at: Timestamp,
}

impl Ahead {
    /// How far `written` was ahead of our clock when this process first met it; zero for a time that has passed.
    /// `identity` tells this writing of the time from a later one of the same time.
    pub fn lead(&self, key: &Key, identity: &str, written: Timestamp, now: Timestamp) -> SignedDuration {
        if written <= now {
            return SignedDuration::ZERO;
        }
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = (key.clone(), identity.to_owned());
        if !times.contains_key(&id) {
            times.retain(|_, met| met.written > now);
        }
        let met = times.entry(id).or_insert(Met { written, at: now });
        // Our clock may have been set back again.
        met.at = met.at.min(now);
        written.duration_since(met.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_time_ahead_counts_from_when_it_was_first_met() {
        let (ahead, key) = (Ahead::default(), Key { namespace: None, name: "a".to_owned() });
        let lead = |identity: &str, written, now| ahead.lead(&key, identity, time(written), time(now)).as_secs();
        assert_eq!(lead("1", 100, 100), 0);
        assert_eq!(lead("1", 3700, 100), 3600);
        assert_eq!(lead("1", 3700, 200), 3600);
        assert_eq!(lead("2", 3700, 200), 3500, "the same time was written once more");
        assert_eq!(lead("1", 3700, 50), 3650, "the clock was set back once more");
        assert_eq!(lead("3", 9999, 4000), 5999);
        assert_eq!(ahead.0.lock().unwrap().len(), 1, "times that have passed are forgotten");
    }
}
