//! Pure. How the backends of a pool are spoken to, ready for use: the TLS configuration is made once for each that was
//! asked for, never for a connection.
//!
//! Connections are shared under the identity of such a plan: who asks for other TLS gets another plan, and never a
//! connection that was made under this one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};

use super::intent::speech::{BackendTls, Identity, Speech, Verify};
use super::tls::TlsShared;
use any::TakeAny;
use given::Given;

pub mod any;
mod given;

/// How the backends of one pool are spoken to; what a pool has that is not spoken to in HTTP/1.1 in the clear.
#[derive(Debug)]
pub struct SpeechPlan {
    /// What was asked.
    pub asked: Speech,
    /// The TLS, if it is sealed. The error says why it cannot be had: then nothing is sent, least of all in the clear.
    pub tls: Option<Result<TlsDial, String>>,
    // Whether the last handshake failed, so that it is told once.
    failing: AtomicBool,
}

/// The TLS of connections to backends.
#[derive(Clone)]
pub struct TlsDial {
    /// What rustls needs, and the sessions that can be resumed.
    pub config: Arc<ClientConfig>,
    /// The name asked for; `None`: the backend's address.
    pub name: Option<ServerName<'static>>,
}

impl fmt::Debug for TlsDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDial").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SpeechPlan {
    /// The plan for what was asked, taken over from `old` where it is the same; `None` for HTTP/1.1 in the clear.
    pub(super) fn of(asked: &Speech, old: Option<&Arc<Self>>, shared: &TlsShared) -> Option<Arc<Self>> {
        if *asked == Speech::PLAIN {
            return None;
        }
        if let Some(same) = old.filter(|old| old.asked == *asked && old.trouble().is_none()) {
            return Some(same.clone());
        }
        let tls = asked.tls.as_ref().map(|tls| dial(tls, asked.http2, shared));
        Some(Arc::new(Self { asked: asked.clone(), tls, failing: AtomicBool::new(false) }))
    }

    /// Whether HTTP/2 is spoken.
    pub fn http2(&self) -> bool {
        self.asked.http2
    }

    /// Why it cannot be spoken.
    pub fn trouble(&self) -> Option<&str> {
        self.tls.as_ref().and_then(|tls| tls.as_ref().err()).map(String::as_str)
    }

    /// A handshake ended; true when it failed and the one before it did not.
    pub fn shook(&self, well: bool) -> bool {
        !self.failing.swap(!well, Relaxed) && !well
    }
}

fn dial(asked: &BackendTls, http2: bool, shared: &TlsShared) -> Result<TlsDial, String> {
    let BackendTls { verify, name, identity } = asked;
    let named = |name: &Arc<str>| {
        ServerName::try_from(name.to_string()).map_err(|_| format!("tls.name {name} is not a name or an address"))
    };
    let name = name.as_ref().map(named).transpose()?;
    let builder = ClientConfig::builder_with_provider(shared.provider().clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| format!("TLS cannot be spoken: {error}"))?;
    let builder = match verify {
        Verify::None => unverified(builder),
        Verify::System => builder.with_webpki_verifier(verifier(shared.system_roots()?, shared)?),
        Verify::By(authorities) => {
            let mut roots = RootCertStore::empty();
            for der in authorities {
                let added = roots.add(CertificateDer::from(der.to_vec()));
                added.map_err(|error| format!("a certificate of tls.ca cannot be used: {error}"))?;
            }
            let given = Given::new(authorities.clone(), verifier(Arc::new(roots), shared)?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(given))
        }
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
            let key = PrivateKeyDer::try_from(key.expose().to_vec()).map_err(str::to_owned);
            let with = key.and_then(|key| builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string()));
            with.map_err(|error| format!("tls.client_cert cannot be used: {error}"))?
        }
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(TlsDial { config: Arc::new(config), name })
}

/// What is left to say of a configuration once it is known who is believed.
type Verified = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn verifier(roots: Arc<RootCertStore>, shared: &TlsShared) -> Result<Arc<WebPkiServerVerifier>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, shared.provider().clone()).build();
    verifier.map_err(|error| format!("certificates cannot be verified: {error}"))
}

fn unverified(builder: ConfigBuilder<ClientConfig, WantsVerifier>) -> Verified {
    let schemes = builder.crypto_provider().signature_verification_algorithms.supported_schemes();
    builder.dangerous().with_custom_certificate_verifier(Arc::new(TakeAny::new(schemes)))
}

#[cfg(test)]
mod tests;
