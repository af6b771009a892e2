//! Pure. Certificates that are to be had from a certificate authority by ACME (RFC 8555).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::CertName;
use crate::model::host::Host;
use crate::model::problem::Origin;

/// The authority that is asked when none is named: Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Its twin for trials: generous limits, certificates that no client trusts.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// One certificate to order and to renew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Order {
    /// The names it is for: 1 to 100 DNS names, none a wildcard.
    pub hosts: BTreeSet<Host>,
    /// Where the authority's directory is: an `https` URL.
    pub directory: Arc<str>,
    /// Whom the authority may write to.
    pub email: Option<Arc<str>>,
    /// What the directory's own certificate must lead to, in DER; empty: what the system trusts.
    pub roots: Vec<Arc<[u8]>>,
    /// How to prove that the names are ours; `None`: in any way that a listener can serve.
    pub challenge: Option<Challenge>,
    /// Who asked first.
    pub origin: Origin,
}

/// How an authority is shown that a name is ours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Challenge {
    /// It fetches a text over plain HTTP, from port 80 (RFC 8555 §8.3).
    Http01,
    /// It shakes hands for the protocol `acme-tls/1`, on port 443 (RFC 8737).
    TlsAlpn01,
}

impl Order {
    /// The name of the certificate. All who ask for the same hosts mean the same one.
    pub fn name(&self) -> CertName {
        CertName::new(format!("acme:{}", self.hosts_in_words(",")))
    }

    /// The hosts in their order, with `between` between them.
    pub fn hosts_in_words(&self, between: &str) -> String {
        self.hosts.iter().map(Host::as_str).collect::<Vec<_>>().join(between)
    }

    /// Whether another, of whatever origin, asks for the same in the same way.
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { hosts, directory, email, roots, challenge, origin: _ } = self;
        (hosts, directory, email, roots, challenge)
            == (&other.hosts, &other.directory, &other.email, &other.roots, &other.challenge)
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        })
    }
}
