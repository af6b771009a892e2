//! Pure. Whose each host is, and which hosts are served over TLS.
//!
//! A host belongs to the namespace that claimed it first, by a rule or by `tls`. An Ingress that is refused for its
//! annotations claims all the same: a slip of the pen must not hand its traffic to a neighbour. Nor does a path that
//! nobody serves: see `isolate`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::control::kube::objects::ObjectName;
use crate::control::kube::objects::ingress::Ingress;
use crate::model::host::HostPattern;
use crate::model::problem::{Cause, Origin};

use super::Draft;

/// The hosts of one Ingress: what it may use of those it names.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// One a rule; `None` = not to be served.
    pub(super) rules: Vec<Option<HostPattern>>,
    /// Other names of the first of them.
    pub(super) aliases: Vec<HostPattern>,
    /// One list a `tls` entry; `None` = the entry names no host and is for all of the Ingress.
    pub(super) tls: Vec<Option<Vec<HostPattern>>>,
}

impl Own {
    /// Whether this Ingress' own `tls` is for the host.
    pub(super) fn covers(&self, host: &HostPattern) -> bool {
        self.tls.iter().any(|hosts| hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|tls| includes(tls, host))))
    }
}

/// Whose the hosts of a cluster are.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    owners: HashMap<HostPattern, Owner>,
    // Served over TLS, by namespace.
    secure: HashSet<(Arc<str>, HostPattern)>,
}

/// Who has a host: the namespace, and the Ingress by which it claimed it.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) namespace: Arc<str>,
    pub(super) origin: Origin,
}

impl Hosts {
    /// Claims the hosts of an Ingress for its namespace; call it for the oldest first. What cannot be had is told.
    pub(super) fn claim(
        &mut self,
        draft: &mut Draft<'_>,
        name: &ObjectName,
        ingress: &Ingress,
        origin: &Origin,
    ) -> Own {
        let mut own = Own::default();
        for rule in &ingress.spec.rules {
            let host = if rule.host.is_empty() { "*" } else { &rule.host };
            own.rules.push(self.claim_one(draft, name, host, origin));
        }
        for tls in &ingress.spec.tls {
            own.tls.push(if tls.hosts.is_empty() {
                None
            } else {
                Some(tls.hosts.iter().filter_map(|host| self.claim_one(draft, name, host, origin)).collect())
            });
        }
        let named = own.tls.iter().flatten().flatten();
        let covered = own.rules.iter().flatten().filter(|host| own.covers(host));
        self.secure.extend(named.chain(covered).map(|host| (name.namespace.clone(), host.clone())));
        own
    }

    /// Claims a host without a word if it is another's. True when it is this namespace's now.
    pub(super) fn claim_quietly(&mut self, namespace: &Arc<str>, host: &HostPattern, origin: &Origin) -> bool {
        let new = || Owner { namespace: namespace.clone(), origin: origin.clone() };
        self.owners.entry(host.clone()).or_insert_with(new).namespace == *namespace
    }

    /// The hosts whose requests another namespace's wildcard or default host would get when no path of their own
    /// matches; in order, each with its owner.
    pub(super) fn exposed(&self) -> Vec<(&HostPattern, &Owner)> {
        let is_exposed = |(host, owner): &(&HostPattern, &Owner)| {
            let mut broader = host.broader().filter_map(|broader| self.owner(&broader));
            // Its own wildcard is next in line, and looks after itself.
            let next_is_own = broader.next().map(|next| next.namespace == owner.namespace);
            next_is_own == Some(false)
        };
        let mut exposed: Vec<_> = self.owners.iter().filter(is_exposed).collect();
        exposed.sort_by_key(|(host, _)| *host);
        exposed
    }

    /// Who has a host.
    pub(super) fn owner(&self, host: &HostPattern) -> Option<&Owner> {
        self.owners.get(host)
    }

    /// Whether a namespace may use a host that nobody else has.
    pub(super) fn is_free_for(&self, namespace: &Arc<str>, host: &HostPattern) -> bool {
        self.owners.get(host).is_none_or(|owner| owner.namespace == *namespace)
    }

    /// Whether any Ingress of the namespace has TLS for the host: then all of its paths are served over it.
    pub(super) fn is_secure(&self, namespace: &Arc<str>, host: &HostPattern) -> bool {
        if self.secure.is_empty() {
            return false;
        }
        let has = |host: HostPattern| self.secure.contains(&(namespace.clone(), host));
        has(host.clone()) || host.parent().is_some_and(has)
    }

    fn claim_one(
        &mut self,
        draft: &mut Draft<'_>,
        name: &ObjectName,
        text: &str,
        origin: &Origin,
    ) -> Option<HostPattern> {
        let host = match HostPattern::parse(text) {
            Ok(host) => host,
            Err(error) => {
                draft.problem(origin, format!("{error}; this host is left out"));
                return None;
            }
        };
        if self.claim_quietly(&name.namespace, &host, origin) {
            return Some(host);
        }
        let owner = self.owners.get(&host).map(|owner| owner.namespace.clone()).unwrap_or_default();
        let what = if host == HostPattern::Any { "the default host".to_owned() } else { format!("host {host}") };
        let reason =
            format!("{what} belongs to namespace {owner}, which claimed it first; use another or ask its owner");
        draft.problem_of(Cause::HostTaken, origin, reason);
        None
    }
}

/// Whether a certificate's or `tls` entry's pattern is for a host.
pub(super) fn includes(pattern: &HostPattern, host: &HostPattern) -> bool {
    pattern == host || host.parent().as_ref() == Some(pattern)
}
