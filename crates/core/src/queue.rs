//! What waits for its round, first come, first served.
//!
//! kube's work queue takes of all that wait whichever its hash table shows first: while there is always somebody who
//! waits, some would wait for ever. So it gets a few at a time, and the next ones when each of those has had its turn.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::objects::Key;

/// How many kube's work queue gets at a time. Each time takes its timer a millisecond, so that one by one would be slow.
const A_FEW: usize = 32;

/// The objects that wait.
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
    /// Those that kube's work queue got and has not begun with.
    taken: HashSet<Key>,
    /// How many more it gets before each of them has begun.
    more: usize,
    running: HashSet<Key>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object waits from now on, unless it does already; returns how many do.
    pub fn push(&self, key: &Key) -> usize {
        let mut inner = self.lock();
        if !inner.taken.contains(key) && !inner.numbers.contains_key(key) {
            let number = inner.next_number;
            inner.next_number = number.wrapping_add(1);
            inner.waiting.insert(number, key.clone());
            inner.numbers.insert(key.clone(), number);
            self.changed.notify_one();
        }
        inner.len()
    }

    /// The next whose turn it is. Only one may ask at a time.
    pub async fn next(&self) -> Key {
        loop {
            let next = self.lock().take();
            match next {
                Some(key) => return key,
                None => self.changed.notified().await,
            }
        }
    }

    /// The round of an object begins, whatever brought it about; returns how many still wait.
    pub fn begun(&self, key: &Key) -> usize {
        let mut inner = self.lock();
        inner.forget(key);
        inner.running.insert(key.clone());
        self.changed.notify_one();
        inner.len()
    }

    /// The round of an object has ended.
    pub fn ended(&self, key: &Key) {
        self.lock().running.remove(key);
        self.changed.notify_one();
    }

    /// An object is gone: there will be no round; returns how many still wait.
    pub fn gone(&self, key: &Key) -> usize {
        let mut inner = self.lock();
        inner.forget(key);
        self.changed.notify_one();
        inner.len()
    }
}

impl Inner {
    fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.taken.len())
    }

    fn forget(&mut self, key: &Key) {
        self.taken.remove(key);
        if let Some(number) = self.numbers.remove(key) {
            self.waiting.remove(&number);
        }
    }

    fn take(&mut self) -> Option<Key> {
        if self.taken.is_empty() {
            self.more = A_FEW;
        }
        self.more.checked_sub(1)?;
        // What is being worked on would only be in the way of those behind it.
        let key = self.waiting.values().find(|key| !self.running.contains(*key))?.clone();
        self.forget(&key);
        self.taken.insert(key.clone());
        self.more = self.more.saturating_sub(1);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &(impl ToString + ?Sized)) -> Key {
        ("ns".to_owned(), name.to_string())
    }

    fn take(queue: &Queue) -> Option<String> {
        queue.next().now_or_never().map(|(_, name)| name)
    }

    #[test]
    fn who_comes_first_is_served_first_and_waits_once() {
        let queue = Queue::default();
        for name in ["c", "a", "b", "a", "c"] {
            queue.push(&key(name));
        }
        assert_eq!(queue.push(&key("b")), 3);
        assert_eq!([take(&queue), take(&queue), take(&queue)], ["c", "a", "b"].map(|name| Some(name.to_owned())));
        assert_eq!(take(&queue), None);
        assert_eq!(queue.push(&key("a")), 3, "its round has not begun");
        assert_eq!(["c", "a", "b"].map(|name| queue.begun(&key(name))), [2, 1, 0]);
    }

    #[test]
    fn nobody_gets_a_second_turn_before_all_who_were_there_had_one() {
        let queue = Queue::default();
        for name in 0..2 * A_FEW {
            queue.push(&key(&name));
        }
        let first: Vec<String> = std::iter::from_fn(|| take(&queue)).collect();
        assert_eq!(first, (0..A_FEW).map(|name| name.to_string()).collect::<Vec<_>>());
        // All but one begin, end, and come again: the one is not left behind.
        for name in &first[1..] {
            queue.begun(&key(name));
            queue.ended(&key(name));
            queue.push(&key(name));
        }
        assert_eq!(take(&queue), None);
        queue.begun(&key(&first[0]));
        assert_eq!(take(&queue), Some(A_FEW.to_string()));
    }

    #[test]
    fn what_is_being_worked_on_waits_and_lets_others_pass() {
        let queue = Queue::default();
        queue.begun(&key("a"));
        queue.push(&key("a"));
        queue.push(&key("b"));
        assert_eq!(take(&queue), Some("b".to_owned()));
        assert_eq!(take(&queue), None);
        queue.ended(&key("a"));
        assert_eq!(take(&queue), Some("a".to_owned()));
    }

    #[test]
    fn what_is_gone_or_was_begun_by_a_timer_waits_no_more() {
        let queue = Queue::default();
        for name in ["a", "b", "c"] {
            queue.push(&key(name));
        }
        assert_eq!(take(&queue), Some("a".to_owned()));
        assert_eq!(queue.gone(&key("a")), 2);
        assert_eq!(queue.gone(&key("b")), 1);
        assert_eq!(queue.begun(&key("c")), 0);
        assert_eq!(take(&queue), None);
    }
}
