//! Pure. What a listener asks of HTTP before any route is looked for.

use ipnet::IpNet;

use crate::model::path::PathRules;

/// How a listener takes requests (`http` and `https` only).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct HttpRules {
    /// How paths are brought into their normal form.
    pub paths: PathRules,
    /// Proxies whose word is taken for who the client is and how it came: what they say by `X-Forwarded-For` and its
    /// like is passed on. What others say by them is dropped.
    pub trusted_proxies: Vec<IpNet>,
}
