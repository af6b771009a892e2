//! The proof for a certificate authority that asks for one in a handshake (TLS-ALPN-01, RFC 8737).
//!
//! It has a configuration of its own, so that a listener's rules (its protocols, the certificates it asks clients for, its
//! strictness about names) are none for authorities, and what authorities are shown is shown to nobody else.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::model::host::Host;
use crate::model::live::acme::{AcmeState, PROTOCOL};

/// Answers certificate authorities.
#[derive(Clone)]
pub(super) struct Prover {
    acme: Arc<AcmeState>,
    config: Option<Arc<rustls::ServerConfig>>,
}

impl Prover {
    pub(super) fn new(provider: &Arc<CryptoProvider>, acme: Arc<AcmeState>) -> Self {
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
        // The provider is compiled in with both versions; were it not, there would be no https at all.
        let config = builder.with_protocol_versions(rustls::ALL_VERSIONS).ok().map(|builder| {
            let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Proofs(acme.clone())));
            config.alpn_protocols = vec![PROTOCOL.to_vec()];
            config.send_tls13_tickets = 0;
            Arc::new(config)
        });
        Self { acme, config }
    }

    /// Whether somebody may ask.
    pub(super) fn is_asked(&self) -> bool {
        self.acme.is_offering()
    }

    /// The configuration for a client, if it is an authority: who offers that protocol and nothing else.
    pub(super) fn config(&self, hello: &ClientHello<'_>) -> Option<&Arc<rustls::ServerConfig>> {
        let mut offers = hello.alpn()?;
        (offers.next() == Some(PROTOCOL) && offers.next().is_none()).then_some(self.config.as_ref())?
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").finish_non_exhaustive()
    }
}

/// The proofs by name.
#[derive(Debug)]
struct Proofs(Arc<AcmeState>);

impl ResolvesServerCert for Proofs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.key(&Host::parse(hello.server_name()?).ok()?)
    }
}
