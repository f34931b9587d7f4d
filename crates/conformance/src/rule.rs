//! A rule of the contract, and a test of a run.

use std::fmt;
use std::pin::Pin;

use libtest_mimic::Failed;

use crate::scene::Scene;
use crate::subject::{Feature, Subject};

/// How much depends on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// gardenlet hangs or fails, or loses what belongs to others. Every controller on Gardener's extension library keeps
    /// the rule.
    Must,
    /// A user sees a wrong state, or the load doubles.
    Should,
    /// The controller is better than Gardener's own extension library.
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
        })
    }
}

/// A rule of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Condition and result, as a sentence with underscores. It is the rule's ID: a rule that changes its meaning gets a
    /// new name.
    pub name: &'static str,
    /// How much depends on it.
    pub level: Level,
    /// The part of the contract that the rule belongs to, such as `readiness`.
    pub section: &'static str,
    /// The rule's source in Gardener's repository.
    pub source: &'static str,
    /// What the kind and the controller must have for the rule to apply.
    pub needs: &'static [Feature],
    /// What must hold.
    pub sentence: &'static str,
    /// How gardenlet or a user suffers otherwise.
    pub otherwise: &'static str,
    /// Proves the rule for one controller.
    pub holds: fn(Scene) -> Proof,
}

/// A running proof. It fails with the reason why the rule does not hold.
pub type Proof = Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;

/// Builds the list of a section's rules. Each rule is an async function of a [`Scene`] with the rule's name:
///
/// ```text
/// rules! {
///     section "deletion";
///     May deletion_needs_no_cluster needs [MissingCluster] from "pkg/extensions/cluster.go":
///         "A deletion succeeds without the object's Cluster."
///         otherwise "An object that outlives its Cluster is never deleted.";
/// }
/// ```
macro_rules! rules {
    (
        section $section:literal;
        $($level:ident $name:ident needs [$($need:ident),*] from $source:literal:
            $sentence:literal otherwise $otherwise:literal;)*
    ) => {
        /// The rules of this section.
        pub(super) const RULES: &[$crate::rule::Rule] = &[$($crate::rule::Rule {
            name: stringify!($name),
            level: $crate::rule::Level::$level,
            section: $section,
            source: $source,
            needs: &[$($crate::subject::Feature::$need),*],
            sentence: $sentence,
            otherwise: $otherwise,
            holds: |scene| Box::pin($name(scene)),
        }),*];
    };
}
pub(crate) use rules;

/// One test of a run: a rule of the contract, or a further promise of the controller's authors.
pub struct Case {
    pub(crate) name: String,
    /// Why the test does not run.
    pub(crate) left_out: Option<String>,
    pub(crate) holds: Box<dyn FnOnce(Scene) -> Proof + Send>,
}

impl Case {
    /// A test with this name. The name of its namespace follows from it.
    pub fn new(name: impl Into<String>, holds: impl FnOnce(Scene) -> Proof + Send + 'static) -> Self {
        Self { name: name.into(), left_out: None, holds: Box::new(holds) }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same test if the subject has what it needs. Otherwise the test is reported as ignored, with the reason.
    #[must_use]
    pub fn needing(self, needs: &[Feature], subject: &Subject) -> Self {
        Self { left_out: subject.lacks(needs).map(|lack| lack.to_string()), ..self }
    }

    /// A rule of the contract.
    #[must_use]
    pub fn of_rule(rule: &Rule, subject: &Subject) -> Self {
        Self::new(rule.name, rule.holds).needing(rule.needs, subject)
    }
}
