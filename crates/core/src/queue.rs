//! What waits for its round: first come, first served, each object in one round at a time.
//!
//! kube's `Controller` takes of all that wait whichever its hash table shows first: while there is always somebody who
//! waits, some would wait for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::objects::Key;

/// The objects that wait, those that are worked on, and those that come back after a while.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the number that each drew when it came.
    waiting: BTreeMap<u64, Key>,
    numbers: HashMap<Key, u64>,
    next_number: u64,
    running: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object waits from now on, unless it does already; returns how many do. If it is being worked on, it has another
    /// round after that one.
    pub fn push(&self, key: Key) -> usize {
        let mut inner = self.lock();
        inner.push(key);
        self.changed.notify_one();
        inner.waiting.len()
    }

    /// The next whose turn it is, and how many still wait; it is being worked on until [`ended`](Self::ended). Only one
    /// may ask at a time.
    pub async fn next(&self) -> (Key, usize) {
        loop {
            let due = {
                let mut inner = self.lock();
                if let Some(key) = inner.take(Instant::now()) {
                    return (key, inner.waiting.len());
                }
                inner.timers.first().map(|(due, _)| *due)
            };
            let changed = self.changed.notified();
            match due {
                Some(due) => drop(tokio::time::timeout_at(due.into(), changed).await),
                None => changed.await,
            }
        }
    }

    /// The round of an object has ended; it waits again after a while if nothing brings it sooner.
    pub fn ended(&self, key: &Key, again_after: Option<Duration>) {
        let mut inner = self.lock();
        inner.running.remove(key);
        if let Some(due) = again_after.and_then(|pause| Instant::now().checked_add(pause)) {
            inner.disarm(key);
            inner.due.insert(key.clone(), due);
            inner.timers.insert((due, key.clone()));
        }
        self.changed.notify_one();
    }

    /// An object is gone: there will be no round; returns how many still wait.
    pub fn gone(&self, key: &Key) -> usize {
        let mut inner = self.lock();
        inner.forget(key);
        inner.waiting.len()
    }
}

impl Inner {
    fn push(&mut self, key: Key) {
        if !self.numbers.contains_key(&key) {
            let number = self.next_number;
            self.next_number = number.wrapping_add(1);
            self.waiting.insert(number, key.clone());
            self.numbers.insert(key, number);
        }
    }

    fn take(&mut self, now: Instant) -> Option<Key> {
        while self.timers.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, key)) = self.timers.pop_first() {
                self.due.remove(&key);
                self.push(key);
            }
        }
        // What is being worked on would only be in the way of those behind it.
        let key = self.waiting.values().find(|key| !self.running.contains(*key))?.clone();
        self.forget(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    fn forget(&mut self, key: &Key) {
        if let Some(number) = self.numbers.remove(key) {
            self.waiting.remove(&number);
        }
        self.disarm(key);
    }

    fn disarm(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.timers.remove(&(due, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &str) -> Key {
        ("ns".to_owned(), name.to_owned())
    }

    fn queue(names: &[&str]) -> Queue {
        let queue = Queue::default();
        for name in names {
            queue.push(key(name));
        }
        queue
    }

    fn take(queue: &Queue) -> Option<String> {
        queue.next().now_or_never().map(|((_, name), _)| name)
    }

    fn take_all(queue: &Queue) -> Vec<String> {
        std::iter::from_fn(|| take(queue)).collect()
    }

    #[test]
    fn who_comes_first_is_served_first_and_waits_once() {
        let queue = queue(&["c", "a", "b", "a", "c"]);
        assert_eq!(queue.push(key("b")), 3);
        assert_eq!(queue.next().now_or_never(), Some((key("c"), 2)));
        assert_eq!(take_all(&queue), ["a", "b"]);
    }

    #[test]
    fn what_is_being_worked_on_waits_and_lets_others_pass() {
        let queue = queue(&["a"]);
        assert_eq!(take_all(&queue), ["a"]);
        queue.push(key("a"));
        queue.push(key("b"));
        assert_eq!(take_all(&queue), ["b"]);
        queue.ended(&key("a"), None);
        assert_eq!(take_all(&queue), ["a"], "it changed while it was worked on");
        queue.ended(&key("a"), None);
        assert_eq!(take(&queue), None);
    }

    #[test]
    fn what_is_gone_waits_no_more_and_what_comes_in_its_place_does() {
        let queue = queue(&["a", "b"]);
        assert_eq!(queue.gone(&key("a")), 1);
        assert_eq!(take_all(&queue), ["b"]);
        queue.ended(&key("b"), Some(Duration::ZERO));
        queue.gone(&key("b"));
        assert_eq!(take(&queue), None);
        queue.push(key("b"));
        assert_eq!(take_all(&queue), ["b"]);
    }

    #[test]
    fn who_comes_back_after_a_while_gets_in_line_behind_those_who_wait() {
        let queue = queue(&["a", "b"]);
        assert_eq!(take(&queue), Some("a".to_owned()));
        queue.ended(&key("a"), Some(Duration::ZERO));
        queue.push(key("c"));
        assert_eq!(take_all(&queue), ["b", "c", "a"]);
    }

    #[test]
    fn a_round_before_its_time_takes_the_place_of_the_one_that_was_to_come() {
        let queue = queue(&["a"]);
        for again_after in [Some(Duration::ZERO), None] {
            assert_eq!(take_all(&queue), ["a"]);
            queue.ended(&key("a"), again_after);
            queue.push(key("a"));
        }
        assert_eq!(take_all(&queue), ["a"]);
        queue.ended(&key("a"), None);
        assert_eq!(take(&queue), None, "the time of the first round no longer counts");
    }

    #[tokio::test]
    async fn a_time_that_comes_wakes_who_asks() {
        let queue = queue(&["late", "soon"]);
        assert_eq!(take_all(&queue), ["late", "soon"]);
        queue.ended(&key("late"), Some(Duration::from_secs(3600)));
        queue.ended(&key("soon"), Some(Duration::from_millis(1)));
        assert_eq!(queue.next().await, (key("soon"), 0));
    }
}
