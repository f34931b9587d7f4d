//! The rules as text for people.

use std::fmt::Write as _;

use crate::rule::Rule;
use crate::subject::Subject;

/// All rules, section by section: name, features, source and what must hold. With a subject, each rule that does not
/// apply says why.
#[must_use]
pub fn text(rules: &[Rule], subject: Option<&Subject>) -> String {
    let mut text = String::new();
    for (index, rule) in rules.iter().enumerate() {
        let is_first = index == 0 || rules.get(index - 1).is_none_or(|before| before.section != rule.section);
        if is_first {
            let count = rules.iter().filter(|other| other.section == rule.section).count();
            let _ = writeln!(text, "# {} ({count})\n", rule.section);
        }
        let needs: Vec<_> = rule.needs.iter().map(ToString::to_string).collect();
        let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
        let Rule { name, source, sentence, .. } = rule;
        let _ = writeln!(text, "{name}\n  needs:  {needs}\n  source: {source}\n  {sentence}");
        if let Some(reason) = subject.and_then(|subject| subject.lacks(rule.needs)) {
            let _ = writeln!(text, "  {reason}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;
    use crate::subject::Feature;

    #[test]
    fn text_holds_every_rule_once_and_every_feature() {
        let rules = rules::all();
        let text = text(&rules, None);
        for rule in &rules {
            assert_eq!(text.lines().filter(|line| *line == rule.name).count(), 1, "{}", rule.name);
        }
        let sections = rules.chunk_by(|one, other| one.section == other.section).count();
        assert_eq!(text.lines().filter(|line| line.starts_with("# ")).count(), sections);
        let of_further_tests = [Feature::Namespace, Feature::GardenClass];
        for feature in Feature::ALL.into_iter().filter(|feature| !of_further_tests.contains(feature)) {
            assert!(text.contains(&feature.to_string()), "no rule needs {feature}");
        }
    }
}
