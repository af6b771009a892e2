//! Pure. Values that several parts of the file share: addresses, hosts, source ranges.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::one_or_list;
use crate::model::host::HostPattern;

impl Node {
    /// Whether this very word stands here.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(&self.value, Value::Text(text) if text == word)
    }
}

impl Door<'_> {
    /// An address to listen on.
    pub(super) fn bind(&mut self, node: &Node) -> Option<SocketAddr> {
        let right = "an IP address and a port like 127.0.0.1:8080, or \"[::]:8080\" for every address of this host";
        if let Some(port) = bare_port(node) {
            self.faults.wrong(
                node,
                format_args!("has no address; write 0.0.0.0:{port} or \"[::]:{port}\" for every address of this host"),
            );
            return None;
        }
        self.faults.parsed(node, right)
    }

    /// One address or several to listen on, each once.
    pub(super) fn binds(&mut self, node: &Node) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for item in one_or_list(node) {
            if let Some(address) = self.bind(item) {
                if addresses.contains(&address) {
                    self.faults.wrong(item, format_args!("{address} is written twice; keep one"));
                } else {
                    addresses.push(address);
                }
            }
        }
        addresses
    }

    /// A host, a wildcard or `*`.
    pub(super) fn host(&mut self, node: &Node) -> Option<HostPattern> {
        let text = self.faults.text(node, "a host like shop.example.test or \"*.example.test\"")?;
        match HostPattern::parse(&text) {
            Ok(host) => Some(host),
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }

    /// An IP address.
    pub(super) fn ip(&mut self, node: &Node) -> Option<IpAddr> {
        self.faults.parsed(node, "an IP address like 192.0.2.10")
    }

    /// Source ranges; a bare address is a range of one.
    pub(super) fn ranges(&mut self, node: &Node) -> Vec<IpNet> {
        let items = self.faults.list(node, "a list of ranges like [10.0.0.0/8, 192.0.2.7]");
        let mut ranges = Vec::with_capacity(items.len());
        for item in items {
            let Some(text) = self.faults.text(item, "a range like 10.0.0.0/8") else { continue };
            match text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(range) => ranges.push(range),
                Err(_) => self.faults.wrong(
                    item,
                    format_args!("{} is not a source range; write one like 10.0.0.0/8 or 192.0.2.7", item.value),
                ),
            }
        }
        ranges
    }
}

/// The port, where somebody wrote `8080` or `:8080` or `*:8080`.
fn bare_port(node: &Node) -> Option<u16> {
    match &node.value {
        Value::Whole(port) => u16::try_from(*port).ok(),
        Value::Text(text) => text.strip_prefix('*').unwrap_or(text).strip_prefix(':')?.parse().ok(),
        _ => None,
    }
}
