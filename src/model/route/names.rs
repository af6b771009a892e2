//! Pure. Match the server name and the application protocols of a TLS client to a target: exact name, then wildcard,
//! then any. Among the routes of one name, one that asks for a protocol the client offers wins over one that asks for
//! none; a name none of whose routes matches falls through to the next.
//!
//! Names cost one hash each, as in the table for requests; the routes of one name, which differ in their protocols
//! alone, are tried in the order written.

use std::sync::Arc;

use super::{HostPattern, Map, Target};

/// All routes of one `tls-passthrough` listener.
#[derive(Debug, Default)]
pub struct NameTable {
    exact: Map<Box<str>, Choices>,
    wildcard: Map<Box<str>, Choices>,
    any: Choices,
}

/// The routes of one name.
#[derive(Debug, Default)]
struct Choices(Vec<Choice>);

#[derive(Debug)]
struct Choice {
    /// Empty: for every client.
    alpn: Box<[Arc<str>]>,
    target: Arc<Target>,
}

impl NameTable {
    /// Adds a route. False when the name is taken already for the same protocols: the first keeps them.
    pub fn add(&mut self, host: &HostPattern, alpn: &[Arc<str>], target: Arc<Target>) -> bool {
        let choices = match host {
            HostPattern::Exact(host) => self.exact.entry(host.as_str().into()).or_default(),
            HostPattern::Wildcard(host) => self.wildcard.entry(host.as_str().into()).or_default(),
            HostPattern::Any => &mut self.any,
        };
        let is_new = choices.0.iter().all(|choice| *choice.alpn != *alpn);
        if is_new {
            choices.0.push(Choice { alpn: alpn.into(), target });
        }
        is_new
    }

    /// The target of a client. `name` is lower-case, without a trailing dot and no address; `offers` says whether the
    /// client offers a protocol.
    pub fn find(&self, name: Option<&str>, offers: impl Fn(&str) -> bool) -> Option<&Arc<Target>> {
        let by_name = name.and_then(|name| {
            let exact = || self.exact.get(name)?.find(&offers);
            let wildcard = || self.wildcard.get(name.split_once('.')?.1)?.find(&offers);
            exact().or_else(wildcard)
        });
        by_name.or_else(|| self.any.find(&offers))
    }
}

impl Choices {
    fn find(&self, offers: &impl Fn(&str) -> bool) -> Option<&Arc<Target>> {
        let offered = self.0.iter().find(|choice| choice.alpn.iter().any(|name| offers(name)));
        let found = offered.or_else(|| self.0.iter().find(|choice| choice.alpn.is_empty()));
        found.map(|choice| &choice.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::intent::{Action, PoolName};
    use crate::model::live::{Live, ServeKey};
    use crate::model::problem::Origin;

    fn table(routes: &[(&str, &[&str], &str)]) -> NameTable {
        let mut table = NameTable::default();
        for (host, alpn, pool) in routes {
            let serve = Live::new(1).serve(&ServeKey { listener: "web".into(), pool: None });
            let action = Action::Forward(PoolName::new(*pool));
            let target = Arc::new(Target {
                action,
                beyond: None,
                filters: None,
                serve,
                is_broken: false,
                origin: Origin::new("file", *pool),
            });
            let alpn: Vec<Arc<str>> = alpn.iter().map(|name| (*name).into()).collect();
            assert!(table.add(&HostPattern::parse(host).unwrap(), &alpn, target), "{host}");
        }
        table
    }

    fn found(table: &NameTable, name: Option<&str>, offered: &[&str]) -> Option<String> {
        let target = table.find(name, |alpn| offered.contains(&alpn))?;
        match &target.action {
            Action::Forward(pool) => Some(pool.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_narrowest_name_that_takes_the_protocol_wins() {
        let table = table(&[
            ("a.test", &[], "a"),
            ("a.test", &["h2", "h3"], "a-h2"),
            ("a.test", &["acme-tls/1"], "a-acme"),
            ("*.a.test", &["h2"], "wild-h2"),
            ("only.a.test", &["dot"], "only-dot"),
            ("*", &["ssh"], "any-ssh"),
        ]);
        for (name, offered, expected) in [
            (Some("a.test"), &[][..], Some("a")),
            (Some("a.test"), &["http/1.1"], Some("a")),
            (Some("a.test"), &["http/1.1", "h2"], Some("a-h2")),
            (Some("a.test"), &["acme-tls/1"], Some("a-acme")),
            (Some("a.test"), &["acme-tls/1", "h2"], Some("a-h2")),
            (Some("x.a.test"), &["h2"], Some("wild-h2")),
            (Some("x.a.test"), &[], None),
            (Some("x.a.test"), &["ssh"], Some("any-ssh")),
            (Some("y.x.a.test"), &["h2"], None),
            (Some("only.a.test"), &["h2"], Some("wild-h2")),
            (Some("only.a.test"), &["dot", "h2"], Some("only-dot")),
            (None, &["h2"], None),
            (None, &["ssh"], Some("any-ssh")),
        ] {
            assert_eq!(found(&table, name, offered).as_deref(), expected, "{name:?} {offered:?}");
        }
    }

    #[test]
    fn the_first_of_two_keeps_the_name() {
        let mut table = table(&[("a.test", &["h2"], "first"), ("*", &[], "any")]);
        let second = table.any.0[0].target.clone();
        assert!(!table.add(&HostPattern::parse("a.test").unwrap(), &["h2".into()], second));
        assert_eq!(found(&table, Some("a.test"), &["h2"]).as_deref(), Some("first"));
    }
}
