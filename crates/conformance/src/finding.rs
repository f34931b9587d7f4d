//! What the kit has found out about one rule.

use std::fmt;
use std::time::Duration;

use gardener_testbed::audit::Request;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::rule::Rule;
use crate::subject::Lack;

/// How many requests of a failure the reports for people show.
const SHOWN: usize = 20;

/// A rule, and what the kit has found out about it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What the kit has found out.
    pub verdict: Verdict,
    /// How long that took.
    pub took: Duration,
}

/// Whether the controller keeps a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The controller keeps it.
    Passed,
    /// The controller breaks it.
    Failed(Box<Failure>),
    /// The rule says nothing about the kind. The text says why.
    NotApplicable(String),
    /// The controller is not known to have a feature that the rule needs. The text names it.
    NotSupported(String),
    /// The kit could not find out. The text says why.
    NotJudged(String),
}

/// The verdict about a rule that does not apply.
impl From<Lack> for Verdict {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::OfKind(_, reason) => Self::NotApplicable(reason.to_owned()),
            Lack::OfController(feature) => Self::NotSupported(format!("needs {}", feature.remedy())),
        }
    }
}

impl Verdict {
    /// The verdict in one word or two.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::NotApplicable(_) => "not applicable",
            Self::NotSupported(_) => "not supported",
            Self::NotJudged(_) => "not judged",
        }
    }

    /// Why the rule was not put to the test.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed | Self::Failed(_) => None,
            Self::NotApplicable(why) | Self::NotSupported(why) | Self::NotJudged(why) => Some(why),
        }
    }

    /// The failure, if the controller breaks the rule.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// What the kit saw instead of what the rule says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What the kit saw.
    pub seen: String,
    /// The relevant fields of the rule's objects at the end.
    pub objects: Vec<Value>,
    /// What the controller wrote to the API server about them, in order. Empty without an audit log.
    pub requests: Vec<Written>,
}

impl Failure {
    /// How many requests the reports for people leave out, and the newest ones. A rule may cause hundreds.
    pub(crate) fn newest_requests(&self) -> (usize, &[Written]) {
        let (earlier, newest) = self.requests.split_at(self.requests.len().saturating_sub(SHOWN));
        (earlier.len(), newest)
    }
}

/// A write request of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written(String);

impl Written {
    pub(crate) fn of(request: &Request) -> Self {
        let Request { verb, resource, subresource, namespace, name, code, at, .. } = request;
        let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let time = at.0.strftime("%H:%M:%S%.3f");
        Self(format!("{time} {verb} {resource}{subresource} {namespace}{name}: {code}"))
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_for_people_show_the_newest_requests_and_count_the_others() {
        let failure = |count: usize| {
            let requests = (0..count).map(|number| Written(number.to_string())).collect();
            Failure { seen: String::new(), objects: Vec::new(), requests }
        };
        let (earlier, newest) = (failure(SHOWN + 3), failure(2));
        assert_eq!(newest.newest_requests(), (0, &newest.requests[..]));
        assert_eq!(earlier.newest_requests(), (3, &earlier.requests[3..]));
    }
}
