//! What to say of watches that fail: each outage once, however often a watch is retried.

use std::collections::{BTreeMap, BTreeSet};

use extension_contract::kinds;

/// The kinds whose watches fail now.
#[derive(Debug, Default)]
pub struct Outage {
    failing: BTreeSet<&'static str>,
}

impl Outage {
    /// Notes failures: a kind, and why its watch fails. Returns a line for the kinds that did not fail before.
    pub fn fail(&mut self, failures: impl IntoIterator<Item = (&'static str, String)>) -> Vec<String> {
        let mut new = BTreeMap::<String, Vec<&str>>::new();
        for (kind, why) in failures {
            if self.failing.insert(kind) {
                new.entry(why).or_default().push(kind);
            }
        }
        let line = |(why, kinds): (String, Vec<&str>)| match kinds.as_slice() {
            all if all.len() == kinds::ALL.len() => format!("cannot watch the seed, trying again: {why}"),
            some => format!("cannot watch {}, trying again: {why}", some.join(", ")),
        };
        new.into_iter().map(line).collect()
    }

    /// Whether the whole seed cannot be watched.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.failing.len() == kinds::ALL.len()
    }

    /// Notes that the watch of a kind works. Returns a line if it was the last one that failed.
    pub fn work(&mut self, kind: &str) -> Option<&'static str> {
        let is_end = self.failing.remove(kind) && self.failing.is_empty();
        is_end.then_some("watching all kinds again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(why: &str) -> Vec<(&'static str, String)> {
        kinds::ALL.map(|kind| (kind.name, why.to_owned())).to_vec()
    }

    #[test]
    fn outage_is_told_once_and_its_end_once() {
        let mut outage = Outage::default();
        assert_eq!(outage.fail(all("refused")), ["cannot watch the seed, trying again: refused"]);
        assert!(outage.fail(all("reset")).is_empty() && outage.goes_on());
        let ends: Vec<_> = kinds::ALL.iter().filter_map(|kind| outage.work(kind.name)).collect();
        assert_eq!(ends, ["watching all kinds again"]);
        assert!(!outage.goes_on());
        assert_eq!(outage.work("Worker"), None);
    }

    #[test]
    fn kinds_that_fail_for_one_reason_share_a_line() {
        let mut outage = Outage::default();
        let failures = [("Bastion", "no"), ("Worker", "forbidden"), ("Network", "forbidden")];
        let lines = outage.fail(failures.map(|(kind, why)| (kind, why.to_owned())));
        assert_eq!(
            lines,
            ["cannot watch Worker, Network, trying again: forbidden", "cannot watch Bastion, trying again: no"]
        );
        assert_eq!(outage.work("Worker"), None);
        assert_eq!(outage.fail([("Worker", "no".to_owned())]), ["cannot watch Worker, trying again: no"]);
    }
}
