//! Numbers, machine and load as people read them.

use std::time::Duration;

use mock_view::words;

use crate::figures::{LoadFigures, Machine};
use crate::statistics::{count, float};

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

/// Formats a size: `812 B`, `1.9 kB`, `120 kB` or `1.2 MB`, with a factor of 1000 between units.
pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        ..999.5 => format!("{bytes:.0} B"),
        ..9_950.0 => format!("{:.1} kB", bytes / 1e3),
        ..999_500.0 => format!("{:.0} kB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// Formats memory in MiB, the unit of Kubernetes' limits: `18.3 MiB`.
pub(crate) fn memory(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// Formats a number with three digits: `0.17`, `17.3` or `412`.
pub(crate) fn number(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats a number as [`number`] does, without zeros after the point: `1`, `0.5` or `0.17`.
pub(crate) fn brief(value: f64) -> String {
    let number = number(value);
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

/// Formats a count. It has a fraction only if it is a median.
pub(crate) fn whole(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Formats a count and a noun, with its plural unless the count is 1.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Machine {
    /// Describes the machine in one line. Unknown facts are left out.
    pub(crate) fn describe(&self) -> String {
        let known = |text: &str, prefix: &str| (!text.is_empty()).then(|| format!("{prefix}{text}"));
        let cores = (self.cores > 0).then(|| counted(self.cores, "core"));
        let memory = (self.memory > 0).then(|| format!("{:.1} GiB", float(self.memory) / f64::from(1 << 30)));
        let version = |text: &str| text.trim_start_matches('v').to_owned();
        let facts = [
            cores,
            known(&self.cpu, ""),
            memory,
            known(&self.system, ""),
            known(&version(&self.kube_apiserver), "kube-apiserver "),
            known(&version(&self.etcd), "etcd "),
            known(&self.date, ""),
        ];
        facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
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
    fn size_has_the_unit_that_suits_it() {
        assert_eq!(
            [0.0, 999.4, 999.6, 1940.0, 99_600.0, 1.25e6].map(bytes),
            ["0 B", "999 B", "1.0 kB", "1.9 kB", "100 kB", "1.2 MB"]
        );
        assert_eq!([0.0, 0.1667, 9.996, 17.25, 412.4].map(number), ["0.00", "0.17", "10.0", "17.2", "412"]);
        assert_eq!([0.0, 1.0, 0.5, 0.1667, 100.0].map(brief), ["0", "1", "0.5", "0.17", "100"]);
        assert_eq!([3.0, 3.5].map(whole), ["3", "3.5"]);
        assert_eq!(memory(19_188_941.0), "18.3 MiB");
    }

    #[test]
    fn several_durations_share_a_unit() {
        assert_eq!(durations(&[0.5, 4.84, 79.2, 82.0]), "0.50/4.8/79/82");
        assert_eq!(durations(&[21.0, 480.0, 7900.0, 15_000.0]), "0.02/0.48/7.9/15 s");
    }

    #[test]
    fn unknown_facts_about_the_machine_are_left_out() {
        assert_eq!(Machine::default().describe(), "");
        let machine = Machine { cores: 2, memory: 8 << 30, etcd: "v3.6.5".to_owned(), ..Machine::default() };
        assert_eq!(machine.describe(), "2 cores, 8.0 GiB, etcd 3.6.5");
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
