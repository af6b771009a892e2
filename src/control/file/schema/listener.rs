//! Pure. `listeners:`.

use std::sync::Arc;

use super::Door;
use crate::control::file::nearest::nearest;
use crate::control::file::node::{Key, Node, Value};
use crate::control::file::read::{Keys, one_or_list};
use crate::control::{ocsp, pem};
use crate::model::host::HostPattern;
use crate::model::intent::{
    Action, CertName, Intent, Listener, ListenerKey, PathMatch, PoolName, Protocol, Route, SourceRules,
};
use crate::model::route::Matcher;

mod acme;
mod client;
mod filters;
mod http;
mod limits;
mod tls;

/// How many names an error lists.
const SHOWN: usize = 10;

impl Door<'_> {
    /// Adds a fragment for each listener, so that `merge` unites those that share an address.
    pub(super) fn listeners(&mut self, node: &Node, into: &mut Vec<Intent>) {
        for (name, node) in self.faults.named(node, "listener") {
            if let Some(fragment) = self.listener(name, node) {
                into.push(fragment);
            }
        }
    }

    fn listener(&mut self, name: &Key, node: &Node) -> Option<Intent> {
        let known = [
            "bind",
            "protocol",
            "routes",
            "pool",
            "certificates",
            "tls",
            "allow",
            "deny",
            "accept_proxy_protocol",
            "paths",
            "trusted_proxies",
            "max_connections",
            "per_source",
            "bandwidth",
            "idle",
            "requests_per_connection",
            "timeouts",
        ];
        let keys = self.faults.keys(node, &known, &[("acme", &["none"])])?;
        let origin = self.origin(format!("listener {}", name.text), name.at);
        let protocol = self.protocol(name, &keys);
        let addresses = match keys.find("bind") {
            Some(node) => self.binds(node),
            None => {
                let path = &node.path;
                self.faults.add(name.at, format!("{path}: has no bind; add bind: 127.0.0.1:8080"));
                Vec::new()
            }
        };
        let mut fragment = Intent::default();
        let routes = self.routes(name, protocol, &keys);
        let listener = Arc::new(Listener {
            name: name.text.as_str().into(),
            protocol,
            certs: self.certificates(name, protocol, &keys, &routes, &mut fragment),
            routes,
            strict_sni: false,
            tls: self.tls(protocol, &keys),
            sources: SourceRules {
                allow: keys.find("allow").map(|node| self.ranges(node)).unwrap_or_default(),
                deny: keys.find("deny").map(|node| self.ranges(node)).unwrap_or_default(),
            },
            essential: true,
            proxies: self.proxies(protocol, &keys),
            http: self.http_rules(protocol, &keys),
            limits: self.limits(protocol, &keys),
            flow_idle: self.flow_idle(protocol, &keys),
            origin,
        });
        fragment.listeners = addresses.into_iter().map(|a| (ListenerKey::of(protocol, a), listener.clone())).collect();
        Some(fragment)
    }

    fn protocol(&mut self, name: &Key, keys: &Keys<'_>) -> Protocol {
        let words = [
            ("tcp", Protocol::Tcp),
            ("udp", Protocol::Udp),
            ("http", Protocol::Http),
            ("https", Protocol::Https),
            ("tls-passthrough", Protocol::TlsPassthrough),
        ];
        // What it may have been, by its other keys, so that no line about them follows which is not true.
        let likely = match () {
            () if ["certificates", "tls"].iter().any(|key| keys.find(key).is_some()) => Protocol::Https,
            () if keys.find("idle").is_some() => Protocol::Udp,
            () => Protocol::Http,
        };
        match keys.find("protocol") {
            Some(node) => self.faults.choice(node, &words, &[]).unwrap_or(likely),
            None => {
                let path = keys.path;
                let right = "protocol: tcp, udp, http, https or tls-passthrough";
                self.faults.add(name.at, format!("{path}: has no protocol; add {right}"));
                likely
            }
        }
    }

    fn routes(&mut self, name: &Key, protocol: Protocol, keys: &Keys<'_>) -> Vec<Route> {
        let mut routes = Vec::new();
        let has_routes = !matches!(protocol, Protocol::Tcp | Protocol::Udp);
        if let Some(node) = keys.find("routes") {
            if !has_routes {
                let wrong = format_args!("a {protocol} listener has nothing to route by; write pool: instead");
                self.faults.wrong(node, wrong);
                return routes;
            }
            let items = self.faults.list(node, "a list like [{host: shop.example.test, path: /cart, pool: cart}]");
            for (number, item) in items.iter().enumerate() {
                routes.extend(self.route(name, protocol, number + 1, item));
            }
        }
        if let Some(node) = keys.find("pool") {
            // Not the listener's own origin: a clash on the catch-all is told where the pool is written.
            let origin = self.origin(format!("listener {} pool", name.text), node.at);
            if let Some(action) = self.forward(node) {
                let (host, path) = (HostPattern::Any, PathMatch::any());
                routes.push(Route { host, alpn: Vec::new(), path, action, filters: None, origin });
            }
        } else if keys.find("routes").is_none() {
            let right = if has_routes { "pool: NAME or routes: [{pool: NAME}]" } else { "pool: NAME" };
            let path = keys.path;
            self.faults.add(name.at, format!("{path}: leads nowhere; add {right}"));
        }
        routes
    }

    fn route(&mut self, name: &Key, protocol: Protocol, number: usize, node: &Node) -> Option<Route> {
        let known = [&["host", "path", "exact", "regex", "alpn", "pool", "redirect"][..], &filters::KEYS].concat();
        let keys = self.faults.keys(node, &known, &[])?;
        let origin = self.origin(format!("listener {} route {number}", name.text), node.at);
        let host = match keys.find("host") {
            Some(node) => self.host(node),
            None => Some(HostPattern::Any),
        };
        let is_passed_through = protocol == Protocol::TlsPassthrough;
        for key in ["path", "exact", "regex"] {
            if let Some(node) = keys.find(key).filter(|_| is_passed_through) {
                let right = "leave it out, or end TLS here with protocol: https";
                self.faults.wrong(node, format_args!("a tls-passthrough listener sees no paths; {right}"));
            }
        }
        let alpn = match keys.find("alpn") {
            Some(node) if is_passed_through => self.alpn(node),
            Some(node) => {
                self.faults
                    .wrong(node, format_args!("is for tls-passthrough; this listener is {protocol}: leave it out"));
                Vec::new()
            }
            None => Vec::new(),
        };
        let path = if is_passed_through { Some(PathMatch::any()) } else { self.path_match(node, &keys) };
        for node in known[6..].iter().filter(|_| is_passed_through).filter_map(|key| keys.find(key)) {
            let right = "leave it out, or end TLS here with protocol: https";
            self.faults.wrong(node, format_args!("a tls-passthrough listener sees no requests; {right}"));
        }
        let path = path?;
        let action = match (keys.find("pool"), keys.find("redirect")) {
            (Some(pool), None) => self.forward(pool),
            (pool, Some(redirect)) => self.redirect(protocol, redirect, &path, pool),
            (None, None) => {
                self.faults.wrong(node, "leads nowhere; add pool: NAME, or redirect: {scheme: https}");
                return None;
            }
        };
        let leads_nowhere_else = keys.find("redirect").is_some() && keys.find("pool").is_none();
        let filters = self.filters(&keys, &path, leads_nowhere_else);
        let filters = (!filters.is_empty()).then(|| Arc::new(filters));
        Some(Route { action: action?, host: host?, alpn, path, filters, origin })
    }

    /// Application protocols, one or a list, as clients offer them (RFC 7301).
    fn alpn(&mut self, node: &Node) -> Vec<Arc<str>> {
        let mut all: Vec<Arc<str>> = Vec::new();
        for item in one_or_list(node) {
            let Some(text) = self.faults.text(item, "an application protocol like h2 or http/1.1") else { continue };
            if text.is_empty() || text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let right = "write one like h2 or http/1.1";
                self.faults.wrong(item, format_args!("{} is not an application protocol; {right}", item.value));
            } else if !all.iter().any(|known| **known == *text) {
                all.push(text.into());
            }
        }
        if all.is_empty() && matches!(node.value, Value::List(_)) {
            self.faults.wrong(node, "is empty; write one like h2, or leave it out for all");
        }
        all
    }

    fn path_match(&mut self, route: &Node, keys: &Keys<'_>) -> Option<PathMatch> {
        let ways = ["path", "exact", "regex"].map(|way| keys.find(way).map(|node| (way, node)));
        let mut ways = ways.into_iter().flatten();
        let Some((way, node)) = ways.next() else { return Some(PathMatch::any()) };
        if let Some((other, _)) = ways.next() {
            self.faults.wrong(route, format_args!("has both {way}: and {other}:; keep one"));
            return None;
        }
        let text: Arc<str> = self.faults.text(node, "a path like /cart")?.into();
        if way == "regex" {
            let path = PathMatch::Regex(text);
            return match Matcher::new(&path) {
                Ok(_) => Some(path),
                Err(reason) => {
                    self.faults.wrong(node, format_args!("{}; write one like ^/v[0-9]+/", one_line(&reason)));
                    None
                }
            };
        }
        if !text.starts_with('/') || text.contains(['?', '#']) || text.contains(char::is_whitespace) {
            self.faults.wrong(node, format_args!("{} is not a path; write one like /cart", node.value));
            return None;
        }
        Some(if way == "exact" { PathMatch::Exact(text) } else { PathMatch::Prefix(text) })
    }

    pub(super) fn forward(&mut self, node: &Node) -> Option<Action> {
        let name = PoolName::new(self.faults.text(node, "the name of a pool")?);
        let pools = self.pools.as_deref().unwrap_or_default();
        if !pools.contains(&name) {
            let meant = nearest(name.as_str(), pools.iter().map(PoolName::as_str));
            let right = match meant {
                Some(meant) => format!("did you mean {meant:?}?"),
                None if pools.is_empty() => "add it under pools:".to_owned(),
                None => {
                    let some: Vec<_> = pools.iter().take(SHOWN).map(PoolName::as_str).collect();
                    format!("there are: {}{}", some.join(", "), if pools.len() > SHOWN { ", …" } else { "" })
                }
            };
            self.faults.wrong(node, format_args!("there is no pool {:?}; {right}", name.as_str()));
            return None;
        }
        Some(Action::Forward(name))
    }

    fn certificates(
        &mut self,
        name: &Key,
        protocol: Protocol,
        keys: &Keys<'_>,
        routes: &[Route],
        into: &mut Intent,
    ) -> Vec<CertName> {
        let Some(node) = keys.find("certificates") else {
            if protocol == Protocol::Https {
                let path = keys.path;
                let right = "certificates: [{cert: tls.crt, key: tls.key}]";
                self.faults.add(name.at, format!("{path}: is https but has no certificate; add {right}"));
            }
            return Vec::new();
        };
        if protocol != Protocol::Https {
            let right = "write protocol: https or leave it out";
            self.faults.wrong(node, format_args!("is for https; this listener is {protocol}: {right}"));
        }
        let items = self.faults.list(node, "a list like [{cert: tls.crt, key: tls.key}]");
        if items.is_empty() && protocol == Protocol::Https {
            self.faults.wrong(node, "is empty, so no handshake can succeed; add {cert: tls.crt, key: tls.key}");
        }
        let mut names = Vec::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            names.extend(self.certificate(name, number + 1, item, routes, into));
        }
        names
    }

    fn certificate(
        &mut self,
        listener: &Key,
        number: usize,
        node: &Node,
        routes: &[Route],
        into: &mut Intent,
    ) -> Option<CertName> {
        let keys = self.faults.keys(node, &["cert", "key", "ocsp", "acme"], &[])?;
        if matches!(&node.value, Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "acme")) {
            return self.acme(listener, number, node, &keys, routes, into);
        }
        let mut content = [None, None];
        for (slot, key) in content.iter_mut().zip(["cert", "key"]) {
            match keys.find(key) {
                Some(node) => *slot = self.content(node),
                None => self.faults.wrong(node, format_args!("has no {key}; add {key}: and the path of a PEM file")),
            }
        }
        let ocsp = keys.find("ocsp").and_then(|node| self.content(node));
        let [Some(cert), Some(key)] = content else { return None };
        let origin = self.origin(format!("listener {} certificate {number}", listener.text), node.at);
        match pem::parse(&cert, &key, &origin) {
            Ok(mut cert) => {
                cert.staple = ocsp.zip(cert.chain.first()).map(|(response, leaf)| ocsp::read(&response, leaf));
                let name = CertName::new(format!("{}/{number}", listener.text));
                into.certs.insert(name.clone(), Arc::new(cert));
                Some(name)
            }
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }
}

/// The words of an error that draws a picture over several lines: its last line says what is wrong.
fn one_line(reason: &str) -> String {
    let first = reason.lines().next().unwrap_or_default();
    match reason.lines().last() {
        Some(last) if last != first => format!("{} {}", first.trim_end(), last.trim()),
        _ => first.to_owned(),
    }
}
