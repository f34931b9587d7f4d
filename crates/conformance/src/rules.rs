//! The rules of the extension contract, one module per section.

mod cluster;
mod deletion;
mod handover;
mod outside;
mod ownership;
mod readiness;
mod requests;
mod restarts;
mod watched;

use crate::rule::Rule;

/// All rules, section by section.
#[must_use]
pub fn all() -> Vec<Rule> {
    [
        restarts::RULES,
        readiness::RULES,
        watched::RULES,
        requests::RULES,
        ownership::RULES,
        cluster::RULES,
        outside::RULES,
        handover::RULES,
        deletion::RULES,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scene::Scene;

    #[test]
    fn every_rule_has_a_unique_name_and_namespace_a_source_and_says_what_happens_otherwise() {
        let rules = all();
        let names: BTreeSet<_> = rules.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), rules.len());
        for run in ["t", "kit012345"] {
            let namespaces: BTreeSet<_> = rules.iter().map(|rule| Scene::namespace_in(run, rule.name)).collect();
            assert_eq!(namespaces.len(), rules.len());
            // A suffix names a further namespace.
            assert!(namespaces.iter().all(|namespace| namespace.len() <= 61), "{namespaces:?}");
        }
        for Rule { name, source, sentence, otherwise, .. } in rules {
            let paths = || source.split(", ");
            assert!(
                paths().all(|path| std::path::Path::new(path).extension().is_some_and(|extension| extension == "go")
                    && !path.starts_with('/')),
                "{name}: {source}"
            );
            assert!(
                sentence.ends_with('.') && !otherwise.is_empty() && otherwise.ends_with('.'),
                "{name}: {otherwise}"
            );
        }
    }
}
