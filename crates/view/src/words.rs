//! Durations and percentiles as people read them.

use std::time::Duration;

/// The smallest of the sorted values that at least `percent` of all values do not exceed (nearest rank). Returns `None`
/// if there are no values.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Formats a duration: `4.2 ms`, `420 ms`, `2.1 s` or `2 min 5 s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_one_of_the_values() {
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
    fn duration_has_the_unit_that_suits_its_size() {
        let read =
            [420, 9_960, 12_400, 999_600, 2_149_000, 59_970_000, 60_400_000, 125_400_000].map(Duration::from_micros);
        let expected = ["0.4 ms", "10 ms", "12 ms", "1.0 s", "2.1 s", "1 min 0 s", "1 min 0 s", "2 min 5 s"];
        assert_eq!(read.map(duration), expected);
    }
}
