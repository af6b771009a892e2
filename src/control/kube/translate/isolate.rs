//! Pure. A host's own paths may leave requests over; those never go to another namespace.
//!
//! Theory: a route table tries a host's own paths, then its wildcard's, then those of the default host. Within one
//! owner that is what a default backend is for. Between two it would hand one's cookies, and one's proof of ownership
//! before an ACME server, to whoever owns a broader pattern. So a host with a foreign pattern next in line gets, as
//! `left_over` says, what its own namespace has for it in broader patterns, and 404 for all else.

use std::collections::HashMap;

use crate::control::left_over::{is_root, left_over};
use crate::model::host::HostPattern;
use crate::model::intent::Route;

use super::hosts::{Hosts, Owner};

/// The routes that `exposed` hosts lack on a listener with these routes.
pub(super) fn missing(exposed: &[(&HostPattern, &Owner)], hosts: &Hosts, routes: &[Route]) -> Vec<Route> {
    let mut known: HashMap<&HostPattern, Vec<&Route>> = HashMap::new();
    for route in routes {
        known.entry(&route.host).or_default().push(route);
    }
    let mut more = Vec::new();
    for (host, owner) in exposed {
        let here = known.get(host).map_or(&[][..], Vec::as_slice);
        let has_root = here.iter().any(|route| is_root(route));
        if has_root || !host.broader().any(|broader| known.contains_key(&broader)) {
            continue;
        }
        let is_own = |host: &HostPattern| hosts.owner(host).is_some_and(|other| other.namespace == owner.namespace);
        let broader = host.broader().filter(is_own).filter_map(|broader| known.get(&broader).cloned());
        more.extend(left_over(host, here, broader, &owner.origin));
    }
    more
}
