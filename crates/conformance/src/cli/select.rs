//! Selects rules by their names.

use libtest_mimic::Failed;
use wildmatch::WildMatch;

use crate::finding::Verdict;
use crate::rule::Rule;
use crate::rules;
use crate::subject::Subject;

/// The rules that one of the patterns matches; all without a pattern. A pattern that matches no rule is an error.
pub(super) fn rules(patterns: &[String]) -> Result<Vec<Rule>, Failed> {
    let mut rules = rules::all();
    let matchers: Vec<_> = patterns.iter().map(|pattern| WildMatch::new(pattern)).collect();
    for (pattern, matcher) in patterns.iter().zip(&matchers) {
        if !rules.iter().any(|rule| matcher.matches(rule.name)) {
            return Err(
                format!("--run {pattern}: no rule has such a name; `extension-conformance --rules` lists all").into()
            );
        }
    }
    rules.retain(|rule| matchers.is_empty() || matchers.iter().any(|matcher| matcher.matches(rule.name)));
    Ok(rules)
}

/// Fails if none of the rules applies: there would be nothing to judge.
pub(super) fn any_applies(rules: &[Rule], subject: &Subject) -> Result<(), Failed> {
    let why = |rule: &Rule| {
        let verdict = Verdict::from(subject.lacks(rule.needs)?);
        Some(format!("  {}: {}: {}", rule.name, verdict.word(), verdict.reason().unwrap_or_default()))
    };
    let whys = rules.iter().map(why);
    match whys.collect::<Option<Vec<_>>>() {
        Some(whys) => Err(format!("none of the rules of --run applies:\n{}", whys.join("\n")).into()),
        None => Ok(()),
    }
}
