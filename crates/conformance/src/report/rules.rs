//! The list of rules.

use std::fmt::Write as _;

use crate::finding::Verdict;
use crate::report::Report;
use crate::rule::{Level, Rule};
use crate::subject::Subject;

/// All rules, section by section: name, level, features, source, what must hold, and how gardenlet suffers otherwise.
/// With a subject, each rule that does not apply says why.
#[must_use]
pub fn text(rules: &[Rule], subject: Option<&Subject>) -> String {
    let mut text = String::new();
    for of_section in rules.chunk_by(|one, other| one.section == other.section) {
        let section = of_section.first().map_or("", |rule| rule.section);
        let _ = writeln!(text, "# {section} ({})\n", of_section.len());
        for rule in of_section {
            let Rule { name, level, source, sentence, otherwise, .. } = rule;
            let _ = writeln!(text, "{name}\n  level:  {level}\n  needs:  {}\n  source: {source}", needs(rule));
            let _ = writeln!(text, "  {sentence}\n  Otherwise: {otherwise}");
            if let Some(lack) = subject.and_then(|subject| subject.lacks(rule.needs)) {
                let verdict = Verdict::from(lack);
                let _ = writeln!(text, "  {}: {}", verdict.word(), verdict.reason().unwrap_or_default());
            }
            text.push('\n');
        }
    }
    text
}

fn needs(rule: &Rule) -> String {
    let needs: Vec<_> = rule.needs.iter().map(ToString::to_string).collect();
    if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") }
}

/// All rules as a page of Markdown, one table per section.
#[must_use]
pub fn markdown(rules: &[Rule]) -> String {
    let count = |level| rules.iter().filter(|rule| rule.level == level).count();
    let mut text = format!(
        "# Rules\n\n{} rules of the extension contract of Gardener {}: {} must, {} should, {} may. \
         [README.md](README.md) explains levels and features.\n\
         `extension-conformance --rules --report RULES.md` writes this page.\n",
        rules.len(),
        Report::gardener(),
        count(Level::Must),
        count(Level::Should),
        count(Level::May),
    );
    for of_section in rules.chunk_by(|one, other| one.section == other.section) {
        let section = of_section.first().map_or("", |rule| rule.section);
        let _ =
            writeln!(text, "\n## {section}\n\n| rule | level | needs | what must hold, and what happens otherwise |");
        let _ = writeln!(text, "| --- | --- | --- | --- |");
        for rule in of_section {
            let Rule { name, level, source, sentence, otherwise, .. } = rule;
            let sources: Vec<_> = source.split(", ").map(|path| format!("`{path}`")).collect();
            let holds = format!("{sentence}<br>Otherwise: {otherwise}<br>{}", sources.join(", "));
            let _ = writeln!(text, "| `{name}` | {level} | {} | {holds} |", needs(rule));
        }
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

    #[test]
    fn page_of_the_rules_is_current() {
        let remedy = "run `cargo xtask conformance --rules --report crates/conformance/RULES.md`";
        assert!(markdown(&rules::all()) == include_str!("../../RULES.md"), "RULES.md is old: {remedy}");
    }
}
