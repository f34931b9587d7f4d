//! Flags of this controller. A value that gardener-apiserver would never accept is refused at the start.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches};
use ipnet::IpNet;

use crate::network::{Family, canonical, reserved};

const DEFAULT_NODES: &str = "Network of machines for Shoots that name none; at most one per IP family \
    [default: 10.250.0.0/16 and fd00:10:250::/48]";

/// Flags of this controller.
#[derive(Clone, Debug)]
pub struct Options {
    /// Network of machines for Shoots that name none, by IP family.
    default_nodes: Vec<IpNet>,
}

#[derive(Debug, clap::Args)]
struct Flags {
    #[arg(long, value_name = "CIDR", value_parser = network, help = DEFAULT_NODES)]
    default_nodes: Vec<IpNet>,
}

impl Options {
    /// The network of machines that the flag names for a family.
    pub(crate) fn default_nodes(&self, family: Family) -> Option<IpNet> {
        self.default_nodes.iter().find(|network| Family::of(network) == family).copied()
    }
}

impl TryFrom<Flags> for Options {
    type Error = Error;

    fn try_from(Flags { default_nodes }: Flags) -> Result<Self, Error> {
        for family in [Family::V4, Family::V6] {
            let mut same = default_nodes.iter().filter(|network| Family::of(network) == family);
            if let (Some(first), Some(second)) = (same.next(), same.next()) {
                let name = family.name();
                let problem = format!("--default-nodes names {first} and {second}, both {name}: keep one of them\n");
                return Err(Error::raw(ErrorKind::ValueValidation, problem));
            }
        }
        Ok(Self { default_nodes })
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Flags::from_arg_matches(matches)?.try_into()
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Options {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Flags::augment_args_for_update(command)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = canonical(text)?;
    match reserved().find(|reserved| Family::overlap(*reserved, network)) {
        None => Ok(network),
        Some(reserved) => Err(format!("it overlaps {reserved}, which Gardener reserves: choose another network")),
    }
}

#[cfg(test)]
mod tests {
    use mock_core::process::args::Args;

    use super::*;

    fn parsed(values: &[&str]) -> Result<Options, String> {
        use clap::Parser;
        let arguments = values.iter().flat_map(|value| ["--default-nodes", value]);
        let parsed = Args::<Options>::try_parse_from(["mock"].into_iter().chain(arguments));
        parsed.map(|args| args.kind).map_err(|error| error.to_string())
    }

    #[test]
    fn one_network_of_each_family_may_be_named() {
        let options = parsed(&["10.1.0.0/16"]).unwrap();
        assert_eq!(options.default_nodes(Family::V4), Some("10.1.0.0/16".parse().unwrap()));
        assert_eq!(options.default_nodes(Family::V6), None);
        assert!(parsed(&["fd00:1::/48", "10.1.0.0/16"]).unwrap().default_nodes(Family::V6).is_some());
    }

    #[test]
    fn a_value_that_gardener_never_accepts_is_refused_with_the_remedy() {
        for (values, expected) in [
            (&["10.250.7.1/16"][..], "write 10.250.0.0/16"),
            (&["fd00:10:250::1/48"], "write fd00:10:250::/48"),
            (&["10.250.0.0"], "no CIDR such as"),
            (&["::ffff:10.250.0.0/112"], "write 10.250.0.0/16"),
            (&["0.0.0.0/0"], "overlaps 240.0.0.0/8"),
            (&["242.1.0.0/16"], "overlaps 242.0.0.0/8"),
            (&["fd8f:6d53::/32"], "overlaps fd8f:6d53:b97a:1::/96"),
            (&["10.1.0.0/16", "10.2.0.0/16"], "names 10.1.0.0/16 and 10.2.0.0/16, both IPv4: keep one"),
            (&["10.1.0.0/16", "10.1.0.0/16"], "keep one"),
        ] {
            let error = parsed(values).expect_err(values[0]);
            assert!(error.contains(expected) && error.contains("--default-nodes"), "{values:?}: {error}");
        }
    }
}
