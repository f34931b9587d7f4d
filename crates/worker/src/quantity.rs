//! Kubernetes quantities as Go prints them, for hashes (`k8s.io/apimachinery/pkg/api/resource`).

use serde::Deserialize;

/// A quantity as it was written: a number or a text such as `80m`, `1Gi`, `20k`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Quantity {
    Integer(i64),
    Text(String),
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// The canonical form: the largest suffix that leaves no fraction. An unreadable quantity stays as it is.
    pub(crate) fn canonical(&self) -> String {
        match self {
            Self::Integer(number) => canonical(&number.to_string()),
            Self::Text(text) => canonical(text),
        }
        .unwrap_or_else(|| match self {
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        })
    }
}

fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(digits)?;
    let (nanos, binary) = match suffix {
        "" => (scaled(number, NANO)?, false),
        "n" => (scaled(number, 1)?, false),
        "u" => (scaled(number, 1000)?, false),
        "m" => (scaled(number, 1_000_000)?, false),
        _ => {
            if let Some(power) = ["k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix) {
                (scaled(number, NANO.checked_mul(1000_i128.checked_pow(exponent(power)?)?)?)?, false)
            } else {
                let power = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix)?;
                (scaled(number, NANO.checked_mul(1024_i128.checked_pow(exponent(power)?)?)?)?, true)
            }
        }
    };
    // Small binary numbers are printed as decimal ones.
    let binary = binary && nanos.checked_abs()? >= 1024_i128.checked_mul(NANO)? && nanos.checked_rem(NANO)? == 0;
    let (base, suffixes, smallest): (i128, &[&str], i128) = if binary {
        (1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], NANO)
    } else {
        (1000, &["n", "u", "m", "", "k", "M", "G", "T", "P", "E"], 1)
    };
    if nanos == 0 {
        return Some("0".to_owned());
    }
    let mut number = nanos.checked_div(smallest)?;
    let mut suffixes = suffixes.iter();
    let mut suffix = suffixes.next()?;
    while number.checked_rem(base)? == 0 {
        let Some(larger) = suffixes.next() else { break };
        (number, suffix) = (number.checked_div(base)?, larger);
    }
    Some(format!("{number}{suffix}"))
}

fn exponent(position: usize) -> Option<u32> {
    u32::try_from(position).ok()?.checked_add(1)
}

/// A decimal number times `scale`. Returns `None` if the result has a fraction.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut value = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()?.checked_mul(scale)? };
    let mut unit = scale;
    for digit in fraction.chars() {
        let digit = i128::from(digit.to_digit(10)?);
        (digit == 0 || unit.checked_rem(10)? == 0).then_some(())?;
        unit = unit.checked_div(10)?;
        let part = digit.checked_mul(unit)?;
        value = if number.starts_with('-') { value.checked_sub(part)? } else { value.checked_add(part)? };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_printed_as_go_prints_them() {
        for (written, printed) in [
            ("80m", "80m"),
            ("0.1", "100m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1Gi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("20k", "20k"),
            ("20000", "20k"),
            ("1500", "1500"),
            ("0", "0"),
            ("512", "512"),
            ("1023Ki", "1023Ki"),
            ("0.5Ki", "512"),
            ("2.5", "2500m"),
            ("1048576Ki", "1Gi"),
        ] {
            assert_eq!(Quantity::Text(written.to_owned()).canonical(), printed, "{written}");
        }
        assert_eq!(Quantity::Integer(2).canonical(), "2");
    }
}
