//! Pure. Which client addresses may connect.
//!
//! A rule list says yes or no to an address and nothing more, so a trie's "longest match" is not needed: the ranges of
//! a list are laid out as sorted intervals that do not touch, and a look-up is one binary search in one slice. Fifty
//! thousand ranges cost sixteen comparisons and no pointer is followed; a prefix trie costs up to 32 or 128 steps.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::intent::SourceRules;

/// Source rules, ready for use.
#[derive(Debug, Default)]
pub struct SourceTable {
    /// `None`: all.
    allow: Option<RangeSet>,
    deny: RangeSet,
}

impl SourceTable {
    /// The table of these rules.
    pub fn new(rules: &SourceRules) -> Self {
        let allow = (!rules.allow.is_empty()).then(|| RangeSet::new(&rules.allow));
        Self { allow, deny: RangeSet::new(&rules.deny) }
    }

    /// Whether `client` may connect. An IPv4 client of an IPv6 socket (`::ffff:a.b.c.d`) is judged by its IPv4 address.
    pub fn admits(&self, client: SocketAddr) -> bool {
        self.admits_ip(client.ip())
    }

    /// The same, of an address.
    pub fn admits_ip(&self, ip: IpAddr) -> bool {
        !self.deny.contains(ip) && self.allow.as_ref().is_none_or(|allow| allow.contains(ip))
    }
}

/// A set of addresses, given as ranges and ready for look-ups. Ranges may overlap, and be many.
#[derive(Debug, Default)]
pub struct RangeSet {
    v4: Intervals<u32>,
    v6: Intervals<u128>,
}

impl RangeSet {
    /// The addresses that are in any of these ranges. IPv4 ranges written the IPv6 way (`::ffff:10.0.0.0/104`) are
    /// taken for what they mean.
    pub fn new(ranges: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => match (net.network().to_ipv4_mapped(), net.broadcast().to_ipv4_mapped()) {
                    (Some(first), Some(last)) => v4.push((first.to_bits(), last.to_bits())),
                    _ => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
                },
            }
        }
        Self { v4: Intervals::new(v4), v6: Intervals::new(v6) }
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }

    /// Whether an address is in it; an IPv4 address in IPv6 clothes is looked up as what it is.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.v4.contains(ip.to_bits()),
            IpAddr::V6(ip) => self.contains_v6(ip),
        }
    }

    fn contains_v6(&self, ip: Ipv6Addr) -> bool {
        match ip.to_ipv4_mapped() {
            Some(ip) => self.v4.contains(ip.to_bits()),
            None => self.v6.contains(ip.to_bits()),
        }
    }
}

/// First and last values of intervals, sorted, none overlapping another.
#[derive(Debug)]
struct Intervals<T>(Box<[(T, T)]>);

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T: Copy + Ord> Intervals<T> {
    fn new(mut all: Vec<(T, T)>) -> Self {
        all.sort_unstable();
        all.dedup_by(|next, last| {
            let overlaps = next.0 <= last.1;
            if overlaps {
                last.1 = last.1.max(next.1);
            }
            overlaps
        });
        Self(all.into())
    }

    fn contains(&self, value: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= value);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| value <= *last)
    }
}

#[cfg(test)]
mod tests;
