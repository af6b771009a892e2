//! Pure. How a listener takes requests: `paths:` and `trusted_proxies:`.

use super::Door;
use crate::control::file::node::Node;
use crate::control::file::read::Keys;
use crate::model::intent::{HttpRules, Protocol};
use crate::model::path::{Dots, EncodedSlash, PathRules, Slashes};

impl Door<'_> {
    pub(super) fn http_rules(&mut self, protocol: Protocol, keys: &Keys<'_>) -> HttpRules {
        let mut rules = HttpRules::default();
        let is_http = matches!(protocol, Protocol::Http | Protocol::Https);
        if let Some(node) = keys.find("paths")
            && self.is_for_http(node, protocol, is_http)
        {
            rules.paths = self.paths(node);
        }
        if let Some(node) = keys.find("trusted_proxies").filter(|node| !node.is("none")) {
            let ranges = self.ranges(node);
            if !ranges.is_empty() && self.is_for_http(node, protocol, is_http) {
                rules.trusted_proxies = ranges;
            }
        }
        rules
    }

    fn is_for_http(&mut self, node: &Node, protocol: Protocol, is_http: bool) -> bool {
        if !is_http {
            self.faults.wrong(node, format_args!("is for http and https; this listener is {protocol}: leave it out"));
        }
        is_http
    }

    fn paths(&mut self, node: &Node) -> PathRules {
        let mut rules = PathRules::default();
        let Some(keys) = self.faults.keys(node, &["slashes", "dots", "encoded_slash"], &[]) else { return rules };
        let keep = [("merge", Slashes::Merge), ("keep", Slashes::Keep)];
        let dots = [("refuse", Dots::Refuse), ("resolve", Dots::Resolve)];
        let encoded = [("keep", EncodedSlash::Keep), ("refuse", EncodedSlash::Refuse)];
        rules.slashes = keys.find("slashes").and_then(|node| self.faults.choice(node, &keep, &[])).unwrap_or_default();
        rules.dots = keys.find("dots").and_then(|node| self.faults.choice(node, &dots, &[])).unwrap_or_default();
        rules.encoded_slash =
            keys.find("encoded_slash").and_then(|node| self.faults.choice(node, &encoded, &[])).unwrap_or_default();
        rules
    }
}
