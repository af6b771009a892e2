//! Pure. `backends:` of a pool: addresses, and names whose addresses are looked up.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::Keys;
use crate::model::host::Host;
use crate::model::intent::{Admin, Backend, NamedBackend};

const WEIGHTS: RangeInclusive<i64> = 0..=256;
/// What an address may look like.
const RIGHT: &str = "an address and a port like 192.0.2.7:8080, or a name and a port like nas.lan:8080";

/// What stands for an address.
enum Place {
    Address(SocketAddr),
    Name(Arc<str>, u16),
}

/// One entry of the list.
enum Entry {
    Backend(Backend),
    Name(NamedBackend),
}

impl Door<'_> {
    pub(super) fn backends(&mut self, node: &Node) -> (Vec<Backend>, Vec<NamedBackend>) {
        let items = self.faults.list(node, "a list like [192.0.2.7:8080, {address: 192.0.2.8:8080, weight: 2}]");
        let (mut backends, mut names) = (Vec::with_capacity(items.len()), Vec::new());
        let mut seen = HashSet::with_capacity(items.len());
        for item in items {
            let Some(entry) = self.backend(item) else { continue };
            let (place, instance) = match &entry {
                Entry::Backend(backend) => (backend.address.to_string(), backend.instance.clone()),
                Entry::Name(name) => (format!("{}:{}", name.host, name.port), "".into()),
            };
            if seen.contains(&(place.clone(), instance.clone())) {
                self.faults.wrong(item, format_args!("{place} is listed twice; give it more weight instead"));
                continue;
            }
            seen.insert((place, instance));
            match entry {
                Entry::Backend(backend) => backends.push(backend),
                Entry::Name(name) => names.push(name),
            }
        }
        (backends, names)
    }

    fn backend(&mut self, node: &Node) -> Option<Entry> {
        let Value::Map(_) = node.value else {
            return Some(match self.place(node)? {
                Place::Address(address) => Entry::Backend(Backend::new(address)),
                Place::Name(host, port) => Entry::Name(named(host, port)),
            });
        };
        let known = ["address", "weight", "backup", "instance", "node", "state"];
        let keys = self.faults.keys(node, &known, &[])?;
        let Some(address) = keys.find("address") else {
            self.faults.wrong(node, "has no address; add address: 192.0.2.7:8080");
            return None;
        };
        match self.place(address)? {
            Place::Address(address) => {
                let mut backend = Backend::new(address);
                self.common(&keys, &mut backend.weight, &mut backend.backup, &mut backend.admin);
                let who =
                    [("instance", "who lives there", &mut backend.instance), ("node", "a node", &mut backend.node)];
                for (key, right, into) in who {
                    if let Some(text) = keys.find(key).and_then(|node| self.faults.text(node, right)) {
                        *into = text.into();
                    }
                }
                Some(Entry::Backend(backend))
            }
            Place::Name(host, port) => {
                let mut name = named(host, port);
                self.common(&keys, &mut name.weight, &mut name.backup, &mut name.admin);
                for key in ["instance", "node"] {
                    if let Some(node) = keys.find(key) {
                        let host = &name.host;
                        let right = "write the address itself, or leave it out";
                        self.faults
                            .wrong(node, format_args!("is for one address, and {host} may have several; {right}"));
                    }
                }
                Some(Entry::Name(name))
            }
        }
    }

    fn common(&mut self, keys: &Keys<'_>, weight: &mut u16, backup: &mut bool, admin: &mut Admin) {
        if let Some(number) = keys.find("weight").and_then(|node| self.faults.whole(node, WEIGHTS)) {
            *weight = u16::try_from(number).unwrap_or(1);
        }
        if let Some(on) = keys.find("backup").and_then(|node| self.faults.switch(node)) {
            *backup = on;
        }
        if let Some(node) = keys.find("state") {
            let words = [("ready", Admin::Ready), ("drain", Admin::Drain), ("maintain", Admin::Maintain)];
            *admin = self.faults.choice(node, &words, &[]).unwrap_or_default();
        }
    }

    fn place(&mut self, node: &Node) -> Option<Place> {
        let text = self.faults.text(node, RIGHT)?;
        if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 || address.ip().is_unspecified() {
                self.faults.wrong(node, format_args!("{address} cannot be dialled; write {RIGHT}"));
                return None;
            }
            return Some(Place::Address(address));
        }
        if text.contains("://") {
            let spoken = "the pool's protocol says what is spoken there";
            self.faults.wrong(node, format_args!("{} is a URL; write {RIGHT}; {spoken}", node.value));
            return None;
        }
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let Some((host, port)) = parts.filter(|(_, port)| *port != 0) else {
            self.faults.wrong(node, format_args!("{} is not a place to go to; write {RIGHT}", node.value));
            return None;
        };
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
            self.faults.wrong(node, format_args!("{} needs brackets; write \"[{host}]:{port}\"", node.value));
            return None;
        }
        match Host::parse(host) {
            // What ends in a number is an address that somebody mistyped; no name does (RFC 3696 §2).
            Ok(name) if !name.as_str().rsplit('.').next().is_some_and(is_number) => {
                Some(Place::Name(name.as_str().into(), port))
            }
            Ok(_) => {
                self.faults.wrong(node, format_args!("{} is not an IP address; write {RIGHT}", node.value));
                None
            }
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }
}

fn named(host: Arc<str>, port: u16) -> NamedBackend {
    NamedBackend { host, port, weight: 1, admin: Admin::Ready, backup: false }
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}
