//! Durations of scripts: fixed ones in Go's or humantime's spelling, or a distribution.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::jiff::SignedDuration;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration from zero to a year, such as `20s` or `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", example = "20s", example = "1m30s")]
pub struct Span(pub SignedDuration);

/// A duration, or a distribution from which one is drawn for each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Delay {
    /// The same duration for each attempt.
    Fixed(Span),
    /// A duration drawn for each attempt.
    Drawn(Distribution),
}

/// A distribution of durations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Distribution {
    /// All durations are equally likely.
    #[serde(rename_all = "camelCase")]
    Uniform {
        /// The shortest.
        from: Span,
        /// The longest.
        to: Span,
    },
    /// The peak is the most likely duration; the likelihood falls to zero at both ends.
    Triangular {
        /// The shortest.
        from: Span,
        /// The most likely.
        peak: Span,
        /// The longest.
        to: Span,
    },
    /// Half of the durations are shorter than `p50`, and one in a hundred is longer than `p99`: a log-logistic
    /// distribution, cut off at the 99.9th percentile.
    LongTailed {
        /// The median.
        p50: Span,
        /// The 99th percentile.
        p99: Span,
    },
}

/// The longest duration: no computed time gets out of range.
const A_YEAR: SignedDuration = SignedDuration::from_hours(8760);

/// Where the long tail is cut off.
const LONGEST: f64 = 0.999;

impl Delay {
    /// The duration for a number in 0..1: its quantile, in whole milliseconds, and a year at most.
    #[must_use]
    pub fn at(&self, chance: f64) -> SignedDuration {
        match self {
            Self::Fixed(span) => span.0,
            Self::Drawn(distribution) => {
                let millis = (distribution.quantile(chance) * 1000.0).round();
                SignedDuration::try_from_secs_f64(millis / 1000.0).unwrap_or(A_YEAR).min(A_YEAR)
            }
        }
    }
}

impl Distribution {
    /// Seconds.
    fn quantile(&self, chance: f64) -> f64 {
        let seconds = |span: &Span| span.0.as_secs_f64();
        match self {
            Self::Uniform { from, to } => seconds(from) + chance * (seconds(to) - seconds(from)),
            Self::Triangular { from, peak, to } => {
                let (from, peak, to) = (seconds(from), seconds(peak), seconds(to));
                let rise = (to - from) * (peak - from);
                let fall = (to - from) * (to - peak);
                if chance * (to - from) < peak - from {
                    from + (chance * rise).sqrt()
                } else {
                    to - ((1.0 - chance) * fall).sqrt()
                }
            }
            Self::LongTailed { p50, p99 } => {
                let shape = (seconds(p99) / seconds(p50)).ln() / 99_f64.ln();
                let chance = chance.min(LONGEST);
                seconds(p50) * (chance / (1.0 - chance)).powf(shape)
            }
        }
    }
}

impl Default for Delay {
    fn default() -> Self {
        Self::Fixed(Span::default())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Option<SignedDuration> = text.trim().parse().ok();
        let span = span.filter(|span| !span.is_negative()).ok_or_else(|| {
            format!("{text:?} is no duration such as \"20s\", \"1m30s\" or \"36h\", the largest unit")
        })?;
        if span > A_YEAR {
            return Err(format!("{text:?} is too long, expected at most a year, \"8760h\"; what never ends is a hang"));
        }
        Ok(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Delay::deserialize(deserializer)? {
            Delay::Fixed(span) => Ok(span),
            Delay::Drawn(_) => Err(D::Error::custom("expected a duration such as \"20s\", not a distribution")),
        }
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        // Written by hand, since an untagged enum's errors do not say what was expected.
        impl<'de> Visitor<'de> for Either {
            type Value = Delay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"20s\", or one of uniform, triangular, longTailed")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Delay, E> {
                text.parse().map(Delay::Fixed).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                Distribution::deserialize(MapAccessDeserializer::new(map)).map(Delay::Drawn)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
