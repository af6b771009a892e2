//! Pure. Which client addresses may connect.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::intent::SourceRules;

/// Source rules, ready for use. A listener has a handful of ranges; they are tried in turn.
#[derive(Debug, Default)]
pub struct SourceTable {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

impl SourceTable {
    /// The table of these rules.
    pub fn new(rules: &SourceRules) -> Self {
        Self { allow: rules.allow.clone().into(), deny: rules.deny.clone().into() }
    }

    /// Whether `client` may connect. An IPv4 client of an IPv6 socket (`::ffff:a.b.c.d`) is judged by its IPv4 address.
    pub fn admits(&self, client: SocketAddr) -> bool {
        let ip: IpAddr = client.ip().to_canonical();
        !self.deny.iter().any(|range| range.contains(&ip))
            && (self.allow.is_empty() || self.allow.iter().any(|range| range.contains(&ip)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins_and_an_empty_allow_allows_all() {
        let net = |t: &str| t.parse::<IpNet>().unwrap();
        let at = |t: &str| t.parse::<SocketAddr>().unwrap();
        let table = SourceTable::new(&SourceRules { allow: vec![net("10.0.0.0/8")], deny: vec![net("10.1.0.0/16")] });
        assert!(table.admits(at("10.2.3.4:5")));
        assert!(table.admits(at("[::ffff:10.2.3.4]:5")));
        assert!(!table.admits(at("10.1.0.1:5")));
        assert!(!table.admits(at("192.0.2.1:5")));
        assert!(SourceTable::default().admits(at("192.0.2.1:5")));
    }
}
