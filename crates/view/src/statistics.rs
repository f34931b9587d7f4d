//! Medians, percentiles and numbers as floats.

use serde::Serialize;

use crate::words::percentile;

/// The median of values; for an even number of values, the mean of the two in the middle. Returns `None` if there are
/// no values.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let (low, high) = (sorted.get(sorted.len().saturating_sub(1) / 2)?, sorted.get(sorted.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// The value divided by `base`. Returns `None` if `base` is 0.
#[must_use]
pub fn ratio(value: f64, base: f64) -> Option<f64> {
    (base != 0.0).then(|| value / base)
}

/// The values in ascending order.
#[must_use]
pub fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The number as a float.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "numbers above 2^53 are not shown to the last digit")]
pub fn float(number: u64) -> f64 {
    number as f64
}

/// The number as a float.
#[must_use]
pub fn count(number: usize) -> f64 {
    float(u64::try_from(number).unwrap_or(u64::MAX))
}

/// A distribution of latencies, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Latency {
    /// The distribution of latencies. Returns `None` if there are none.
    pub fn of(latencies: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(latencies);
        let of = |percent| percentile(&sorted, percent);
        Some(Self { p50: of(50)?, p90: of(90)?, p99: of(99)?, max: of(100)? })
    }

    /// The median of each figure. Returns `None` if there are no distributions.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure));
        Some(Self {
            p50: of(|latency| latency.p50)?,
            p90: of(|latency| latency.p90)?,
            p99: of(|latency| latency.p99)?,
            max: of(|latency| latency.max)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_needs_no_order() {
        let table: [(&[f64], Option<f64>); 5] = [
            (&[], None),
            (&[4.0], Some(4.0)),
            (&[9.0, 1.0], Some(5.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[9.0, 1.0, 2.0, 4.0], Some(3.0)),
        ];
        for (values, expected) in table {
            assert_eq!(median(values.iter().copied()), expected, "{values:?}");
        }
    }

    #[test]
    fn ratio_to_zero_is_none() {
        assert_eq!([ratio(3.0, 2.0), ratio(0.0, 2.0), ratio(3.0, 0.0)], [Some(1.5), Some(0.0), None]);
    }
}
