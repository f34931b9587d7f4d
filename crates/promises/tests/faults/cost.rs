//! What a fault costs: time, requests and log lines.

use std::fmt;
use std::time::{Duration, Instant};

use extension_conformance::ensure;
use libtest_mimic::Failed;

use crate::world::{Controller, World};

/// Requests that a process may send at the begin and end of a fault, and for the objects that it then serves.
const BURST: f64 = 25.0;
/// Log lines that a process may write at the begin and end of a fault, and about the objects that it then serves.
const LINES: f64 = 25.0;
/// Log lines a second, besides that.
const LINE_RATE: f64 = 0.5;

/// What a fault cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// How long the fault lasted.
    pub(crate) lasted: Duration,
    /// How many requests the controller sent meanwhile.
    pub(crate) requests: usize,
    /// How many lines it logged until it served everything again, besides one for each operation that has ended well.
    pub(crate) lines: usize,
    /// How long it took after the fault until every object was as gardenlet wants it.
    pub(crate) recovered: Duration,
}

impl Cost {
    /// The cost of a fault that is over at once.
    pub(crate) const fn of_time(recovered: Duration) -> Self {
        Self { lasted: Duration::ZERO, requests: 0, lines: 0, recovered }
    }

    /// Fails if recovery took longer than `limit`, or the process sent more than `rate` requests a second, or logged more
    /// than a line in two seconds.
    pub(crate) fn is_within(&self, limit: Duration, rate: f64) -> Result<(), Failed> {
        let Self { lasted, recovered, .. } = self;
        ensure(*recovered <= limit, format!("served after {recovered:?} instead of {limit:?}"))?;
        let seconds = lasted.as_secs_f64();
        let most = |burst: f64, rate: f64| burst + rate * seconds;
        for (what, count, most) in
            [("requests", self.requests, most(BURST, rate)), ("log lines", self.lines, most(LINES, LINE_RATE))]
        {
            let count = u32::try_from(count)?;
            ensure(f64::from(count) <= most, format!("{count} {what} in {lasted:?}, more than {most:.0}"))?;
        }
        Ok(())
    }

    /// The cells of the table.
    pub(crate) fn cells(&self) -> [String; 4] {
        let time = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        [time(self.lasted), time(self.recovered), self.requests.to_string(), self.lines.to_string()]
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [lasted, recovered, requests, lines] = self.cells();
        write!(f, "lasted {lasted}, served after {recovered}, {requests} requests meanwhile, {lines} log lines")
    }
}

/// Counts while a fault lasts.
pub(crate) struct Meter<'a> {
    world: &'a World,
    controller: &'a Controller,
    began: Instant,
    requests: usize,
    lines: usize,
}

impl<'a> Meter<'a> {
    /// The fault begins.
    pub(crate) fn begin(world: &'a World, controller: &'a Controller) -> Self {
        Self { world, controller, began: Instant::now(), requests: requests(world), lines: controller.lines() }
    }

    /// The fault is over.
    pub(crate) fn over(self) -> Over<'a> {
        let requests = requests(self.world).saturating_sub(self.requests);
        Over { controller: self.controller, lasted: self.began.elapsed(), requests, lines: self.lines }
    }
}

/// A fault that is over.
pub(crate) struct Over<'a> {
    controller: &'a Controller,
    lasted: Duration,
    requests: usize,
    lines: usize,
}

impl Over<'_> {
    /// Every object is as gardenlet wants it, this long after the fault.
    pub(crate) fn served(self, recovered: Duration) -> Cost {
        let lines = self.controller.lines().saturating_sub(self.lines);
        Cost { lasted: self.lasted, requests: self.requests, lines, recovered }
    }
}

fn requests(world: &World) -> usize {
    world.http.requests() + world.link.requests()
}
