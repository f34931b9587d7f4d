//! What a process counts, served under `/metrics`. Labels are kinds of things, never names of objects.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// All metrics of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Rounds that had something to do, by `operation` and `outcome` (Succeeded, Error).
    pub reconciles: IntCounterVec,
    /// Seconds from gardenlet's timestamp to Succeeded, by `operation`.
    pub duration: HistogramVec,
    /// Objects that wait for their round.
    pub queued: IntGauge,
    /// Rounds under way.
    pub in_flight: IntGauge,
    /// Whether this process writes: 1, or 0 while it stands by.
    pub leader: IntGauge,
    /// Things that went wrong, by `reason` (request, timeout, watch, undecodable, lease).
    pub errors: IntCounterVec,
    /// 1 while the file of `--script` cannot be used and the last good one is in force.
    pub script_stale: IntGauge,
    /// Requests that write, by `target` (status, metadata, secret, event) and `outcome` (ok, conflict, failed).
    pub writes: IntCounterVec,
}

impl Metrics {
    /// Metrics with a registry of their own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("mock_reconciles_total", "Operations that were carried out"),
                &["operation", "outcome"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new("mock_operation_duration_seconds", "From gardenlet's request to Succeeded")
                    .buckets(buckets),
                &["operation"],
            )?,
            queued: IntGauge::new("mock_queue_length", "Objects that wait for their round")?,
            in_flight: IntGauge::new("mock_reconciles_in_flight", "Rounds under way")?,
            leader: IntGauge::new("mock_leader", "Whether this process writes, or stands by")?,
            errors: IntCounterVec::new(Opts::new("mock_errors_total", "Things that went wrong"), &["reason"])?,
            script_stale: IntGauge::new(
                "mock_script_stale",
                "1 while the file of --script cannot be used and the last good one is in force",
            )?,
            writes: IntCounterVec::new(Opts::new("mock_writes_total", "Requests that write"), &["target", "outcome"])?,
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

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
