//! Metrics of a process, published at `/metrics`. Labels never contain names of objects.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// All metrics of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Operations that ended, by `operation` and `outcome` (Succeeded, Error).
    pub reconciles: IntCounterVec,
    /// Seconds from gardenlet's timestamp to Succeeded, by `operation`.
    pub duration: HistogramVec,
    /// Objects in the work queue.
    pub queued: IntGauge,
    /// Reconciles in flight.
    pub in_flight: IntGauge,
    /// 1 while this process leads, 0 while it stands by.
    pub leader: IntGauge,
    /// Errors by `reason` (request, timeout, watch, undecodable, lease).
    pub errors: IntCounterVec,
    /// 1 while the file of `--script` is unusable and the last valid script stays in force.
    pub script_stale: IntGauge,
    /// Write requests by `target` (status, metadata, secret) and `outcome` (ok, conflict, failed).
    pub writes: IntCounterVec,
}

impl Metrics {
    /// Metrics with their own registry.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("mock_reconciles_total", "Operations that ended"),
                &["operation", "outcome"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new("mock_operation_duration_seconds", "From gardenlet's request to Succeeded")
                    .buckets(buckets),
                &["operation"],
            )?,
            queued: IntGauge::new("mock_queue_length", "Objects in the work queue")?,
            in_flight: IntGauge::new("mock_reconciles_in_flight", "Reconciles in flight")?,
            leader: IntGauge::new("mock_leader", "1 while this process leads, 0 while it stands by")?,
            errors: IntCounterVec::new(Opts::new("mock_errors_total", "Errors by reason"), &["reason"])?,
            script_stale: IntGauge::new(
                "mock_script_stale",
                "1 while the file of --script is unusable and the last valid script stays in force",
            )?,
            writes: IntCounterVec::new(Opts::new("mock_writes_total", "Write requests"), &["target", "outcome"])?,
            registry,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.queued.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.errors.clone()))?;
        registry.register(Box::new(metrics.script_stale.clone()))?;
        registry.register(Box::new(metrics.writes.clone()))?;
        Ok(metrics)
    }

    /// Counts a write request.
    pub fn count_write(&self, target: &str, outcome: &str) {
        self.writes.with_label_values(&[target, outcome]).inc();
    }

    /// Counts an error.
    pub fn count_error(&self, reason: &str) {
        self.errors.with_label_values(&[reason]).inc();
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
