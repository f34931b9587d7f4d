//! A rule of the contract, and a test of a run.

use std::pin::Pin;

use libtest_mimic::Failed;

use crate::scene::Scene;
use crate::subject::{Feature, Subject};

/// A rule of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Condition and result, as a sentence with underscores.
    pub name: &'static str,
    /// The part of the contract that the rule belongs to, such as `readiness`.
    pub section: &'static str,
    /// The rule's source in Gardener's repository.
    pub source: &'static str,
    /// What the kind and the controller must have for the rule to apply.
    pub needs: &'static [Feature],
    /// What must hold, and how gardenlet would suffer otherwise.
    pub sentence: &'static str,
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
///     deletion_needs_no_cluster needs [MissingCluster] from "pkg/extensions/cluster.go":
///         "A deletion succeeds without the object's Cluster. Otherwise gardenlet waits until its timeout.";
/// }
/// ```
macro_rules! rules {
    (section $section:literal; $($name:ident needs [$($need:ident),*] from $source:literal: $sentence:literal;)*) => {
        /// The rules of this section.
        pub(super) const RULES: &[$crate::rule::Rule] = &[$($crate::rule::Rule {
            name: stringify!($name),
            section: $section,
            source: $source,
            needs: &[$($crate::subject::Feature::$need),*],
            sentence: $sentence,
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
        Self { left_out: subject.lacks(needs), ..self }
    }

    /// A rule of the contract.
    #[must_use]
    pub fn of_rule(rule: &Rule, subject: &Subject) -> Self {
        Self::new(rule.name, rule.holds).needing(rule.needs, subject)
    }
}
