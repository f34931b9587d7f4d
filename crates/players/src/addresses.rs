//! Addresses of Pods. Leaves out IPv6.
//!
//! Programs run in the lower half of the Pods' network, behind a bridge. Pods that are only reported have addresses in
//! the upper half, which this machine takes for its own: a connection to such a Pod is refused at once. A webhook whose
//! address does not answer would delay each write for seconds.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::Error;

/// Whether a Pod runs or is only reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Runs,
    Reported,
}

/// Which addresses are taken.
#[derive(Debug)]
pub(crate) struct Addresses {
    net: Ipv4Net,
    taken: HashSet<u32>,
    last: [u32; 2],
}

impl Addresses {
    /// All addresses of a network are free but the gateway's.
    pub(crate) fn new(net: Ipv4Net) -> Self {
        Self { net, taken: HashSet::new(), last: [1, size(net) / 2] }
    }

    /// Address of the bridge.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// The upper half of the network.
    pub(crate) fn reported(&self) -> Result<Ipv4Net, Error> {
        Ipv4Net::new(self.address(size(self.net) / 2), self.net.prefix_len() + 1).map_err(|_| Error::NoAddress)
    }

    /// Remembers that a Pod has an address. Ignores foreign addresses.
    pub(crate) fn seen(&mut self, address: Ipv4Addr) {
        if self.net.contains(&address) {
            self.taken.insert(address.to_bits());
        }
    }

    /// Takes a free address. Addresses are reused as late as possible.
    pub(crate) fn take(&mut self, half: Half) -> Result<Ipv4Addr, Error> {
        let middle = size(self.net) / 2;
        let (slot, first, end) = match half {
            Half::Runs => (0, 2, middle),
            Half::Reported => (1, middle + 1, size(self.net) - 1),
        };
        let last = self.last.get(slot).copied().unwrap_or(first).clamp(first, end - 1);
        let free =
            (last + 1..end).chain(first..=last).find(|offset| !self.taken.contains(&self.address(*offset).to_bits()));
        let offset = free.ok_or(Error::NoAddress)?;
        if let Some(last) = self.last.get_mut(slot) {
            *last = offset;
        }
        self.taken.insert(self.address(offset).to_bits());
        Ok(self.address(offset))
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address.to_bits());
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.net.network().to_bits() | offset)
    }
}

/// Number of addresses of a network.
fn size(net: Ipv4Net) -> u32 {
    net.hostmask().to_bits().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(net: &str) -> Addresses {
        Addresses::new(net.parse().unwrap())
    }

    #[test]
    fn programs_have_the_lower_half_and_reported_pods_the_upper() {
        let mut addresses = addresses("10.243.0.0/16");
        assert_eq!(addresses.gateway().to_string(), "10.243.0.1");
        assert_eq!(addresses.reported().unwrap().to_string(), "10.243.128.0/17");
        assert_eq!(addresses.take(Half::Runs).unwrap().to_string(), "10.243.0.3");
        assert_eq!(addresses.take(Half::Reported).unwrap().to_string(), "10.243.128.2");
    }

    #[test]
    fn address_of_a_pod_that_exists_is_not_given_to_another() {
        let mut addresses = addresses("10.243.0.0/24");
        addresses.seen("10.243.0.3".parse().unwrap());
        addresses.seen("192.0.2.1".parse().unwrap());
        assert_eq!(addresses.take(Half::Runs).unwrap().to_string(), "10.243.0.4");
    }

    #[test]
    fn address_is_reused_only_when_all_are_taken() {
        let mut addresses = addresses("10.243.0.0/24");
        let first = addresses.take(Half::Runs).unwrap();
        while addresses.take(Half::Runs).is_ok() {}
        addresses.release(first);
        assert_eq!(addresses.take(Half::Runs).unwrap(), first);
        assert!(matches!(addresses.take(Half::Runs), Err(Error::NoAddress)));
        assert!(addresses.take(Half::Reported).is_ok());
    }
}
