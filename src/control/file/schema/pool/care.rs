//! Pure. How backends of a pool are watched: `probe:`, `agent:` and `ejection:`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::Keys;
use crate::model::intent::{Agent, Ejection, Failings, Probe, ProbeKind};

const STREAK: RangeInclusive<i64> = 1..=1000;
const PORTS: RangeInclusive<i64> = 1..=65535;
const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
const EJECTED: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// The kinds of probe, each a key of its own.
const KINDS: [&str; 4] = ["http", "https", "grpc", "tcp"];

impl Door<'_> {
    pub(super) fn probe(&mut self, node: &Node) -> Option<Probe> {
        let mut probe = Probe::default();
        if let Value::Text(text) = &node.value {
            if text == "http" || text == "https" {
                self.faults.wrong(node, format_args!("does not say which path; write {{{text}: /healthz}}"));
                return None;
            }
            let grpc = || ProbeKind::Grpc { service: "".into(), port: None };
            let words = [("tcp", 0), ("grpc", 1), ("none", 2)];
            return match self.faults.choice(node, &words, &[]) {
                Some(1) => Some(Probe { kind: grpc(), ..probe }),
                Some(2) => None,
                _ => Some(probe),
            };
        }
        let known = ["http", "https", "grpc", "tcp", "host", "port", "every", "timeout", "fall", "rise"];
        let keys = self.faults.keys_or("none, tcp, grpc or ", node, &known, &[])?;
        let written = KINDS.into_iter().filter(|kind| has(node, kind)).collect::<Vec<_>>();
        if let [one, another, ..] = written[..] {
            self.faults.wrong(node, format_args!("has both {one}: and {another}:; keep one"));
        }
        match written.first() {
            Some(&"http") => probe.kind = self.http_probe(node, &keys, false),
            Some(&"https") => probe.kind = self.http_probe(node, &keys, true),
            Some(&"grpc") => probe.kind = self.grpc_probe(&keys),
            _ => {
                self.tell_unused(&keys, &["host"], "an http or https probe");
                self.tell_unused(&keys, &["port"], "an http, https or grpc probe");
            }
        }
        if let Some(node) = keys.find("tcp")
            && !matches!(&node.value, Value::Switch(true))
            && !matches!(&node.value, Value::Map(m) if m.is_empty())
        {
            self.faults.wrong(node, format_args!("is {}; write {{every: 5s}}; tcp is the default", node.value));
        }
        self.time(&keys, "every", EVERY, &mut probe.every);
        self.time(&keys, "timeout", TIMEOUT, &mut probe.timeout);
        for (key, into) in [("fall", &mut probe.fall), ("rise", &mut probe.rise)] {
            if let Some(number) = keys.find(key).and_then(|node| self.faults.whole(node, STREAK)) {
                *into = u32::try_from(number).unwrap_or(1);
            }
        }
        Some(probe)
    }

    fn tell_unused(&mut self, keys: &Keys<'_>, unused: &[&str], of: &str) {
        for key in unused {
            if let Some(node) = keys.find(key) {
                self.faults.wrong(node, format_args!("belongs to {of}; add http: /path, or leave it out"));
            }
        }
    }

    fn http_probe(&mut self, node: &Node, keys: &Keys<'_>, tls: bool) -> ProbeKind {
        let key = if tls { "https" } else { "http" };
        let path = match keys.find(key) {
            Some(path) => self.probe_path(path),
            None => {
                self.faults.wrong(node, format_args!("{key}: names no path; write one like /healthz"));
                "/".into()
            }
        };
        let host = keys.find("host").and_then(|node| {
            let host = self.faults.text(node, "the Host header, like shop.example.test")?;
            let fits = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
            if !fits {
                self.faults.wrong(node, format_args!("{} is not a host; write one like shop.example.test", node.value));
            }
            Some(host.into())
        });
        ProbeKind::Http { path, host, port: self.port(keys), tls }
    }

    fn probe_path(&mut self, node: &Node) -> Arc<str> {
        let text = self.faults.text(node, "the path to ask for, like /healthz").unwrap_or_else(|| "/".to_owned());
        if !text.starts_with('/') || !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
            self.faults.wrong(node, format_args!("{} is not a path; write one like /healthz", node.value));
        }
        text.into()
    }

    fn grpc_probe(&mut self, keys: &Keys<'_>) -> ProbeKind {
        self.tell_unused(keys, &["host"], "an http or https probe");
        let service = keys.find("grpc").and_then(|node| {
            let text = self.faults.text(node, "the name of a service like shop.v1.Cart, or nothing")?;
            if text.len() > 255 || !text.bytes().all(|b| b.is_ascii_graphic()) {
                let right = "write one like shop.v1.Cart, or nothing for the server as a whole";
                self.faults.wrong(node, format_args!("{} is not the name of a service; {right}", node.value));
            }
            Some(text.into())
        });
        ProbeKind::Grpc { service: service.unwrap_or_else(|| "".into()), port: self.port(keys) }
    }

    fn port(&mut self, keys: &Keys<'_>) -> Option<u16> {
        let port = keys.find("port").and_then(|node| self.faults.whole(node, PORTS));
        port.and_then(|port| u16::try_from(port).ok())
    }

    pub(super) fn agent(&mut self, node: &Node) -> Option<Agent> {
        let keys = self.faults.keys_or("none or ", node, &["port", "every"], &[])?;
        if keys.find("port").is_none() {
            self.faults.wrong(node, "has no port; write {port: 9777}, where each backend says how it is");
        }
        let mut agent = Agent { port: self.port(&keys)?, every: Duration::from_secs(1) };
        self.time(&keys, "every", EVERY, &mut agent.every);
        Some(agent)
    }

    pub(super) fn ejection(&mut self, node: &Node) -> Option<Ejection> {
        if node.is("none") {
            return None;
        }
        let keys = self.faults.keys_or("none or ", node, &["failures", "time", "on"], &[])?;
        let mut ejection = Ejection::default();
        if let Some(failures) = keys.find("failures").and_then(|node| self.faults.whole(node, STREAK)) {
            ejection.failures = u32::try_from(failures).unwrap_or(1);
        }
        self.time(&keys, "time", EJECTED, &mut ejection.time);
        if let Some(node) = keys.find("on") {
            ejection.on = self.failings(node);
        }
        Some(ejection)
    }

    fn failings(&mut self, node: &Node) -> Failings {
        let mut on = Failings { connect: false, broken: false, timeout: false, server_error: false };
        let words = on.words().map(|(word, _)| (word, word));
        let items = self.faults.list(node, "a list of connect, broken, timeout and 5xx");
        if items.is_empty() {
            self.faults.wrong(node, "is empty, so nothing is left out; write what is a failure, or ejection: none");
        }
        for item in items {
            match self.faults.choice(item, &words, &[]) {
                Some("connect") => on.connect = true,
                Some("broken") => on.broken = true,
                Some("timeout") => on.timeout = true,
                Some(_) => on.server_error = true,
                None => {}
            }
        }
        on
    }
}

/// Whether a key is written, be it with nothing behind it: `{grpc: , every: 5s}`.
fn has(node: &Node, key: &str) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.iter().any(|(known, _)| known.text == key))
}
