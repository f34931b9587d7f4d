//! The parties that are measured.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::figures::ContestantFigures;
use crate::load::Answer;

/// A party that answers the load.
#[derive(Clone, Debug)]
pub(crate) enum Contestant {
    /// None: the load without answers.
    Alone,
    /// The load generator itself.
    RawLimit,
    /// Our controllers.
    Ours,
    /// Our controllers, assisted by admission policies.
    Assisted,
    /// Other controllers.
    Other {
        /// The name for people.
        name: String,
        /// The shell command that runs them.
        command: String,
    },
}

impl Contestant {
    /// Parses `[NAME=]COMMAND`.
    pub(crate) fn parse(against: &str) -> Result<Self, String> {
        // A name is one word in lower case. Anything else before the first equals sign is part of the command: it may
        // set a variable or have a flag with a value.
        let named = against.split_once('=').filter(|(name, _)| {
            name.starts_with(|first: char| first.is_ascii_lowercase())
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        });
        let (name, command) = named.unwrap_or((against, against));
        if command.trim().is_empty() {
            return Err("the command is empty: give one, such as NAME=COMMAND".to_owned());
        }
        Ok(Self::Other { name: name.to_owned(), command: command.to_owned() })
    }

    /// The party that answers, as the load generator knows it.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Alone => Answer::None,
            Self::RawLimit => Answer::Baseline,
            Self::Ours | Self::Assisted | Self::Other { .. } => Answer::Controllers,
        }
    }

    /// The contestant's name and command, without figures.
    pub(crate) fn without_figures(&self) -> ContestantFigures {
        let (name, command) = match self {
            Self::Alone => ("load alone", None),
            Self::RawLimit => ("raw limit", None),
            Self::Ours => ("mock", None),
            Self::Assisted => ("mock assisted", None),
            Self::Other { name, command } => (name.as_str(), Some(command.clone())),
        };
        ContestantFigures { name: name.to_owned(), command, ..ContestantFigures::default() }
    }
}

/// All contestants but [`Contestant::Alone`], in the order in which their figures are shown. Fails if two have the same name.
pub(crate) fn all(assisted: bool, against: &[Contestant]) -> Result<Vec<Contestant>> {
    let ours = [Contestant::RawLimit, Contestant::Ours].into_iter().chain(assisted.then_some(Contestant::Assisted));
    let contestants: Vec<_> = ours.chain(against.iter().cloned()).collect();
    let mut names = BTreeSet::new();
    for name in contestants.iter().map(|contestant| contestant.without_figures().name) {
        if names.contains(&name) {
            bail!(
                "two contestants have the name {name:?}: give --against another name, as in --against 'NAME=COMMAND'"
            );
        }
        names.insert(name);
    }
    Ok(contestants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_may_have_a_name_and_may_set_variables() {
        let cases = [
            ("kwok=./kwok --config a=b", "kwok", "./kwok --config a=b"),
            ("./kwok --config=stages.yaml", "./kwok --config=stages.yaml", "./kwok --config=stages.yaml"),
            ("STAGES=a.yaml ./run", "STAGES=a.yaml ./run", "STAGES=a.yaml ./run"),
        ];
        for (against, name, command) in cases {
            let contestant = Contestant::parse(against).unwrap().without_figures();
            assert_eq!((contestant.name.as_str(), contestant.command.as_deref()), (name, Some(command)));
        }
        for empty in ["", " ", "kwok="] {
            assert!(Contestant::parse(empty).is_err(), "{empty:?}");
        }
    }

    #[test]
    fn name_that_is_taken_is_refused() {
        let against = |against: &[&str]| {
            let against: Vec<_> = against.iter().map(|against| Contestant::parse(against).unwrap()).collect();
            all(false, &against).map(|contestants| contestants.len()).map_err(|error| error.to_string())
        };
        assert_eq!(against(&["a=./run", "b=./run"]), Ok(4));
        assert!(against(&["a=./run", "mock=./run"]).unwrap_err().contains(r#"the name "mock""#));
        assert!(against(&["a=./run", "a=./walk"]).unwrap_err().contains(r#"the name "a""#));
    }
}
