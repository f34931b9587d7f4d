//! Times and logs as people read them.

use std::time::Duration;

/// How many lines of a log are shown when something went wrong.
const LAST_LINES: usize = 12;

/// The smallest of the sorted values that at least `percent` of all do not exceed (nearest rank).
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// `4.2 ms`, `420 ms`, `2.1 s` or `2 min 5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1000.0;
    match millis {
        ..9.95 => format!("{millis:.1} ms"),
        ..999.5 => format!("{millis:.0} ms"),
        ..59_950.0 => format!("{:.1} s", millis / 1000.0),
        _ => {
            let seconds = duration.saturating_add(Duration::from_millis(500)).as_secs();
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// The end of a log, indented.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
    shown.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_of_a_log_are_shown() {
        let log = (1..=20).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n");
        let shown = last_lines(&log);
        assert!(shown.starts_with("  line 9\n") && shown.ends_with("  line 20"), "{shown}");
        assert_eq!(last_lines(""), "");
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<_> = (1..=100).collect();
        let table: [(&[i32], usize, Option<i32>); 7] = [
            (&[], 50, None),
            (&[7], 50, Some(7)),
            (&[7], 99, Some(7)),
            (&[1, 2], 50, Some(1)),
            (&[1, 2, 3], 90, Some(3)),
            (&hundred, 99, Some(99)),
            (&hundred, 100, Some(100)),
        ];
        for (sorted, percent, expected) in table {
            assert_eq!(percentile(sorted, percent), expected, "p{percent} of {sorted:?}");
        }
    }

    #[test]
    fn durations_read_well() {
        let read =
            [420, 9_960, 12_400, 999_600, 2_149_000, 59_970_000, 60_400_000, 125_400_000].map(Duration::from_micros);
        let expected = ["0.4 ms", "10 ms", "12 ms", "1.0 s", "2.1 s", "1 min 0 s", "1 min 0 s", "2 min 5 s"];
        assert_eq!(read.map(duration), expected);
    }
}
