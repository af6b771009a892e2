//! The certificates of a listener by server name: exact, then `*.` and the rest, then the one for all others.
//!
//! A name may have several certificates, one a kind of key; which of them a client sees is decided by what it can
//! verify. Names with the same certificates share one [`Identity`].

use std::fmt;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::prover::Prover;
use crate::model::host::{Host, HostPattern};
use crate::model::intent::CertName;
use crate::model::intent::tls::Tell;
use crate::model::map::Map;

/// Who we are to the clients of some names.
pub struct Identity {
    /// What rustls needs.
    pub config: Arc<rustls::ServerConfig>,
    /// What is asked of clients; `None`: nothing.
    pub clients: Option<Clients>,
    /// Its certificates, in order.
    pub(super) certs: Box<[CertName]>,
}

/// What is asked of clients.
#[derive(Clone)]
pub struct Clients {
    /// Judges a chain of certificates.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// What backends are told of one.
    pub tell: Tell,
}

impl Identity {
    fn shares_with(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.certs.iter().any(|cert| other.certs.contains(cert))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certs", &self.certs).finish_non_exhaustive()
    }
}

/// The identities of one listener.
#[derive(Debug, Default)]
pub struct Names {
    pub(super) exact: Map<Host, Arc<Identity>>,
    pub(super) wildcard: Map<Host, Arc<Identity>>,
    pub(super) fallback: Option<Arc<Identity>>,
    pub(super) is_one: bool,
    pub(super) prover: Option<Prover>,
}

impl Names {
    /// Who answers to a server name in whatever case; `None`: nobody, and the handshake is to be refused.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Identity>> {
        name.and_then(|name| self.named(name)).or(self.fallback.as_ref())
    }

    /// The one identity of all clients, if it does not matter what they ask for.
    pub fn only(&self) -> Option<&Arc<Identity>> {
        self.fallback.as_ref().filter(|_| self.is_one)
    }

    /// Whether a certificate authority may be among the clients at this moment, which is known by what it asks for.
    pub fn may_be_proved(&self) -> bool {
        self.prover.as_ref().is_some_and(Prover::is_asked)
    }

    /// What a client gets that is a certificate authority; `None`: it is none.
    pub fn proof(&self, hello: &ClientHello<'_>) -> Option<&Arc<rustls::ServerConfig>> {
        self.prover.as_ref()?.config(hello)
    }

    /// Whether a request for `host` may come on a connection that was opened for `name`: the certificate that answers
    /// to the one must be among those that answer to the other (RFC 9110 §7.4, §15.5.20). Browsers put requests for all
    /// hosts of a certificate on one connection.
    pub fn may_ask(&self, name: Option<&str>, host: &str) -> bool {
        if self.only().is_some() || name.is_some_and(|name| name.eq_ignore_ascii_case(host)) {
            return true;
        }
        match (self.find(name), self.find(Some(host))) {
            (Some(shown), Some(asked)) => shown.shares_with(asked),
            _ => false,
        }
    }

    fn named(&self, name: &str) -> Option<&Arc<Identity>> {
        let host = Host::parse(name).ok()?;
        self.exact.get(&host).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(&Host::parse(parent).ok()?)
        })
    }
}

/// A certificate that can be shown.
pub(super) struct Showable {
    pub(super) name: CertName,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) key: Arc<CertifiedKey>,
}

/// Which certificates answer to which names, as places in a list of them.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Shares {
    pub(super) exact: Map<Host, Vec<usize>>,
    pub(super) wildcard: Map<Host, Vec<usize>>,
    pub(super) fallback: Option<Vec<usize>>,
}

impl Shares {
    /// Of certificates with the same kind of key the first keeps a name. The first of all answers to names that none
    /// has, beside those that share its first name, unless `is_strict`; one for any name does so in any case.
    pub(super) fn of(certs: &[Showable], is_strict: bool) -> Self {
        let mut shares = Self::default();
        let kind = |at: usize| certs.get(at).map(|cert: &Showable| cert.key.key.algorithm());
        let add = |list: &mut Vec<usize>, at: usize| {
            if list.iter().all(|known| kind(*known) != kind(at)) {
                list.push(at);
            }
        };
        let mut any = Vec::new();
        for (at, cert) in certs.iter().enumerate() {
            for host in &cert.hosts {
                match host {
                    HostPattern::Exact(host) => add(shares.exact.entry(host.clone()).or_default(), at),
                    HostPattern::Wildcard(host) => add(shares.wildcard.entry(host.clone()).or_default(), at),
                    HostPattern::Any => add(&mut any, at),
                }
            }
        }
        shares.fallback = if !any.is_empty() {
            Some(any)
        } else if is_strict {
            None
        } else {
            certs.first().map(|first| match first.hosts.first() {
                Some(HostPattern::Exact(host)) => shares.exact.get(host).cloned().unwrap_or_else(|| vec![0]),
                Some(HostPattern::Wildcard(host)) => shares.wildcard.get(host).cloned().unwrap_or_else(|| vec![0]),
                Some(HostPattern::Any) | None => vec![0],
            })
        };
        shares
    }
}

/// Shows the certificate that the client can verify and that costs least to sign with.
#[derive(Debug)]
pub(super) struct ByKind(Box<[Arc<CertifiedKey>]>);

impl ByKind {
    pub(super) fn new(mut keys: Vec<Arc<CertifiedKey>>) -> Self {
        keys.sort_by_key(|key| match key.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::RSA => 2,
            _ => 1,
        });
        Self(keys.into())
    }

    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let (first, more) = self.0.split_first()?;
        if more.is_empty() {
            return Some(first);
        }
        // When none will do, rustls says so with the right alert.
        self.0.iter().find(|key| key.key.choose_scheme(schemes).is_some()).or(Some(first))
    }
}

impl ResolvesServerCert for ByKind {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.signature_schemes()).cloned()
    }
}
