//! Pure. Which backend is taken: `balance:` and `sticky:`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::Keys;
use crate::control::{affinity, usual};
use crate::model::intent::{Balance, SameSite, Sticky, StickyCookie};
use crate::model::secret::Secret;

const STICKY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Browsers keep none longer than 400 days (RFC 6265bis §5.5).
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(400 * 24 * 3600);
/// The shortest key, in bytes: what can be tried out is none.
const KEY: usize = 16;
/// What belongs to a cookie alone.
const OF_COOKIES: [&str; 4] = ["key", "same_site", "secure", "ttl"];

impl Door<'_> {
    pub(super) fn balance(&mut self, node: &Node) -> Option<Balance> {
        let words = [
            ("round-robin", Balance::RoundRobin),
            ("least-connections", Balance::LeastConnections),
            ("random-two", Balance::RandomTwo),
            ("first", Balance::First),
        ];
        match &node.value {
            Value::Map(_) => {
                let keys = self.faults.keys(node, &["hash"], &[])?;
                let Some(by) = keys.find("hash") else {
                    self.faults.wrong(node, "does not say by what; write {hash: source}");
                    return None;
                };
                let right = "source, uri, header:NAME or cookie:NAME";
                let text = self.faults.text(by, right)?;
                let balance = affinity::hash(&text);
                if balance.is_none() {
                    self.faults.wrong(by, format_args!("is {}; write {right}", by.value));
                }
                balance
            }
            Value::Text(text) if text == "hash" || text.starts_with("hash:") => {
                self.faults.wrong(node, format_args!("{} is no word of its own; write {{hash: source}}", node.value));
                None
            }
            Value::Text(text) => match words.iter().find(|(word, _)| word == text) {
                Some((_, balance)) => Some(balance.clone()),
                None => {
                    let right = words.map(|(word, _)| word).join(", ");
                    self.faults.wrong(node, format_args!("is {}; write {right} or {{hash: source}}", node.value));
                    None
                }
            },
            _ => self.faults.choice(node, &words.map(|(word, _)| (word, ())), &[]).and(None),
        }
    }

    pub(super) fn sticky(&mut self, node: &Node) -> Option<Sticky> {
        if let Value::Text(text) = &node.value
            && (text == "cookie" || text.starts_with("cookie:"))
        {
            self.faults.wrong(node, format_args!("{} is no word of its own; write {{cookie: NAME}}", node.value));
            return None;
        }
        let Value::Map(_) = node.value else {
            self.faults.choice(node, &[("none", ()), ("source", ())], &[])?;
            return Some(usual::STICKY);
        };
        let keys = self.faults.keys(node, &["source", "cookie", "key", "same_site", "secure", "ttl"], &[])?;
        match (keys.find("source"), keys.find("cookie")) {
            (Some(_), Some(cookie)) => {
                self.faults.wrong(cookie, "stands beside source; clients keep their backend by one of them");
                None
            }
            (Some(time), None) => {
                if let Some(node) = OF_COOKIES.iter().find_map(|key| keys.find(key)) {
                    self.faults.wrong(node, "belongs to a cookie; write cookie: NAME, or leave it out");
                }
                self.faults.duration(time, STICKY).map(|timeout| Sticky::Source { timeout })
            }
            (None, Some(name)) => self.cookie(name, &keys).map(Sticky::Cookie),
            (None, None) => {
                self.faults.wrong(node, "does not say by what; write source, {source: 3h} or {cookie: NAME}");
                None
            }
        }
    }

    fn cookie(&mut self, name: &Node, keys: &Keys<'_>) -> Option<StickyCookie> {
        let text = self.faults.text(name, "the name of the cookie, like SRV")?;
        let Some(mut cookie) = affinity::cookie(&text) else {
            let right = "write letters, digits, - and _, at most 128, like SRV";
            self.faults.wrong(name, format_args!("{} is not a name; {right}", name.value));
            return None;
        };
        if let Some(node) = keys.find("ttl").filter(|node| !node.is("none")) {
            cookie.ttl = self.faults.duration(node, TTL);
        }
        if let Some(node) = keys.find("same_site") {
            let words = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
            cookie.same_site = self.faults.choice(node, &words, &[])?;
        }
        if let Some(node) = keys.find("secure").filter(|node| !node.is("auto")) {
            cookie.secure = self.faults.switch(node);
        }
        if cookie.same_site == SameSite::None && cookie.secure != Some(true) {
            self.faults.wrong(name, "has same_site: none, which browsers take with secure: true alone; add it");
        }
        if let Some(node) = keys.find("key") {
            cookie.key = self.key(node);
        }
        Some(cookie)
    }

    /// The content of a file, without the space around it.
    fn key(&mut self, node: &Node) -> Option<Secret> {
        let content = self.content(node)?;
        let key = content.trim_ascii();
        if key.len() < KEY {
            let right = "write one with: openssl rand -hex 32";
            self.faults.wrong(node, format_args!("holds less than {KEY} bytes, which can be guessed; {right}"));
            return None;
        }
        Some(Secret::new(key))
    }
}
