//! An IPv4 range (`10.42.0.0/16`) and the giving out of its addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 range in CIDR notation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr {
    base: Ipv4Addr,
    prefix: u8,
}

/// A range that cannot be used; the text says why.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[error("{given:?} is not an IPv4 range such as 10.42.0.0/16: {reason}")]
pub struct CidrError {
    given: String,
    reason: &'static str,
}

impl Cidr {
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// Bits of the network part, 8 to 30.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base.to_bits()
    }

    /// Whether any address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// The first address a host may have: the bridge's, in the range of the Pods.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + 1)
    }

    /// The last address of the range, which is no host's.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() | !self.mask())
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| CidrError {
            given: text.to_owned(),
            reason,
        };
        let (base, prefix) = text
            .split_once('/')
            .ok_or_else(|| error("the /prefix is missing"))?;
        let base: Ipv4Addr = base.parse().map_err(|_| error("the address is not IPv4"))?;
        let prefix: u8 = prefix
            .parse()
            .map_err(|_| error("the prefix is not a number"))?;
        if !(8..=30).contains(&prefix) {
            return Err(error("the prefix must be between 8 and 30"));
        }
        let range = Self { base, prefix };
        if base.to_bits() & !range.mask() != 0 {
            return Err(error("the address has bits set behind the prefix"));
        }
        Ok(range)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// Which addresses of a range are given out.
///
/// Goes round the range before it gives an address out again, so that a late packet for a Pod that
/// is gone finds nobody.
#[derive(Debug)]
pub(super) struct Addresses {
    range: Cidr,
    next: u32,
    taken: BTreeSet<u32>,
}

impl Addresses {
    pub(super) fn new(range: Cidr) -> Self {
        Self {
            range,
            next: range.gateway().to_bits() + 1,
            taken: BTreeSet::new(),
        }
    }

    /// The next free address; none when the range is full.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let (first, end) = (
            self.range.gateway().to_bits() + 1,
            self.range.broadcast().to_bits(),
        );
        for _ in first..end {
            let candidate = self.next;
            self.next = if candidate + 1 >= end {
                first
            } else {
                candidate + 1
            };
            if self.taken.insert(candidate) {
                return Some(Ipv4Addr::from_bits(candidate));
            }
        }
        None
    }

    /// Marks an address that is in use already; the search goes on behind it.
    pub(super) fn reserve(&mut self, address: Ipv4Addr) {
        if !self.range.contains(address) {
            return;
        }
        self.taken.insert(address.to_bits());
        let next = (address.to_bits() + 1).max(self.next);
        if next < self.range.broadcast().to_bits() {
            self.next = next;
        }
    }

    pub(super) fn give_back(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address.to_bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed_or_refused_with_the_reason() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let got = text
                .parse::<Cidr>()
                .map(|c| c.to_string())
                .map_err(|e| e.reason.to_owned());
            assert_eq!(
                got,
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        };
        check("10.42.0.0/16", Ok("10.42.0.0/16"));
        check(
            "10.42.0.1/16",
            Err("the address has bits set behind the prefix"),
        );
        check("10.42.0.0", Err("the /prefix is missing"));
        check("fd00::/64", Err("the address is not IPv4"));
        check("10.0.0.0/31", Err("the prefix must be between 8 and 30"));
    }

    #[test]
    fn an_address_is_given_out_again_only_after_all_others() {
        let mut addresses = Addresses::new("10.0.0.0/29".parse().expect("a range"));
        let mut take = |back: Option<u8>| {
            if let Some(last) = back {
                addresses.give_back(Ipv4Addr::new(10, 0, 0, last));
            }
            addresses.take().map(|a| a.octets()[3])
        };
        assert_eq!(take(None), Some(2));
        assert_eq!(take(Some(2)), Some(3));
        assert_eq!(
            [take(None), take(None), take(None)],
            [Some(4), Some(5), Some(6)]
        );
        assert_eq!(take(None), Some(2));
        assert_eq!(take(None), None);
        assert_eq!(take(Some(4)), Some(4));
    }
}
