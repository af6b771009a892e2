//! Pure. `pools:`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::control::usual;
use crate::model::intent::{Intent, Pool, PoolName, ProxyVersion, Queue, Timeouts, Transport, WhenDown};

mod backends;
mod care;
mod choice;
mod retries;
mod speech;

const RETRIES: RangeInclusive<i64> = 0..=10;
/// More connections than that to one backend, or in one queue, are no limit.
const MOST: u32 = 1_000_000;
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const RESPONSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
const SLOW_START: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 24 * 3600);

impl Door<'_> {
    pub(super) fn pools(&mut self, node: &Node, into: &mut Intent) {
        let named = self.faults.named(node, "pool");
        self.pools = Some(named.iter().map(|(name, _)| PoolName::new(name.text.as_str())).collect());
        for (name, node) in named {
            let origin = self.origin(format!("pool {}", name.text), name.at);
            let mut pool = Pool::new(origin);
            let name = PoolName::new(name.text.as_str());
            self.pool(&name, node, &mut pool);
            into.pools.insert(name, Arc::new(pool));
        }
    }

    fn pool(&mut self, name: &PoolName, node: &Node, pool: &mut Pool) {
        let known = [
            "agent",
            "backends",
            "balance",
            "ejection",
            "max_connections",
            "probe",
            "protocol",
            "queue",
            "retries",
            "retry_budget",
            "retry_on",
            "send_proxy_protocol",
            "slow_start",
            "sticky",
            "timeouts",
            "tls",
            "when_down",
        ];
        let Some(keys) = self.faults.keys(node, &known, &[]) else { return };
        if let Some(node) = keys.find("balance") {
            pool.balance = self.balance(node).unwrap_or_default();
        }
        if let Some(node) = keys.find("sticky").filter(|node| !node.is("none")) {
            pool.sticky = self.sticky(node);
        }
        match keys.find("probe") {
            Some(node) => pool.probe = self.probe(node),
            None => self.unprobed.push(name.clone()),
        }
        if let Some(node) = keys.find("agent").filter(|node| !node.is("none")) {
            pool.agent = self.agent(node);
        }
        if let Some(node) = keys.find("ejection") {
            pool.ejection = self.ejection(node);
        }
        if let Some(node) = keys.find("slow_start").filter(|node| !node.is("none")) {
            pool.slow_start = self.faults.duration(node, SLOW_START).unwrap_or_default();
        }
        if let Some(node) = keys.find("max_connections") {
            pool.max_connections = self.faults.count(node, MOST).unwrap_or_default();
        }
        if let Some(node) = keys.find("queue") {
            self.queue(node, &mut pool.queue);
        }
        if let Some(node) = keys.find("send_proxy_protocol") {
            let words = [("none", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];
            pool.send_proxy = self.faults.choice(node, &words, &[]).unwrap_or_default();
        }
        if let Some(retries) = keys.find("retries").and_then(|node| self.faults.whole(node, RETRIES)) {
            pool.retries = u8::try_from(retries).unwrap_or_default();
        }
        if let Some(node) = keys.find("retry_budget") {
            pool.retry_budget = self.retry_budget(node);
        }
        if let Some(node) = keys.find("retry_on").filter(|node| !node.is("none")) {
            pool.retry_on = self.retry_on(node);
        }
        if let Some(node) = keys.find("timeouts") {
            self.timeouts(node, &mut pool.timeouts);
        }
        if let Some(node) = keys.find("when_down") {
            let words = [("try", WhenDown::Try), ("refuse", WhenDown::Refuse)];
            pool.when_down = self.faults.choice(node, &words, &[]).unwrap_or_default();
        }
        self.tell_idle_pool(&keys, pool);
        match keys.find("backends") {
            Some(node) => (pool.backends, pool.names) = self.backends(node),
            None => {
                let path = keys.path;
                self.faults.add(keys.at, format!("{path}: has no backends; add backends: [192.0.2.7:8080]"));
            }
        }
        self.speech(&keys, pool);
    }

    fn queue(&mut self, node: &Node, queue: &mut Queue) {
        if node.is("none") {
            queue.length = 0;
            return;
        }
        let Some(keys) = self.faults.keys_or("none or ", node, &["length", "wait"], &[]) else { return };
        if let Some(length) = keys.find("length").and_then(|node| self.faults.count(node, MOST)) {
            queue.length = length;
        }
        self.time(&keys, "wait", WAIT, &mut queue.wait);
    }

    /// What depends on who leads to a pool, once listeners are known.
    pub(super) fn settle_pools(&mut self, fragment: &mut Intent) {
        let mut asked: BTreeMap<PoolName, Vec<Transport>> = BTreeMap::new();
        for (key, listener) in &fragment.listeners {
            for route in &listener.routes {
                for pool in route.pools() {
                    asked.entry(pool.clone()).or_default().push(key.transport);
                    let mut backends = fragment.pools.get(pool).into_iter().flat_map(|pool| &pool.backends);
                    if let Some(backend) = backends.find(|backend| key.is_at(backend.address)) {
                        let at = self.places.get(&route.origin).copied().unwrap_or_default();
                        let wrong =
                            format!("pool {pool} has backend {}, which is this listener itself", backend.address);
                        let why = "what it takes would come back to it for ever; name another address or port";
                        self.faults.add(at, format!("{}: {wrong}: {why}", route.origin.object));
                    }
                    let is_told = fragment.pools.get(pool).is_some_and(|pool| pool.send_proxy.is_some());
                    if is_told && key.transport == Transport::Udp {
                        let at = self.places.get(&route.origin).copied().unwrap_or_default();
                        let right = "give udp a pool of its own, without send_proxy_protocol";
                        let wrong = format!("pool {pool} has send_proxy_protocol, which no datagram can carry");
                        self.faults.add(at, format!("{}: {wrong}; {right}", route.origin.object));
                    }
                }
            }
        }
        for name in std::mem::take(&mut self.unprobed) {
            if let Some(pool) = fragment.pools.get_mut(&name) {
                let transports = asked.get(&name).into_iter().flatten().copied();
                Arc::make_mut(pool).probe = usual::probe(transports);
            }
        }
    }

    fn timeouts(&mut self, node: &Node, timeouts: &mut Timeouts) {
        let known = ["connect", "response", "idle", "half_closed", "stall"];
        let Some(keys) = self.faults.keys(node, &known, &[]) else { return };
        self.time(&keys, "connect", CONNECT, &mut timeouts.connect);
        self.time(&keys, "response", RESPONSE, &mut timeouts.response);
        self.time(&keys, "idle", IDLE, &mut timeouts.idle);
        self.time(&keys, "half_closed", IDLE, &mut timeouts.half_closed);
        self.time(&keys, "stall", IDLE, &mut timeouts.stall);
    }

    fn time(&mut self, keys: &Keys<'_>, key: &str, range: RangeInclusive<Duration>, into: &mut Duration) {
        if let Some(time) = keys.find(key).and_then(|node| self.faults.duration(node, range)) {
            *into = time;
        }
    }
}
