//! Pure. How much may come in by a listener, and from behind whom: `max_connections:`, `per_source:`, `bandwidth:`,
//! `idle:` and `accept_proxy_protocol:`.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::model::intent::{Limits, Protocol};

/// More than that is no limit: a source has not so many ports, and a process not so many descriptors.
const MOST: u32 = 10_000_000;
/// Bytes per second. Below this not even a page would come through in a sensible time.
const BANDWIDTH: RangeInclusive<u64> = 1_000..=1_000_000_000_000;
const FLOW_IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

impl Door<'_> {
    pub(super) fn limits(&mut self, protocol: Protocol, keys: &Keys<'_>) -> Limits {
        let mut limits = Limits::default();
        if let Some(node) = keys.find("max_connections") {
            limits.connections = self.faults.count(node, MOST).unwrap_or_default();
        }
        if let Some(node) = keys.find("per_source").filter(|node| !node.is("none")) {
            self.per_source(node, &mut limits);
        }
        if let Some(node) = keys.find("bandwidth").filter(|node| !node.is("none")) {
            if protocol == Protocol::Udp {
                self.faults.wrong(node, "is for connections; a udp listener has none: leave it out");
            } else if let Some(keys) = self.faults.keys_or("none or ", node, &["connection", "total"], &[]) {
                limits.connection_bandwidth = keys.find("connection").and_then(|node| self.bandwidth(node));
                limits.bandwidth = keys.find("total").and_then(|node| self.bandwidth(node));
            }
        }
        limits.client = self.client_limits(protocol, keys);
        limits
    }

    fn per_source(&mut self, node: &Node, limits: &mut Limits) {
        let Some(keys) = self.faults.keys_or("none or ", node, &["connections", "rate"], &[]) else { return };
        if let Some(node) = keys.find("connections") {
            limits.per_source = self.faults.count(node, MOST).unwrap_or_default();
        }
        if let Some(node) = keys.find("rate").filter(|node| !node.is("none")) {
            limits.rate = self.faults.rate(node);
        }
    }

    fn bandwidth(&mut self, node: &Node) -> Option<NonZeroU64> {
        if node.is("none") {
            return None;
        }
        self.faults.bytes(node, BANDWIDTH, true).and_then(NonZeroU64::new)
    }

    /// How long a flow lives in silence.
    pub(super) fn flow_idle(&mut self, protocol: Protocol, keys: &Keys<'_>) -> Option<Duration> {
        let node = keys.find("idle")?;
        if protocol != Protocol::Udp {
            let right = "for connections, write timeouts: {idle: 1h} at the pool";
            self.faults.wrong(node, format_args!("is for udp; this listener is {protocol}: {right}"));
            return None;
        }
        self.faults.duration(node, FLOW_IDLE)
    }

    /// Whose connections begin with a PROXY protocol header.
    pub(super) fn proxies(&mut self, protocol: Protocol, keys: &Keys<'_>) -> Vec<IpNet> {
        let Some(node) = keys.find("accept_proxy_protocol").filter(|node| !node.is("none")) else { return Vec::new() };
        let ranges = self.ranges(node);
        if protocol == Protocol::Udp && !ranges.is_empty() {
            self.faults.wrong(node, "is for connections; a udp listener has none: leave it out");
            return Vec::new();
        }
        ranges
    }
}
