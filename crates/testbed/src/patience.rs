//! How long gardenlet waits for an extension object: the constants of its component for the kind.

use std::time::Duration;

/// The limits of one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// An error of the object is tolerated for this long, counted from the begin of the wait.
    pub severe: Duration,
    /// Then it has to be ready.
    pub timeout: Duration,
}

impl Wait {
    /// The limits for a kind (`pkg/component/extensions/<kind>`, `DefaultSevereThreshold` and `DefaultTimeout`).
    #[must_use]
    pub fn of(kind: &str) -> Self {
        let (severe, timeout) = match kind {
            "Infrastructure" => (180, 600),
            "Worker" => (30, 600),
            "DNSRecord" => (15, 120),
            "SelfHostedShootExposure" => (30, 300),
            _ => (30, 180),
        };
        Self { severe: Duration::from_secs(severe), timeout: Duration::from_secs(timeout) }
    }
}
