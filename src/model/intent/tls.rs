//! Pure. How TLS is spoken with the clients of an `https` listener, and what is asked of their certificates.

use std::fmt;
use std::sync::Arc;

use crate::model::words::words;

/// The TLS of one listener, beside its certificates. The default is what any browser of the last ten years can speak.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TlsRules {
    /// Older versions are refused.
    pub min_version: TlsVersion,
    /// Application protocols that are offered, best first; never empty.
    pub alpn: Vec<Alpn>,
    /// What is asked of clients; `None`: no certificate.
    pub client_auth: Option<ClientAuth>,
}

impl Default for TlsRules {
    fn default() -> Self {
        Self { min_version: TlsVersion::Tls12, alpn: vec![Alpn::H2, Alpn::Http1], client_auth: None }
    }
}

words! {
    /// A version of TLS.
    pub enum TlsVersion,
    /// The version as it is written in files.
    fn label {
        /// RFC 5246.
        Tls12 = "1.2",
        /// RFC 8446.
        Tls13 = "1.3",
    }
}

words! {
    /// What is spoken inside TLS.
    pub enum Alpn,
    /// The name that is registered for ALPN (RFC 7301).
    fn label {
        /// HTTP/2.
        H2 = "h2",
        /// HTTP/1.1.
        Http1 = "http/1.1",
    }
}

words! {
    /// Whether a client may come without a certificate. One that shows a wrong one is refused either way.
    pub enum ClientAuthMode,
    /// The word in files.
    fn label {
        /// It must show one.
        Required = "required",
        /// It is asked for one and need not have any.
        Optional = "optional",
    }
}

words! {
    /// What backends are told of a client's certificate, in header fields.
    pub enum Tell,
    /// The word in files.
    fn label {
        /// Nothing.
        Nothing = "none",
        /// Whether there was one, its subject, issuer and serial number.
        Subject = "subject",
        /// That, and the certificate itself (`Client-Cert`, RFC 9440).
        Certificate = "certificate",
    }
}

/// What is asked of clients.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct ClientAuth {
    /// Whether they must show a certificate.
    pub mode: ClientAuthMode,
    /// The authorities whose certificates are taken, in DER; never empty.
    pub roots: Arc<[Arc<[u8]>]>,
    /// Lists of revoked certificates. When there are any, each authority in a client's chain must have one that is not
    /// outdated.
    pub crls: Arc<[Crl]>,
    /// What backends are told.
    pub tell: Tell,
}

/// A list of revoked certificates.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Crl {
    /// In DER.
    pub der: Arc<[u8]>,
    /// When it is outdated, in seconds since 1970; `None`: it does not say.
    pub next_update: Option<i64>,
}

impl fmt::Debug for Crl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crl").field("bytes", &self.der.len()).field("next_update", &self.next_update).finish()
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, roots, crls, tell } = self;
        f.debug_struct("ClientAuth")
            .field("mode", mode)
            .field("roots", &roots.len())
            .field("crls", &crls.len())
            .field("tell", tell)
            .finish()
    }
}

/// An answer of a certificate's authority that it is still good (OCSP, RFC 6960), sent along with the certificate.
#[derive(Clone, Eq, Hash, PartialEq)]
pub enum Staple {
    /// One that can be sent while it holds.
    Good {
        /// In DER.
        response: Arc<[u8]>,
        /// Since when it holds, in seconds since 1970.
        from: i64,
        /// Until when; `i64::MAX` when it does not say.
        until: i64,
    },
    /// One that cannot be sent, and why.
    Unusable(Arc<str>),
}

impl Staple {
    /// The response, unless it cannot be sent.
    pub fn response(&self) -> Option<&Arc<[u8]>> {
        match self {
            Self::Good { response, .. } => Some(response),
            Self::Unusable(_) => None,
        }
    }
}

impl fmt::Debug for Staple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { from, until, .. } => f.debug_struct("Good").field("from", from).field("until", until).finish(),
            Self::Unusable(reason) => f.debug_tuple("Unusable").field(reason).finish(),
        }
    }
}
