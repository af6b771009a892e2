//! Pure. What the paths of a cluster's host leave over never goes to another cluster.
//!
//! Theory: a route table tries a host's own paths, then its wildcard's, then those of the default host. Where clusters
//! share an address, the default backend of one would get the requests, cookies and all, that the hosts of the other
//! have no path for. So a host whose next broader pattern is another cluster's gets a root of its own: that of its own
//! cluster's broader pattern where there is one, else 404. Within a cluster `kube::translate` does the same between
//! namespaces. The file is no cluster: what it serves as the default is for all, as its author wished.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::host::HostPattern;
use crate::model::intent::{Action, Intent, Listener, PathMatch, Protocol, Route};

use super::file::schema::SOURCE;

/// Adds the roots that are missing where clusters share an address.
pub(super) fn fence(intent: &mut Intent) {
    for listener in intent.listeners.values_mut() {
        let roots = match listener.protocol {
            Protocol::Http | Protocol::Https => roots(listener),
            Protocol::Tcp | Protocol::Udp | Protocol::TlsPassthrough => Vec::new(),
        };
        if !roots.is_empty() {
            Arc::make_mut(listener).routes.extend(roots);
        }
    }
}

fn is_of_a_cluster(route: &Route) -> bool {
    *route.origin.source != *SOURCE
}

fn roots(listener: &Listener) -> Vec<Route> {
    let mut clusters = listener.routes.iter().filter(|route| is_of_a_cluster(route)).map(|route| &route.origin.source);
    let first = clusters.next();
    if clusters.all(|other| Some(other) == first) {
        return Vec::new();
    }
    let mut hosts: BTreeMap<&HostPattern, Vec<&Route>> = BTreeMap::new();
    for route in &listener.routes {
        hosts.entry(&route.host).or_default().push(route);
    }
    // Of a host and a source, the route for all paths.
    let is_root =
        |route: &&&Route| matches!(&route.path, PathMatch::Prefix(path) if path.trim_end_matches('/').is_empty());
    let known: HashMap<(&HostPattern, &str), &Route> = hosts
        .iter()
        .flat_map(|(host, routes)| routes.iter().filter(is_root).map(|route| ((*host, &*route.origin.source), *route)))
        .collect();
    let mut roots = Vec::new();
    for (host, routes) in &hosts {
        let Some(first) = routes.iter().find(|route| is_of_a_cluster(route)) else { continue };
        let own: BTreeSet<&str> = routes.iter().map(|route| &*route.origin.source).collect();
        let is_foreign = |route: &&Route| is_of_a_cluster(route) && !own.contains(&*route.origin.source);
        let next = host.broader().find_map(|broader| hosts.get(&broader));
        if routes.iter().any(|route| is_root(&route)) || !next.is_some_and(|next| next.iter().any(is_foreign)) {
            continue;
        }
        let source = &*first.origin.source;
        let root = host.broader().find_map(|broader| known.get(&(&broader, source)).copied());
        let (action, filters) =
            root.map_or((Action::NotFound, None), |root| (root.action.clone(), root.filters.clone()));
        let origin = root.unwrap_or(first).origin.clone();
        roots.push(Route { host: (*host).clone(), alpn: Vec::new(), path: PathMatch::any(), action, filters, origin });
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::file;
    use crate::control::merge::merge;
    use crate::model::problem::Origin;

    /// What a source asks for on one address: `host path` → a pool of that source's name.
    fn asks(source: &str, protocol: &str, routes: &[(&str, &str)]) -> Intent {
        let routes = routes.iter().map(|(host, path)| format!("{{host: \"{host}\", path: {path}, pool: {source}}}"));
        let routes: Vec<_> = routes.collect();
        let yaml = format!(
            "listeners: {{a: {{bind: 127.0.0.1:80, protocol: {protocol}, routes: [{}]}}}}\n\
             pools: {{{source}: {{backends: [127.0.0.1:1]}}}}\n",
            routes.join(", "),
        );
        let mut intent = file::parse(&yaml).unwrap().fragment;
        for listener in intent.listeners.values_mut() {
            for route in &mut Arc::make_mut(listener).routes {
                route.origin = Origin::new(source, route.origin.object.clone());
            }
        }
        intent
    }

    /// The routes that were added: host, and what is done.
    fn added(fragments: &[Intent]) -> Vec<String> {
        let (mut intent, _) = merge(fragments);
        let before = intent.listeners.values().map(|listener| listener.routes.len()).sum();
        fence(&mut intent);
        let routes = intent.listeners.values().flat_map(|listener| &listener.routes).skip(before);
        routes
            .map(|route| format!("{} {} {:?}", route.host, route.path, route.action.pool().map(|p| p.as_str())))
            .collect()
    }

    #[test]
    fn what_a_host_leaves_over_stays_in_its_cluster() {
        let home = || asks("home", "http", &[("shop.test", "/cart"), ("whole.test", "/")]);
        let lab = || asks("lab", "http", &[("*", "/")]);
        assert_eq!(added(&[home(), lab()]), ["shop.test / None"]);
        assert_eq!(added(&[lab(), home()]), ["shop.test / None"]);
        let wild = || asks("lab", "http", &[("*.shop.test", "/x")]);
        assert_eq!(added(&[asks("home", "http", &[("a.shop.test", "/cart")]), wild()]), ["a.shop.test / None"]);
    }

    #[test]
    fn its_own_clusters_default_gets_it_where_there_is_one() {
        let home = asks("home", "http", &[("a.shop.test", "/cart"), ("*", "/")]);
        let lab = asks("lab", "http", &[("*.shop.test", "/")]);
        assert_eq!(added(&[home, lab]), ["a.shop.test / Some(\"home\")"]);
    }

    #[test]
    fn within_a_cluster_and_with_the_file_nothing_is_changed() {
        let home = || asks("home", "http", &[("shop.test", "/cart"), ("*", "/")]);
        assert_eq!(added(&[home()]), [""; 0]);
        assert_eq!(
            added(&[asks("file", "http", &[("*", "/")]), asks("home", "http", &[("shop.test", "/cart")])]),
            [""; 0]
        );
        assert_eq!(added(&[home(), asks("lab", "http", &[("other.test", "/")])]), [""; 0]);
    }

    #[test]
    fn what_is_added_keeps_a_merge_of_many_the_same_twice() {
        let fragments = [asks("home", "http", &[("shop.test", "/cart")]), asks("lab", "http", &[("*", "/")])];
        let (mut intent, _) = merge(&fragments);
        fence(&mut intent);
        let once = intent.clone();
        fence(&mut intent);
        assert_eq!(intent, once);
    }
}
