//! Pure. A host's own paths may leave requests over; those never go to another namespace.
//!
//! Theory: a route table tries a host's own paths, then its wildcard's, then those of the default host. Within one
//! owner that is what a default backend is for. Between two it would hand one's cookies, and one's proof of ownership
//! before an ACME server, to whoever owns a broader pattern. So a host with a foreign pattern next in line gets a root
//! of its own: that of its namespace's default backend where it has one, else 404.

use std::collections::HashMap;

use crate::model::host::HostPattern;
use crate::model::intent::{Action, PathMatch, Route};

use super::hosts::{Hosts, Owner};

/// The roots that `exposed` hosts lack on a listener with these routes.
pub(super) fn roots(exposed: &[(&HostPattern, &Owner)], hosts: &Hosts, routes: &[Route]) -> Vec<Route> {
    // Of each host that has a route here, the one for all paths.
    let mut known: HashMap<&HostPattern, Option<&Route>> = HashMap::new();
    for route in routes {
        let root = known.entry(&route.host).or_default();
        if root.is_none() && is_root(&route.path) {
            *root = Some(route);
        }
    }
    let mut roots = Vec::new();
    for (host, owner) in exposed {
        let has_root = known.get(host).is_some_and(Option::is_some);
        if has_root || !host.broader().any(|broader| known.contains_key(&broader)) {
            continue;
        }
        let is_own = |host: &HostPattern| hosts.owner(host).is_some_and(|other| other.namespace == owner.namespace);
        let own = host.broader().filter(is_own).find_map(|broader| *known.get(&broader)?);
        let (action, filters, origin) = match own {
            Some(own) => (own.action.clone(), own.filters.clone(), &own.origin),
            None => (Action::NotFound, None, &owner.origin),
        };
        roots.push(Route {
            host: (*host).clone(),
            alpn: Vec::new(),
            path: PathMatch::any(),
            action,
            filters,
            origin: origin.clone(),
        });
    }
    roots
}

fn is_root(path: &PathMatch) -> bool {
    matches!(path, PathMatch::Prefix(path) if path.trim_end_matches('/').is_empty())
}
