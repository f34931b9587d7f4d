//! The kinds that have a controller: the one list that every chore goes by.

use crossterm::style::Color;

/// A kind with a controller of its own, the binary of the package of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The kind in lower case: its folder below `crates`.
    pub(crate) name: &'static str,
    /// The colour of its lines where the output of several controllers is mixed.
    pub(crate) colour: Color,
}

/// All kinds, in the order in which gardenlet creates them.
pub(crate) const ALL: &[Kind] = &[
    Kind { name: "infrastructure", colour: Color::Cyan },
    Kind { name: "controlplane", colour: Color::Magenta },
    Kind { name: "operatingsystemconfig", colour: Color::Yellow },
    Kind { name: "network", colour: Color::Blue },
    Kind { name: "worker", colour: Color::Green },
];

impl Kind {
    /// The name of the package and of its binary.
    pub(crate) fn package(self) -> String {
        format!("mock-{}", self.name)
    }

    /// The kind of a name as Kubernetes writes it, such as `ControlPlane`, or as people type it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|kind| kind.name.eq_ignore_ascii_case(name))
    }

    /// For the command line.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        Self::find(name).ok_or_else(|| {
            let known: Vec<_> = ALL.iter().map(|kind| kind.name).collect();
            format!("there is no such kind: known are {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_in_any_spelling_and_the_error_lists_them() {
        assert_eq!(Kind::find("OperatingSystemConfig").unwrap().package(), "mock-operatingsystemconfig");
        assert!(Kind::parse("bastille").unwrap_err().ends_with("network, worker"));
    }
}
