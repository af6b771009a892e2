//! Certificates as rustls wants them: chosen by SNI, swapped with the snapshot, tickets shared across swaps.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::sign::CertifiedKey;

use super::host::{Host, HostPattern};
use super::intent::Cert;
use super::live::acme::{AcmeState, PROTOCOL};
use super::problem::Problem;

/// Sessions kept for TLS 1.2 resumption by id, in all.
const SESSIONS: usize = 4096;

/// What every TLS configuration shares, made once a process: a client that resumes after a swap still can.
pub struct TlsShared {
    provider: Arc<CryptoProvider>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    sessions: Arc<dyn StoresServerSessions>,
    acme: Arc<AcmeState>,
    system: OnceLock<Box<Authorities>>,
    roots: OnceLock<Arc<RootCertStore>>,
}

/// Finds the authorities that this host trusts.
type Authorities = dyn Fn() -> Vec<CertificateDer<'static>> + Send + Sync;

impl TlsShared {
    pub(super) fn new(acme: Arc<AcmeState>) -> Self {
        Self {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            // Without randomness there are no tickets and each handshake is a full one.
            tickets: rustls::crypto::aws_lc_rs::Ticketer::new().ok(),
            sessions: ServerSessionMemoryCache::new(SESSIONS),
            acme,
            system: OnceLock::new(),
            roots: OnceLock::new(),
        }
    }

    /// Says once how the authorities are found that this host trusts; they are looked for when the first pool asks for
    /// them, which may read files.
    pub fn trust_by(&self, find: impl Fn() -> Vec<CertificateDer<'static>> + Send + Sync + 'static) {
        let _ = self.system.set(Box::new(find));
    }

    /// The authorities that this host trusts.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn system_roots(&self) -> Result<Arc<RootCertStore>, String> {
        if let Some(roots) = self.roots.get() {
            return Ok(roots.clone());
        }
        let mut roots = RootCertStore::empty();
        // What is in a system's store and cannot be used is no fault of the pool's.
        roots.add_parsable_certificates(self.system.get().map(|find| find()).unwrap_or_default());
        if roots.is_empty() {
            return Err(
                "this host has no certificates of authorities to verify backends by; install ca-certificates, \
                        or give tls.ca a file"
                    .to_owned(),
            );
        }
        Ok(self.roots.get_or_init(|| Arc::new(roots)).clone())
    }

    /// The cryptography.
    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

impl fmt::Debug for TlsShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsShared").field("tickets", &self.tickets.is_some()).finish_non_exhaustive()
    }
}

/// The TLS side of one listener.
#[derive(Clone)]
pub struct TlsPlan {
    /// What rustls needs; re-used by later snapshots while the certificates are the same.
    pub config: Arc<rustls::ServerConfig>,
    certs: Vec<Arc<Cert>>,
    strict: bool,
    clean: bool,
}

impl fmt::Debug for TlsPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPlan").field("certificates", &self.certs.len()).finish_non_exhaustive()
    }
}

impl TlsPlan {
    /// Whether it was made of just these.
    pub(super) fn is_of(&self, certs: &[Arc<Cert>], strict: bool) -> bool {
        self.strict == strict && self.certs == certs
    }

    /// Whether every certificate could be used.
    pub(super) fn is_clean(&self) -> bool {
        self.clean
    }

    /// Builds the configuration; a certificate that does not fit its key becomes a problem and is left out.
    pub(super) fn build(certs: Vec<Arc<Cert>>, strict: bool, shared: &TlsShared, problems: &mut Vec<Problem>) -> Self {
        let before = problems.len();
        let mut resolver = BySni { exact: HashMap::new(), wildcard: HashMap::new(), fallback: None };
        for cert in &certs {
            match certified(cert, &shared.provider) {
                Ok(key) => resolver.add(cert, key, strict),
                Err(error) => problems.push(Problem::new(
                    &cert.origin,
                    format!("the certificate cannot be used: {error}; give a chain with the leaf first and the leaf's own key"),
                )),
            }
        }
        let resolver = Arc::new(Resolver { by_sni: resolver, acme: shared.acme.clone() });
        let builder = rustls::ServerConfig::builder_with_provider(shared.provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS);
        let mut config = match builder {
            Ok(builder) => builder.with_no_client_auth().with_cert_resolver(resolver),
            // The provider is compiled in with both versions; were it not, rustls' own default stands in.
            Err(_) => rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), PROTOCOL.to_vec()];
        config.session_storage = shared.sessions.clone();
        if let Some(tickets) = &shared.tickets {
            config.ticketer = tickets.clone();
        }
        Self { config: Arc::new(config), certs, strict, clean: problems.len() == before }
    }
}

fn certified(cert: &Cert, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, rustls::Error> {
    let chain = cert.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(cert.key.expose().to_vec())
        .map_err(|error| rustls::Error::General(format!("the private key is unreadable: {error}")))?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

/// Finds the certificate of a name: exact, then `*.` and the rest, then the first one given.
#[derive(Debug)]
struct BySni {
    exact: HashMap<Host, Arc<CertifiedKey>>,
    wildcard: HashMap<Host, Arc<CertifiedKey>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl BySni {
    fn add(&mut self, cert: &Cert, key: Arc<CertifiedKey>, strict: bool) {
        if !strict && self.fallback.is_none() {
            self.fallback = Some(key.clone());
        }
        for name in &cert.names {
            // The first certificate that claims a name keeps it.
            match name {
                HostPattern::Exact(host) => drop(self.exact.entry(host.clone()).or_insert_with(|| key.clone())),
                HostPattern::Wildcard(host) => drop(self.wildcard.entry(host.clone()).or_insert_with(|| key.clone())),
                HostPattern::Any => self.fallback = Some(key.clone()),
            }
        }
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let host = Host::parse(name).ok()?;
        self.exact.get(&host).cloned().or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.wildcard.get(&Host::parse(parent).ok()?).cloned()
        })
    }
}

/// The proof for a certificate authority that asks for one (RFC 8737), else the certificate of the name.
#[derive(Debug)]
struct Resolver {
    by_sni: BySni,
    acme: Arc<AcmeState>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Who offers that protocol and nothing else is an authority, which none of the other certificates is for.
        if hello.alpn().is_some_and(|mut offers| offers.next() == Some(PROTOCOL) && offers.next().is_none()) {
            return self.acme.key(&Host::parse(hello.server_name()?).ok()?);
        }
        self.by_sni.resolve(hello)
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        hello.server_name().and_then(|name| self.find(name)).or_else(|| self.fallback.clone())
    }
}
