//! Pure. How long an HTTP client may take and how much one connection carries: `timeouts:` and
//! `requests_per_connection:`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::model::intent::{ClientLimits, Protocol};

/// Shorter than a second, a packet lost on its way would already be a fault.
const TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Streams of HTTP/2 have no more numbers.
const REQUESTS: u32 = 1_000_000_000;

impl Door<'_> {
    pub(super) fn client_limits(&mut self, protocol: Protocol, keys: &Keys<'_>) -> ClientLimits {
        let mut limits = ClientLimits::default();
        let is_http = matches!(protocol, Protocol::Http | Protocol::Https);
        if let Some(node) = keys.find("timeouts") {
            if is_http {
                self.client_times(node, protocol, &mut limits);
            } else {
                let right = "write timeouts: at the pool";
                self.faults.wrong(node, format_args!("is for http and https; this listener is {protocol}: {right}"));
            }
        }
        if let Some(node) = keys.find("requests_per_connection") {
            if is_http {
                limits.requests = self.faults.count(node, REQUESTS).unwrap_or_default();
            } else {
                let right = "leave it out";
                self.faults.wrong(node, format_args!("is for http and https; this listener is {protocol}: {right}"));
            }
        }
        limits
    }

    fn client_times(&mut self, node: &Node, protocol: Protocol, limits: &mut ClientLimits) {
        let ClientLimits { handshake, head, body, stall, keep_alive, requests: _ } = limits;
        let known =
            [("handshake", handshake), ("head", head), ("body", body), ("stall", stall), ("keep_alive", keep_alive)];
        let Some(keys) = self.faults.keys(node, &known.each_ref().map(|(key, _)| *key), &[]) else { return };
        for (key, into) in known {
            if let Some(time) = keys.find(key).and_then(|node| self.faults.duration(node, TIME)) {
                *into = time;
            }
        }
        self.tell_idle_times(keys.find("handshake"), protocol, limits);
    }
}
