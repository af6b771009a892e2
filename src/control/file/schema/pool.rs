//! Pure. `pools:`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::Keys;
use crate::model::intent::{Admin, Backend, Balance, Intent, Pool, PoolName, Probe, ProbeKind, Timeouts, WhenDown};

const RETRIES: RangeInclusive<i64> = 0..=10;
const WEIGHTS: RangeInclusive<i64> = 0..=256;
const STREAK: RangeInclusive<i64> = 1..=1000;
const PORTS: RangeInclusive<i64> = 1..=65535;
const PROBE_EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const PROBE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
const CONNECT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
const RESPONSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
const IDLE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 24 * 3600);

impl Door<'_> {
    pub(super) fn pools(&mut self, node: &Node, into: &mut Intent) {
        let named = self.faults.named(node, "pool");
        self.pools = Some(named.iter().map(|(name, _)| PoolName::new(name.text.as_str())).collect());
        for (name, node) in named {
            let origin = self.origin(format!("pool {}", name.text), name.at);
            let mut pool = Pool::new(origin);
            self.pool(node, &mut pool);
            into.pools.insert(PoolName::new(name.text.as_str()), Arc::new(pool));
        }
    }

    fn pool(&mut self, node: &Node, pool: &mut Pool) {
        let known = ["backends", "balance", "probe", "retries", "timeouts", "when_down"];
        let unserved = [
            ("max_connections", &["0", "none"][..]),
            ("queue", &["none"][..]),
            ("send_proxy_protocol", &["none"][..]),
            ("slow_start", &["0s", "0", "none"][..]),
        ];
        let Some(keys) = self.faults.keys(node, &known, &unserved) else { return };
        if let Some(node) = keys.find("balance") {
            let words = [("round-robin", Balance::RoundRobin), ("least-connections", Balance::LeastConnections)];
            pool.balance = self.faults.choice(node, &words, &["random-two", "hash"]).unwrap_or_default();
        }
        if let Some(node) = keys.find("probe") {
            pool.probe = self.probe(node);
        }
        if let Some(retries) = keys.find("retries").and_then(|node| self.faults.whole(node, RETRIES)) {
            pool.retries = u8::try_from(retries).unwrap_or_default();
        }
        if let Some(node) = keys.find("timeouts") {
            self.timeouts(node, &mut pool.timeouts);
        }
        if let Some(node) = keys.find("when_down") {
            let words = [("try", WhenDown::Try), ("refuse", WhenDown::Refuse)];
            pool.when_down = self.faults.choice(node, &words, &[]).unwrap_or_default();
        }
        match keys.find("backends") {
            Some(node) => pool.backends = self.backends(node),
            None => {
                let path = keys.path;
                self.faults.add(keys.at, format!("{path}: has no backends; add backends: [192.0.2.7:8080]"));
            }
        }
    }

    fn timeouts(&mut self, node: &Node, timeouts: &mut Timeouts) {
        let Some(keys) = self.faults.keys(node, &["connect", "response", "idle"], &[]) else { return };
        self.time(&keys, "connect", CONNECT, &mut timeouts.connect);
        self.time(&keys, "response", RESPONSE, &mut timeouts.response);
        self.time(&keys, "idle", IDLE, &mut timeouts.idle);
    }

    fn time(&mut self, keys: &Keys<'_>, key: &str, range: RangeInclusive<Duration>, into: &mut Duration) {
        if let Some(time) = keys.find(key).and_then(|node| self.faults.duration(node, range)) {
            *into = time;
        }
    }

    fn probe(&mut self, node: &Node) -> Option<Probe> {
        let mut probe = Probe::default();
        if let Value::Text(_) = node.value {
            let words = [("tcp", true), ("none", false)];
            return self.faults.choice(node, &words, &["grpc"]).unwrap_or(true).then_some(probe);
        }
        let known = ["http", "tcp", "host", "port", "every", "timeout", "fall", "rise"];
        let keys = self.faults.keys(node, &known, &[("grpc", &[])])?;
        if let Some(path) = keys.find("http") {
            probe.kind = self.http_probe(path, &keys);
        } else {
            for key in ["host", "port"] {
                if let Some(node) = keys.find(key) {
                    self.faults.wrong(node, "belongs to an http probe; add http: /path, or leave it out");
                }
            }
        }
        if let Some(node) = keys.find("tcp") {
            if keys.find("http").is_some() {
                self.faults.wrong(node, "a probe is either http or tcp; keep one");
            } else if !matches!(&node.value, Value::Switch(true))
                && !matches!(&node.value, Value::Map(m) if m.is_empty())
            {
                self.faults.wrong(node, format_args!("is {}; write {{every: 5s}}; tcp is the default", node.value));
            }
        }
        self.time(&keys, "every", PROBE_EVERY, &mut probe.every);
        self.time(&keys, "timeout", PROBE_TIMEOUT, &mut probe.timeout);
        for (key, into) in [("fall", &mut probe.fall), ("rise", &mut probe.rise)] {
            if let Some(number) = keys.find(key).and_then(|node| self.faults.whole(node, STREAK)) {
                *into = u32::try_from(number).unwrap_or(1);
            }
        }
        Some(probe)
    }

    fn http_probe(&mut self, path: &Node, keys: &Keys<'_>) -> ProbeKind {
        let text = self.faults.text(path, "the path to ask for, like /healthz").unwrap_or_else(|| "/".to_owned());
        if !text.starts_with('/') || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
            self.faults.wrong(path, format_args!("{} is not a path; write one like /healthz", path.value));
        }
        let host = keys.find("host").and_then(|node| {
            let host = self.faults.text(node, "the Host header, like shop.example.test")?;
            let fits = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
            if !fits {
                self.faults.wrong(node, format_args!("{} is not a host; write one like shop.example.test", node.value));
            }
            Some(host.into())
        });
        let port = keys.find("port").and_then(|node| self.faults.whole(node, PORTS));
        ProbeKind::Http { path: text.into(), host, port: port.and_then(|port| u16::try_from(port).ok()), tls: false }
    }

    fn backends(&mut self, node: &Node) -> Vec<Backend> {
        let items = self.faults.list(node, "a list like [192.0.2.7:8080, {address: 192.0.2.8:8080, weight: 2}]");
        let mut backends: Vec<Backend> = Vec::with_capacity(items.len());
        let mut seen = std::collections::HashSet::with_capacity(items.len());
        for item in items {
            let Some(backend) = self.backend(item) else { continue };
            if seen.insert((backend.address, backend.instance.clone())) {
                backends.push(backend);
            } else {
                let address = backend.address;
                self.faults.wrong(item, format_args!("{address} is listed twice; give it more weight instead"));
            }
        }
        backends
    }

    fn backend(&mut self, node: &Node) -> Option<Backend> {
        if !matches!(node.value, Value::Map(_)) {
            return self.backend_address(node).map(Backend::new);
        }
        let keys = self.faults.keys(node, &["address", "weight", "backup", "instance", "state"], &[])?;
        let Some(address) = keys.find("address") else {
            self.faults.wrong(node, "has no address; add address: 192.0.2.7:8080");
            return None;
        };
        let mut backend = Backend::new(self.backend_address(address)?);
        if let Some(weight) = keys.find("weight").and_then(|node| self.faults.whole(node, WEIGHTS)) {
            backend.weight = u16::try_from(weight).unwrap_or(1);
        }
        if let Some(backup) = keys.find("backup").and_then(|node| self.faults.switch(node)) {
            backend.backup = backup;
        }
        if let Some(instance) = keys.find("instance").and_then(|node| self.faults.text(node, "who lives there")) {
            backend.instance = instance.into();
        }
        if let Some(node) = keys.find("state") {
            let words = [("ready", Admin::Ready), ("drain", Admin::Drain), ("maintain", Admin::Maintain)];
            backend.admin = self.faults.choice(node, &words, &[]).unwrap_or_default();
        }
        Some(backend)
    }
}
