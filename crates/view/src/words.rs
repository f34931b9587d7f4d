//! Numbers, durations and percentiles as people read them.

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

/// Formats a size: `812 B`, `1.9 kB`, `120 kB` or `1.2 MB`, with a factor of 1000 between units.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    match bytes {
        ..999.5 => format!("{bytes:.0} B"),
        ..9_950.0 => format!("{:.1} kB", bytes / 1e3),
        ..999_500.0 => format!("{:.0} kB", bytes / 1e3),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}

/// Formats memory in MiB, the unit of Kubernetes' limits: `18.3 MiB`.
#[must_use]
pub fn memory(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// Formats a number with three digits: `0.17`, `17.3` or `412`.
#[must_use]
pub fn number(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Formats a number as [`number`] does, without zeros after the point: `1`, `0.5` or `0.17`.
#[must_use]
pub fn brief(value: f64) -> String {
    let number = number(value);
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

/// Formats a count. It has a fraction only if it is a median.
#[must_use]
pub fn whole(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Formats a count and a noun, with its plural unless the count is 1.
#[must_use]
pub fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
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
}
