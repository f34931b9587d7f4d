//! The work queue, in the form of client-go's (`k8s.io/client-go/util/workqueue`): first in, first out, and one
//! reconcile per object at a time.
//!
//! kube's `Controller` keeps pending objects in a `HashSet` and picks an arbitrary one. Under sustained load some
//! objects would starve.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prometheus::IntGauge;
use tokio_util::time::{DelayQueue, delay_queue};

use super::key::Key;

/// Objects that wait for a reconcile, are reconciled, or are requeued after a while.
#[derive(Debug)]
pub struct WorkQueue {
    inner: Mutex<Inner>,
    length: IntGauge,
}

#[derive(Debug, Default)]
struct Inner {
    /// In order of arrival. A key that is not dirty any more is skipped.
    queue: VecDeque<Key>,
    /// Keys that need a reconcile: those in `queue`, and those that changed while in flight.
    dirty: HashSet<Key>,
    /// Keys in flight.
    processing: HashSet<Key>,
    /// Keys that are requeued when their time comes.
    delayed: DelayQueue<Key>,
    timers: HashMap<Key, delay_queue::Key>,
    /// Wakes the task that waits for the next key.
    waker: Option<Waker>,
}

impl WorkQueue {
    /// An empty queue. `length` always shows how many keys wait.
    #[must_use]
    pub fn new(length: IntGauge) -> Self {
        Self { inner: Mutex::default(), length }
    }

    /// Adds a key unless it waits already. A key in flight is reconciled once more afterwards.
    pub fn add(&self, key: Key) {
        self.change(|inner| inner.add(key));
    }

    /// How many keys wait.
    pub fn len(&self) -> usize {
        self.lock().dirty.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next key. It is in flight until [`done`](Self::done). Only one task may wait at a time.
    pub async fn next(&self) -> Key {
        poll_fn(|context| self.change(|inner| inner.poll_next(context))).await
    }

    /// Ends the reconcile of a key, and requeues it after a while unless it is added sooner.
    pub fn done(&self, key: &Key, requeue_after: Option<Duration>) {
        self.change(|inner| inner.done(key, requeue_after));
    }

    /// Drops a key: its object is gone.
    pub fn forget(&self, key: &Key) {
        self.change(|inner| inner.forget(key));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        self.length.set(i64::try_from(inner.dirty.len()).unwrap_or(i64::MAX));
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, key: Key) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.enqueue(key);
        }
    }

    fn enqueue(&mut self, key: Key) {
        self.queue.push_back(key);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Key> {
        while let Poll::Ready(Some(expired)) = self.delayed.poll_expired(context) {
            let key = expired.into_inner();
            self.timers.remove(&key);
            self.add(key);
        }
        while let Some(key) = self.queue.pop_front() {
            if self.dirty.remove(&key) {
                self.cancel_timer(&key);
                self.processing.insert(key.clone());
                return Poll::Ready(key);
            }
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn done(&mut self, key: &Key, requeue_after: Option<Duration>) {
        self.processing.remove(key);
        if self.dirty.contains(key) {
            self.enqueue(key.clone());
        }
        if let Some(pause) = requeue_after {
            self.cancel_timer(key);
            let timer = self.delayed.insert(key.clone(), pause);
            self.timers.insert(key.clone(), timer);
            // The task that waits has to poll the new timer.
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.dirty.remove(key);
        self.cancel_timer(key);
    }

    fn cancel_timer(&mut self, key: &Key) {
        if let Some(timer) = self.timers.remove(key) {
            self.delayed.try_remove(&timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: Some("ns".to_owned()), name: name.to_owned() }
    }

    fn queue(names: &[&str]) -> WorkQueue {
        let queue = WorkQueue::new(IntGauge::new("length", "length").unwrap());
        for name in names {
            queue.add(key(name));
        }
        queue
    }

    fn take(queue: &WorkQueue) -> Option<String> {
        queue.next().now_or_never().map(|key| key.name)
    }

    /// The next key, once every timer that was set before has expired.
    async fn next_after_timers(queue: &WorkQueue) -> String {
        queue.done(&key("sentinel"), Some(Duration::from_millis(2)));
        queue.next().await.name
    }

    fn take_all(queue: &WorkQueue) -> Vec<String> {
        std::iter::from_fn(|| take(queue)).collect()
    }

    #[tokio::test]
    async fn keys_come_in_order_of_arrival_and_once() {
        let queue = queue(&["c", "a", "b", "a", "c"]);
        assert_eq!((queue.len(), queue.length.get()), (3, 3));
        assert_eq!(take_all(&queue), ["c", "a", "b"]);
        assert_eq!((queue.len(), queue.length.get()), (0, 0));
    }

    #[tokio::test]
    async fn a_key_in_flight_comes_again_only_after_it_is_done() {
        let queue = queue(&["a"]);
        assert_eq!(take_all(&queue), ["a"]);
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(take_all(&queue), ["b"]);
        queue.done(&key("a"), None);
        assert_eq!(take_all(&queue), ["a"], "it changed while in flight");
        queue.done(&key("a"), None);
        assert_eq!(take(&queue), None);
    }

    #[tokio::test]
    async fn a_forgotten_key_does_not_come_and_comes_once_when_added_again() {
        let queue = queue(&["a", "b"]);
        queue.forget(&key("a"));
        assert_eq!(queue.len(), 1);
        queue.add(key("a"));
        assert_eq!(take_all(&queue), ["a", "b"]);
        queue.done(&key("b"), Some(Duration::ZERO));
        queue.forget(&key("b"));
        assert_eq!(next_after_timers(&queue).await, "sentinel");
        queue.add(key("b"));
        assert_eq!(take_all(&queue), ["b"]);
    }

    #[tokio::test]
    async fn a_requeued_key_comes_when_its_time_has_come() {
        let queue = queue(&["a", "b"]);
        assert_eq!(take(&queue), Some("a".to_owned()));
        queue.done(&key("a"), Some(Duration::ZERO));
        queue.add(key("c"));
        assert_eq!(take_all(&queue), ["b", "c"]);
        assert_eq!(queue.next().await, key("a"));
    }

    #[tokio::test]
    async fn an_early_reconcile_replaces_the_requeue() {
        let queue = queue(&["a"]);
        for requeue_after in [Some(Duration::ZERO), None] {
            assert_eq!(take_all(&queue), ["a"]);
            queue.done(&key("a"), requeue_after);
            queue.add(key("a"));
        }
        assert_eq!(take_all(&queue), ["a"]);
        queue.done(&key("a"), None);
        assert_eq!(next_after_timers(&queue).await, "sentinel", "the timer of the first reconcile is cancelled");
    }

    #[tokio::test]
    async fn a_timer_that_is_set_meanwhile_wakes_the_task_that_waits() {
        let queue = queue(&["late", "soon"]);
        assert_eq!(take_all(&queue), ["late", "soon"]);
        queue.done(&key("late"), Some(Duration::from_secs(3600)));
        let (next, ()) = tokio::join!(queue.next(), async {
            tokio::task::yield_now().await;
            queue.done(&key("soon"), Some(Duration::from_millis(1)));
        });
        assert_eq!(next, key("soon"));
    }
}
