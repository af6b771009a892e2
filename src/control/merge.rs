//! Pure. All fragments into one intent.
//!
//! The first to ask keeps what it has; who comes later and clashes is told so, with the name of who was first. The
//! order of fragments is the file's own listeners, then the clusters as the file lists them; within a cluster the
//! older object comes first. What does not clash is never lost.
//!
//! Of two `https` listeners on one address, one strict about server names and one not, the union is strict: the
//! fallback of one owner must not answer for the unknown names of another. Only a listener that is alone on its
//! address, or among its like, falls back to its first certificate.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt::Display;
use std::sync::Arc;

use crate::model::host::HostPattern;
use crate::model::intent::{Action, CertName, Intent, Listener, ListenerKey, Order, PathMatch, Protocol, Route};
use crate::model::problem::{Cause, Origin, Problem};

/// Folds fragments into one intent, and says what could not go in.
pub(super) fn merge<'f>(fragments: impl IntoIterator<Item = &'f Intent>) -> (Intent, Vec<Problem>) {
    let mut merged = Intent::default();
    let mut taken = HashMap::new();
    let mut sockets = Sockets::default();
    let mut problems = Vec::new();
    for fragment in fragments {
        keep_first(&mut merged.pools, &fragment.pools, |p| &p.origin, "pool", &mut problems);
        keep_first(&mut merged.certs, &fragment.certs, |c| &c.origin, "certificate", &mut problems);
        keep_orders(&mut merged.orders, &fragment.orders, &mut problems);
        for (key, listener) in &fragment.listeners {
            if let Some(first) = sockets.take(*key) {
                let held = merged.listeners.get(&first).map_or(&listener.origin, |held| &held.origin);
                problems.push(overlap(*key, listener, first, held));
                continue;
            }
            let taken = taken.entry(*key).or_default();
            unite(&mut merged.listeners, *key, listener, taken, &mut problems);
        }
    }
    problems.sort();
    problems.dedup();
    (merged, problems)
}

fn keep_first<N: Clone + Display + Ord, T: PartialEq>(
    into: &mut BTreeMap<N, Arc<T>>,
    from: &BTreeMap<N, Arc<T>>,
    origin: impl Fn(&T) -> &Origin,
    noun: &str,
    problems: &mut Vec<Problem>,
) {
    for (name, later) in from {
        match into.entry(name.clone()) {
            Entry::Vacant(free) => drop(free.insert(later.clone())),
            Entry::Occupied(held) if held.get() == later => {}
            Entry::Occupied(held) => problems.push(Problem::new(
                origin(later),
                format!(
                    "{noun} {name} already comes from {}, which keeps the name; choose another",
                    origin(held.get())
                ),
            )),
        }
    }
}

/// Who asks for the same hosts in the same way shares one order.
fn keep_orders(
    into: &mut BTreeMap<CertName, Arc<Order>>,
    from: &BTreeMap<CertName, Arc<Order>>,
    problems: &mut Vec<Problem>,
) {
    for (name, later) in from {
        let held = into.entry(name.clone()).or_insert_with(|| later.clone());
        if !held.is_like(later) {
            let reason = format!(
                "{} asks for a certificate for the same hosts in another way, and that one is used; write the same \
                 email, directory, ca and challenge at both",
                held.origin
            );
            problems.push(Problem::new(&later.origin, reason));
        }
    }
}

/// The sockets that are taken, by port.
#[derive(Default)]
struct Sockets(HashMap<u16, Vec<ListenerKey>>);

impl Sockets {
    /// Takes a socket, unless it overlaps with one that is taken: that one. A socket may be taken again and again.
    fn take(&mut self, key: ListenerKey) -> Option<ListenerKey> {
        let taken = self.0.entry(key.address.port()).or_default();
        let first = taken.iter().find(|first| key.overlaps(**first)).copied();
        if first.is_none() && !taken.contains(&key) {
            taken.push(key);
        }
        first
    }
}

fn overlap(key: ListenerKey, later: &Listener, first: ListenerKey, held: &Origin) -> Problem {
    let (asked, taken) = (key.address, first.address);
    let reason = format!(
        "{asked} overlaps with {taken}, which {held} has; choose another port, or give each an address of its own"
    );
    Problem::new(&later.origin, reason).because(Cause::AddressTaken)
}

/// Which requests a route is for: two routes with one slot cannot both be served.
type Slot<'f> = (&'f HostPattern, &'f [Arc<str>], u8, &'f str);

fn slot(route: &Route) -> Slot<'_> {
    let Route { host, alpn, path, action: _, filters: _, origin: _ } = route;
    match path {
        PathMatch::Exact(path) => (host, alpn, 0, path),
        // The route table makes no difference between /foo and /foo/ either.
        PathMatch::Prefix(path) => (host, alpn, 1, path.trim_end_matches('/')),
        PathMatch::Regex(expression) => (host, alpn, 2, expression),
    }
}

fn unite<'f>(
    into: &mut BTreeMap<ListenerKey, Arc<Listener>>,
    key: ListenerKey,
    later: &'f Arc<Listener>,
    taken: &mut HashMap<Slot<'f>, &'f Route>,
    problems: &mut Vec<Problem>,
) {
    match into.entry(key) {
        Entry::Vacant(free) => {
            let routes = free_routes(key, later, &later.name, taken, problems);
            // The same Arc, so that the next compile sees at a glance that nothing changed.
            free.insert(if routes.len() == later.routes.len() {
                later.clone()
            } else {
                Arc::new(Listener { routes: routes.into_iter().cloned().collect(), ..Listener::clone(later) })
            });
        }
        Entry::Occupied(mut held) => {
            if let Some(reason) = cannot_share(key, held.get(), later) {
                problems.push(Problem::new(&later.origin, reason).because(Cause::AddressTaken));
                return;
            }
            // Whole, without `..`: of a field that is added it must be said here what the union has. The name, the
            // ranges, the rules of HTTP, the limits and the origin are those of the first; what guards was compared above.
            let Listener {
                name: _,
                protocol: _,
                routes: _,
                certs,
                strict_sni,
                tls: _,
                essential,
                sources: _,
                proxies: _,
                http: _,
                limits: _,
                flow_idle: _,
                origin: _,
            } = &**later;
            let name = held.get().name.clone();
            let routes = free_routes(key, later, &name, taken, problems);
            let certs: Vec<_> = certs.iter().filter(|c| !held.get().certs.contains(c)).collect();
            let is_stricter = *strict_sni && !held.get().strict_sni;
            let is_more = *essential && !held.get().essential;
            if routes.is_empty() && certs.is_empty() && !is_stricter && !is_more {
                return;
            }
            let both = Arc::make_mut(held.get_mut());
            both.routes.extend(routes.into_iter().cloned());
            both.essential |= *essential;
            both.certs.extend(certs.into_iter().cloned());
            both.strict_sni |= *strict_sni;
        }
    }
}

/// Why `later` cannot share the address that `held` has; `None` when it can.
fn cannot_share(key: ListenerKey, held: &Listener, later: &Listener) -> Option<String> {
    let address = key.address;
    if held.protocol != later.protocol {
        return Some(format!(
            "asks for {address} as {}, but {} has it as {}; choose another address or the same protocol",
            later.protocol, held.origin, held.protocol
        ));
    }
    // Routes that ask for no rule of their own may live under a stricter one; never the other way round.
    if later.sources != held.sources && later.sources != Default::default() {
        return Some(format!(
            "asks for other source ranges on {address} than {}, which has it; choose another address or the same ranges",
            held.origin
        ));
    }
    // As with ranges: who asks for nothing of his own lives by the rules of who was first.
    if later.http != held.http && later.http != Default::default() {
        return Some(format!(
            "asks for other paths or trusted_proxies on {address} than {}, which has it; choose another address or the \
             same ones",
            held.origin
        ));
    }
    if later.tls != held.tls && later.tls != Default::default() {
        return Some(format!(
            "asks for other tls rules on {address} than {}, which has it; choose another address or the same rules",
            held.origin
        ));
    }
    // A header that one owner trusts would name clients to the other; a limit of one would be shared by both.
    let guards = |l: &Listener| (l.proxies.clone(), l.limits, l.flow_idle);
    if guards(later) != guards(held) && guards(later) != Default::default() {
        return Some(format!(
            "asks for other limits or PROXY protocol sources on {address} than {}, which has it; choose another address \
             or the same ones",
            held.origin
        ));
    }
    None
}

/// The routes of `listener` whose slot is free, now taken. What is lost is told, unless another does the same.
fn free_routes<'f>(
    key: ListenerKey,
    listener: &'f Listener,
    name: &str,
    taken: &mut HashMap<Slot<'f>, &'f Route>,
    problems: &mut Vec<Problem>,
) -> Vec<&'f Route> {
    let mut free = Vec::with_capacity(listener.routes.len());
    for route in &listener.routes {
        match taken.get(&slot(route)) {
            None => {
                taken.insert(slot(route), route);
                free.push(route);
            }
            Some(first) if first.action == route.action && first.filters == route.filters => {}
            // Nobody asked for it: whoever has the host's root keeps broader routes out as well.
            Some(_) if route.action == Action::NotFound => {}
            Some(first) => {
                let (cause, reason) = lost(key, listener.protocol, name, route, first);
                problems.push(Problem::new(&route.origin, reason).because(cause));
            }
        }
    }
    free
}

/// Why a route is not served beside the one that has its slot.
fn lost(key: ListenerKey, protocol: Protocol, name: &str, route: &Route, first: &Route) -> (Cause, String) {
    let Route { host, path, alpn, .. } = route;
    let holder = format!("is already given to {}, which keeps it", first.origin);
    match protocol {
        Protocol::Tcp | Protocol::Udp => {
            (Cause::AddressTaken, format!("{} {holder}; choose another address", key.address))
        }
        Protocol::TlsPassthrough => {
            let alpn = if alpn.is_empty() { String::new() } else { format!(" with {}", alpn.join(", ")) };
            (Cause::HostTaken, format!("{host}{alpn} on {name} {holder}; choose another host or other alpn"))
        }
        Protocol::Http | Protocol::Https => {
            (Cause::HostTaken, format!("{host} {path} on {name} {holder}; choose another host or path"))
        }
    }
}

#[cfg(test)]
mod tests;
