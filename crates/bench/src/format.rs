//! Durations and load as people read them.

use std::time::Duration;

use mock_view::statistics::count;
use mock_view::words::{self, bytes, counted, number};

use crate::figures::LoadFigures;

/// Formats a duration in ms as [`words::duration`] does.
pub(crate) fn duration(millis: f64) -> String {
    words::duration(Duration::from_secs_f64(millis.max(0.0) / 1000.0))
}

/// Formats durations in ms with one unit: ms, or s if the last and longest is a second or more. Examples:
/// `21/48/79/82`, `0.02/8/15/15 s`.
pub(crate) fn durations(millis: &[f64]) -> String {
    let in_seconds = millis.last().is_some_and(|longest| *longest >= 999.5);
    let (scale, unit) = if in_seconds { (1000.0, " s") } else { (1.0, "") };
    let short = |value: f64| match value {
        ..0.995 => format!("{value:.2}"),
        ..9.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let values: Vec<_> = millis.iter().map(|value| short(value / scale)).collect();
    format!("{}{unit}", values.join("/"))
}

impl LoadFigures {
    /// Describes the load in one line.
    pub(crate) fn describe(&self) -> String {
        let shoots = counted(self.shoots, "shoot");
        let objects = counted(self.objects, "extension object");
        let cluster = bytes(count(self.cluster_bytes));
        let pace = match self.rate {
            Some(rate) => format!("{} objects a second", number(rate)),
            None => format!("all at once by {}", counted(self.writers, "writer")),
        };
        let lead = if self.lead > 0.0 {
            format!(" {} after their Clusters", duration(self.lead * 1000.0))
        } else {
            String::new()
        };
        format!("{shoots}, {objects}, Clusters of {cluster}, {pace}{lead}, {}", counted(self.rounds, "round"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_durations_share_a_unit() {
        assert_eq!(durations(&[0.5, 4.84, 79.2, 82.0]), "0.50/4.8/79/82");
        assert_eq!(durations(&[21.0, 480.0, 7900.0, 15_000.0]), "0.02/0.48/7.9/15 s");
    }

    #[test]
    fn load_is_a_burst_or_has_a_rate() {
        let mut load = LoadFigures {
            shoots: 200,
            objects: 1200,
            cluster_bytes: 101_300,
            writers: 16,
            rounds: 3,
            ..LoadFigures::default()
        };
        let burst = "200 shoots, 1200 extension objects, Clusters of 101 kB, all at once by 16 writers, 3 rounds";
        assert_eq!(load.describe(), burst);
        load.lead = 3.0;
        assert!(load.describe().contains(" by 16 writers 3.0 s after their Clusters, "), "{}", load.describe());
        load.rate = Some(50.0);
        assert!(load.describe().contains(" 50.0 objects a second 3.0 s after"), "{}", load.describe());
    }
}
