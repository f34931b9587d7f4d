//! What differs between the known objects and those of the API server.

use super::{Key, Versions};

/// Differences, in the order of their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Objects that the API server does not have.
    pub(crate) gone: Vec<Key>,
    /// Objects that are unknown, or known at another version.
    pub(crate) differing: Vec<Key>,
}

impl Comparison {
    /// Compares the known versions with those that a list has shown.
    pub(crate) fn of(known: &Versions, listed: &Versions) -> Self {
        let mut gone: Vec<Key> = known.keys().filter(|key| !listed.contains_key(*key)).cloned().collect();
        let differing = listed.iter().filter(|(key, version)| known.get(*key) != Some(*version));
        let mut differing: Vec<Key> = differing.map(|(key, _)| key.clone()).collect();
        gone.sort();
        differing.sort();
        Self { gone, differing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_creations_changes_and_deletions_are_found() {
        let key = |name: &str| Key { namespace: Some("ns".to_owned()), name: name.to_owned() };
        let known = Versions::from([(key("same"), 1), (key("changed"), 2), (key("older"), 9), (key("deleted"), 3)]);
        let listed = Versions::from([(key("same"), 1), (key("changed"), 5), (key("older"), 4), (key("new"), 6)]);
        let found = Comparison::of(&known, &listed);
        assert_eq!(found.gone, [key("deleted")]);
        assert_eq!(found.differing, [key("changed"), key("new"), key("older")]);
        assert_eq!(Comparison::of(&known, &known), Comparison::default());
    }
}
