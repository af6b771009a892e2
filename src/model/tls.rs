//! The TLS side of listeners, as rustls wants it: certificates chosen by SNI and swapped with the snapshot.
//!
//! Each group of names with the same certificates has a configuration of its own, because rustls binds sessions to a
//! configuration and not to what was shown (see `sessions`). What cannot be had as it was asked is never had more
//! freely: a listener whose rules for clients cannot be kept refuses every handshake.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

use super::intent::tls::{ClientAuth, ClientAuthMode, TlsRules, TlsVersion};
use super::intent::{Cert, CertName, Listener};
use super::live::acme::AcmeState;
use super::map::Map;
use super::problem::Problem;
use names::{ByKind, Shares, Showable};
use prover::Prover;
use sessions::Sessions;

mod names;
mod prover;
mod sessions;
mod suites;

pub use names::{Clients, Identity, Names};

/// What every TLS configuration shares, made once a process: a client that resumes after a swap still can.
pub struct TlsShared {
    provider: Arc<CryptoProvider>,
    ignores_client_order: bool,
    sessions: Sessions,
    prover: Prover,
    system: OnceLock<Box<Authorities>>,
    roots: OnceLock<Arc<RootCertStore>>,
}

/// Finds the authorities that this host trusts.
type Authorities = dyn Fn() -> Vec<CertificateDer<'static>> + Send + Sync;

impl TlsShared {
    /// `acme`: what certificate authorities are answered.
    pub(super) fn new(acme: Arc<AcmeState>) -> Self {
        let has_aes = suites::has_aes();
        let provider = Arc::new(suites::provider(has_aes));
        Self {
            prover: Prover::new(&provider, acme),
            provider,
            ignores_client_order: suites::is_ours_to_choose(has_aes),
            sessions: Sessions::new(),
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
        f.debug_struct("TlsShared").field("tickets", &self.sessions.has_tickets()).finish_non_exhaustive()
    }
}

/// A certificate and the name it goes by.
pub(super) type NamedCert = (CertName, Arc<Cert>);

/// The TLS side of one listener.
#[derive(Clone)]
pub struct TlsPlan {
    /// Who answers to which server name; re-used by later snapshots while nothing of it changes.
    pub names: Arc<Names>,
    certs: Vec<NamedCert>,
    rules: TlsRules,
    is_strict: bool,
    is_clean: bool,
}

impl fmt::Debug for TlsPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPlan").field("certificates", &self.certs.len()).finish_non_exhaustive()
    }
}

impl TlsPlan {
    /// Whether it was made of just these.
    pub(super) fn is_of(&self, certs: &[NamedCert], listener: &Listener) -> bool {
        self.is_strict == listener.strict_sni && self.certs == certs && self.rules == listener.tls
    }

    /// Whether everything could be used.
    pub(super) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// Builds the configurations. A certificate that does not fit its key becomes a problem and is left out; rules for
    /// clients that cannot be kept become one and leave nothing.
    pub(super) fn build(
        certs: Vec<NamedCert>,
        listener: &Listener,
        shared: &TlsShared,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let before = problems.len();
        let mut names = names_of(&certs, listener, shared, problems).unwrap_or_else(|reason| {
            problems.push(Problem::new(&listener.origin, format!("{reason}; until then every handshake is refused")));
            Names::default()
        });
        // Whatever else there is or is not: an authority must get the proof it asks for.
        names.prover = Some(shared.prover.clone());
        Self {
            names: Arc::new(names),
            certs,
            rules: listener.tls.clone(),
            is_strict: listener.strict_sni,
            is_clean: problems.len() == before,
        }
    }
}

fn names_of(
    certs: &[NamedCert],
    listener: &Listener,
    shared: &TlsShared,
    problems: &mut Vec<Problem>,
) -> Result<Names, String> {
    let clients = listener.tls.client_auth.as_ref().map(|auth| clients(auth, &shared.provider)).transpose()?;
    let showable = showable(certs, &shared.provider, problems);
    let shares = Shares::of(&showable, listener.strict_sni);
    let mut made = HashMap::new();
    let mut identity = |share: &Vec<usize>| -> Result<Arc<Identity>, String> {
        if let Some(known) = made.get(share) {
            return Ok(Arc::clone(known));
        }
        let of: Vec<&Showable> = share.iter().filter_map(|at| showable.get(*at)).collect();
        let identity = Arc::new(identify(&of, &listener.tls, clients.clone(), shared)?);
        made.insert(share.clone(), identity.clone());
        Ok(identity)
    };
    let fallback = shares.fallback.as_ref().map(&mut identity).transpose()?;
    let mut all = |shares: &Map<_, Vec<usize>>| -> Result<Map<_, _>, String> {
        shares.iter().map(|(host, share)| Ok((Clone::clone(host), identity(share)?))).collect()
    };
    let (exact, wildcard) = (all(&shares.exact)?, all(&shares.wildcard)?);
    let is_one = made.len() == 1;
    Ok(Names { exact, wildcard, fallback, is_one, prover: None })
}

/// The certificates that fit their keys.
fn showable(certs: &[NamedCert], provider: &CryptoProvider, problems: &mut Vec<Problem>) -> Vec<Showable> {
    let mut showable = Vec::with_capacity(certs.len());
    for (name, cert) in certs {
        match certified(cert, provider) {
            Ok(key) => {
                showable.push(Showable { name: name.clone(), hosts: cert.names.clone(), key: Arc::new(key) });
            }
            Err(error) => problems.push(Problem::new(
                &cert.origin,
                format!(
                    "the certificate cannot be used: {error}; give a chain with the leaf first and the leaf's own key"
                ),
            )),
        }
    }
    showable
}

fn certified(cert: &Cert, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
    let chain = cert.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(cert.key.expose().to_vec())
        .map_err(|error| rustls::Error::General(format!("the private key is unreadable: {error}")))?;
    let mut key = CertifiedKey::from_der(chain, key, provider)?;
    key.ocsp = cert.staple.as_ref().and_then(|staple| staple.response()).map(|der| der.to_vec());
    Ok(key)
}

fn identify(
    certs: &[&Showable],
    rules: &TlsRules,
    clients: Option<Clients>,
    shared: &TlsShared,
) -> Result<Identity, String> {
    let versions = match rules.min_version {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = rustls::ServerConfig::builder_with_provider(shared.provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| format!("its TLS versions cannot be had ({error})"))?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(clients.verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let keys = certs.iter().map(|cert| cert.key.clone()).collect();
    let mut config = builder.with_cert_resolver(Arc::new(ByKind::new(keys)));
    config.ignore_client_order = shared.ignores_client_order;
    config.alpn_protocols = rules.alpn.iter().map(|alpn| alpn.label().into()).collect();
    let mut names: Box<[CertName]> = certs.iter().map(|cert| cert.name.clone()).collect();
    names.sort_unstable();
    let sessions = shared.sessions.of((rules.clone(), names.clone()));
    config.session_storage = sessions.clone();
    if shared.sessions.has_tickets() {
        config.ticketer = sessions;
    }
    Ok(Identity { config: Arc::new(config), clients, certs: names })
}

/// The judge of clients' certificates.
fn clients(auth: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Clients, String> {
    Ok(Clients { verifier: verifier(auth, provider)?, tell: auth.tell })
}

/// Judges chains of client certificates as `auth` says. Revocations are as strict as those of HAProxy and nginx: once
/// there is a list, each authority needs one, and one that is outdated says nothing.
///
/// # Errors
/// Why none can be made of it, and what would be right.
fn verifier(auth: &ClientAuth, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for root in &*auth.roots {
        let wrong = |error| format!("client_auth: ca has a certificate that cannot be an authority ({error})");
        roots.add(CertificateDer::from(root.to_vec())).map_err(wrong)?;
    }
    let crls = auth.crls.iter().map(|crl| CertificateRevocationListDer::from(crl.der.to_vec()));
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .with_crls(crls)
        .enforce_revocation_expiration();
    if auth.mode == ClientAuthMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| format!("client_auth cannot be kept ({error}); give its ca and crl again, whole"))
}

/// What is wrong with rules for clients, for doors that are stricter than compile.
///
/// # Errors
/// Why they cannot be kept.
pub fn check_clients(auth: &ClientAuth) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    verifier(auth, &provider).map(|_| ())
}

#[cfg(test)]
mod tests;
