//! Pure. What the paths of a cluster's host leave over never goes to another cluster.
//!
//! Theory: a route table tries a host's own paths, then its wildcard's, then those of the default host. Where clusters
//! share an address, the default backend of one would get the requests, cookies and all, that the hosts of the other
//! have no path for. So a host whose next broader pattern is another cluster's gets, as `left_over` says, what it would
//! reach without that cluster. Within a cluster `kube::translate` does the same between namespaces. The file is no
//! cluster: what it serves for broader patterns is for all, as its author wished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::host::HostPattern;
use crate::model::intent::{Intent, Listener, Protocol, Route};

use super::file::schema::SOURCE;
use super::left_over::{is_root, left_over};

/// Adds the routes that are missing where clusters share an address. A listener that comes out as in `last` is the same
/// Arc, so that the next comparison sees at a glance that nothing changed.
pub(super) fn fence(intent: &mut Intent, last: Option<&Intent>) {
    for (key, listener) in &mut intent.listeners {
        let more = match listener.protocol {
            Protocol::Http | Protocol::Https => missing(listener),
            Protocol::Tcp | Protocol::Udp | Protocol::TlsPassthrough => Vec::new(),
        };
        if more.is_empty() {
            continue;
        }
        Arc::make_mut(listener).routes.extend(more);
        if let Some(same) = last.and_then(|last| last.listeners.get(key)).filter(|last| *last == listener) {
            *listener = same.clone();
        }
    }
}

fn is_of_a_cluster(route: &Route) -> bool {
    *route.origin.source != *SOURCE
}

fn missing(listener: &Listener) -> Vec<Route> {
    let mut clusters = listener.routes.iter().filter(|route| is_of_a_cluster(route)).map(|route| &route.origin.source);
    let first = clusters.next();
    if clusters.all(|other| Some(other) == first) {
        return Vec::new();
    }
    let mut hosts: BTreeMap<&HostPattern, Vec<&Route>> = BTreeMap::new();
    for route in &listener.routes {
        hosts.entry(&route.host).or_default().push(route);
    }
    let mut more = Vec::new();
    for (host, routes) in &hosts {
        let Some(first) = routes.iter().find(|route| is_of_a_cluster(route)) else { continue };
        let own: BTreeSet<&str> = routes.iter().map(|route| &*route.origin.source).collect();
        let is_foreign = |route: &&Route| is_of_a_cluster(route) && !own.contains(&*route.origin.source);
        // A pattern that is the file's alone has no fence of its own: what it leaves over goes on.
        let is_fenced = |routes: &&Vec<&Route>| routes.iter().any(|route| is_of_a_cluster(route));
        let next = host.broader().filter_map(|broader| hosts.get(&broader)).find(is_fenced);
        if routes.iter().any(|route| is_root(route)) || !next.is_some_and(|next| next.iter().any(is_foreign)) {
            continue;
        }
        let source = &*first.origin.source;
        let is_for_it = |route: &&Route| *route.origin.source == *source || !is_of_a_cluster(route);
        let broader = host
            .broader()
            .filter_map(|broader| hosts.get(&broader).map(|routes| routes.iter().copied().filter(is_for_it).collect()));
        more.extend(left_over(host, routes, broader, &first.origin));
    }
    more
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
        fence(&mut intent, None);
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
    fn the_files_default_stays_for_all() {
        let file = asks("file", "http", &[("*", "/"), ("*", "/up")]);
        let home = asks("home", "http", &[("a.shop.test", "/cart")]);
        let lab = asks("lab", "http", &[("*", "/labx")]);
        let served = ["a.shop.test / Some(\"file\")", "a.shop.test /up Some(\"file\")"];
        assert_eq!(added(&[file, home, lab]), served);
    }

    #[test]
    fn a_host_of_the_file_between_does_not_let_through() {
        let file = asks("file", "http", &[("*.shop.test", "/up")]);
        let home = asks("home", "http", &[("a.shop.test", "/cart")]);
        let lab = asks("lab", "http", &[("*", "/")]);
        assert_eq!(added(&[file, home, lab]), ["a.shop.test /up Some(\"file\")", "a.shop.test / None"]);
    }

    #[test]
    fn the_other_paths_of_its_own_clusters_broader_hosts_stay_too() {
        let home =
            [("a.shop.test", "/cart"), ("*.shop.test", "/static"), ("*.shop.test", "/cart/x"), ("*", "/static/y")];
        let lab = asks("lab", "http", &[("*.shop.test", "/y")]);
        // /cart/x is below the host's own /cart, and /static/y below the wildcard's /static: neither was reached before.
        assert_eq!(
            added(&[asks("home", "http", &home), lab]),
            ["a.shop.test /static Some(\"home\")", "a.shop.test / None"]
        );
    }

    #[test]
    fn what_is_added_keeps_a_merge_of_many_the_same_twice() {
        let fragments = [asks("home", "http", &[("shop.test", "/cart")]), asks("lab", "http", &[("*", "/")])];
        let (mut intent, _) = merge(&fragments);
        fence(&mut intent, None);
        let once = intent.clone();
        fence(&mut intent, None);
        assert_eq!(intent, once);
        let (mut again, _) = merge(&fragments);
        fence(&mut again, Some(&once));
        let is_same = |(key, listener)| Arc::ptr_eq(&once.listeners[key], listener);
        assert!(again.listeners.iter().all(is_same), "the same Arc when nothing changed");
    }
}
