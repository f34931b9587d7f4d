//! Bounds the log: a storm of failures must not fill the disk.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// How many warnings one place in the code may log within [`INTERVAL`].
const LINES: u32 = 20;
const INTERVAL: Duration = Duration::from_secs(60);

/// Drops warnings and errors of a place in the code that has logged [`LINES`] of them within a minute. When the minute is
/// over, one line says how many were dropped.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    interval: Duration,
    places: Arc<Mutex<HashMap<Identifier, Window>>>,
}

impl Default for Quota {
    fn default() -> Self {
        Self { interval: INTERVAL, places: Arc::default() }
    }
}

/// What one place has logged within the interval.
#[derive(Debug)]
struct Window {
    began: Instant,
    logged: u32,
    dropped: u32,
}

impl Quota {
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Window>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a line. Returns `None` if it may be logged, otherwise how many were dropped so far.
    fn dropped(&self, place: Identifier, now: Instant) -> Option<u32> {
        let new = Window { began: now, logged: 0, dropped: 0 };
        let mut places = self.places();
        let window = places.entry(place).or_insert(Window { ..new });
        // A window with dropped lines ends when they have been reported.
        if window.dropped == 0 && now.duration_since(window.began) >= self.interval {
            *window = new;
        }
        if window.logged < LINES {
            window.logged = window.logged.saturating_add(1);
            return None;
        }
        window.dropped = window.dropped.saturating_add(1);
        Some(window.dropped)
    }

    /// Ends the interval of this place, and reports what was dropped.
    async fn report(self, place: Identifier, example: String) {
        tokio::time::sleep(self.interval).await;
        let window = self.places().remove(&place);
        let count = window.map_or(0, |window| window.dropped);
        tracing::warn!(count, example, "too many lines of one kind within a minute: left some out");
    }
}

impl<S: Subscriber> Layer<S> for Quota {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let place = event.metadata().callsite();
        // Levels are ordered by how much they say.
        if *event.metadata().level() > Level::WARN {
            return true;
        }
        let Ok(runtime) = Handle::try_current() else { return true };
        let dropped = self.dropped(place.clone(), Instant::now());
        if dropped == Some(1) {
            let mut message = Message::default();
            event.record(&mut message);
            runtime.spawn(self.clone().report(place, message.0));
        }
        dropped.is_none()
    }
}

/// The text of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing::Metadata;
    use tracing::callsite::Callsite;
    use tracing::subscriber::Interest;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        fn count(&self, text: &str) -> usize {
            String::from_utf8_lossy(&self.0.lock().unwrap()).lines().filter(|line| line.contains(text)).count()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Place;

    static PLACE: Place = Place;

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("only its address counts")
        }
    }

    fn fails(object: u32) {
        tracing::warn!("object {object} failed");
    }

    #[tokio::test]
    async fn a_storm_of_warnings_is_cut_and_its_size_is_reported_once() {
        let log = Log::default();
        let quota = Quota { interval: Duration::from_millis(200), ..Quota::default() };
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = subscriber.with(quota).set_default();
        for object in 0..50 {
            fails(object);
            tracing::info!("object {object} works");
        }
        tracing::warn!("another place");
        assert_eq!((log.count("failed"), log.count("works"), log.count("another place")), (20, 50, 1));
        while log.count("left some out") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(log.count(r#"count=30 example="object 20 failed""#), 1);
        fails(50);
        assert_eq!(log.count("object 50 failed"), 1, "the next minute has begun");
    }

    #[test]
    fn lines_that_come_slowly_are_all_logged() {
        let (quota, start) = (Quota::default(), Instant::now());
        let place = Identifier(&PLACE);
        for line in 0..100 {
            assert_eq!(quota.dropped(place.clone(), start + Duration::from_secs(4 * line)), None);
        }
    }
}
