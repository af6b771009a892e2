//! Pure. What a route does to its requests and answers: who may use it and how much, `cors:`, `hsts:`; the edits and
//! `redirect:` have rooms of their own, and so has what asks somebody, sends elsewhere or makes other answers.

use std::ops::RangeInclusive;

use super::Door;
use crate::control::file::node::{Node, Value};
use crate::control::file::read::Keys;
use crate::control::hsts;
use crate::model::filter::fields;
use crate::model::intent::filter::{Filters, Hsts, RateKey, Renames, RequestRate};
use crate::model::intent::{PathMatch, SourceRules};

mod answers;
mod ask;
mod cors;
mod edits;

/// The keys of a route that are read here.
pub(super) const KEYS: [&str; 16] = [
    "allow",
    "deny",
    "rate",
    "max_body",
    "cors",
    "hsts",
    "rewrite_path",
    "rewrite_host",
    "request_headers",
    "response_headers",
    "basic_auth",
    "forward_auth",
    "canary",
    "mirror",
    "compress",
    "errors",
];
/// Those of them that only a request which reaches a pool can obey.
const FOR_POOLS: [&str; 8] =
    ["max_body", "rewrite_path", "rewrite_host", "request_headers", "basic_auth", "forward_auth", "canary", "mirror"];

/// No file is larger.
const BODY: RangeInclusive<u64> = 0..=1_000_000_000_000_000;
const MOST_BURST: u32 = 1_000_000;

impl Door<'_> {
    /// The filters of a route for these paths; `redirects`: none of its requests reaches a pool.
    pub(super) fn filters(&mut self, keys: &Keys<'_>, path: &PathMatch, redirects: bool) -> Filters {
        for node in FOR_POOLS.iter().filter(|_| redirects).filter_map(|key| keys.find(key)) {
            self.faults.wrong(node, "is for requests that go to a pool, and this route redirects; leave it out");
        }
        Filters {
            sources: SourceRules {
                allow: keys.find("allow").map(|node| self.ranges(node)).unwrap_or_default(),
                deny: keys.find("deny").map(|node| self.ranges(node)).unwrap_or_default(),
            },
            rate: asked(keys, "rate").and_then(|node| self.request_rate(node)),
            max_body: asked(keys, "max_body").and_then(|node| self.faults.bytes(node, BODY, false)),
            cors: asked(keys, "cors").and_then(|node| self.cors(node)),
            rewrite_path: keys.find("rewrite_path").and_then(|node| self.path_edit(node, path)),
            rewrite_host: keys.find("rewrite_host").and_then(|node| self.one_host(node)),
            request_headers: keys.find("request_headers").map(|node| self.field_edits(node)).unwrap_or_default(),
            response_headers: keys.find("response_headers").map(|node| self.field_edits(node)).unwrap_or_default(),
            hsts: asked(keys, "hsts").and_then(|node| self.hsts(node)),
            basic_auth: asked(keys, "basic_auth").and_then(|node| self.basic_auth(node)),
            forward_auth: asked(keys, "forward_auth").and_then(|node| self.forward_auth(node)),
            canary: asked(keys, "canary").and_then(|node| self.canary(node)),
            mirror: asked(keys, "mirror").and_then(|node| self.mirror(node)),
            compress: keys.find("compress").and_then(|node| self.compress(node)),
            satisfy_any: false,
            renames: Renames::default(),
            errors: asked(keys, "errors").map(|node| self.errors(node)).unwrap_or_default(),
        }
    }

    /// `100/s`, or with what else there is to say.
    fn request_rate(&mut self, node: &Node) -> Option<RequestRate> {
        if !matches!(node.value, Value::Map(_)) {
            return Some(RequestRate {
                rate: self.faults.rate(node)?,
                burst: 0,
                key: RateKey::Source,
                except: Vec::new(),
            });
        }
        let keys = self.faults.keys(node, &["limit", "burst", "key"], &[])?;
        let Some(limit) = keys.find("limit") else {
            self.faults.wrong(node, "has no limit; add limit: 100/s");
            return None;
        };
        let burst = keys.find("burst").and_then(|node| self.faults.count(node, MOST_BURST)).unwrap_or_default();
        let key = keys.find("key").map_or(Some(RateKey::Source), |node| self.rate_key(node))?;
        Some(RequestRate { rate: self.faults.rate(limit)?, burst, key, except: Vec::new() })
    }

    fn rate_key(&mut self, node: &Node) -> Option<RateKey> {
        let right = "source or header:NAME";
        let text = self.faults.text(node, right)?;
        if text == "source" {
            return Some(RateKey::Source);
        }
        let name = text.strip_prefix("header:").ok_or_else(|| format!("is {}; write {right}", node.value));
        match name.and_then(|name| fields::name(name.trim())) {
            Ok(name) => Some(RateKey::Header(name.as_str().into())),
            Err(error) => {
                self.faults.wrong(node, error);
                None
            }
        }
    }

    /// `365d`, or with what else there is to say.
    fn hsts(&mut self, node: &Node) -> Option<Hsts> {
        if !matches!(node.value, Value::Map(_)) {
            let max_age = self.faults.duration(node, hsts::BOUNDS)?;
            return Some(Hsts { max_age, subdomains: false, preload: false });
        }
        let keys = self.faults.keys(node, &["max_age", "subdomains", "preload"], &[])?;
        let mut is = |key| keys.find(key).and_then(|node| self.faults.switch(node)).unwrap_or_default();
        let (subdomains, preload) = (is("subdomains"), is("preload"));
        let max_age = match keys.find("max_age") {
            Some(node) => self.faults.duration(node, hsts::BOUNDS)?,
            None => hsts::USUAL,
        };
        let asked = Hsts { max_age, subdomains, preload };
        if let Err(error) = hsts::check(&asked) {
            self.faults.wrong(node, error);
            return None;
        }
        Some(asked)
    }
}

/// What stands under a key, where it is not `none`.
fn asked<'n>(keys: &Keys<'n>, key: &str) -> Option<&'n Node> {
    keys.find(key).filter(|node| !node.is("none"))
}
