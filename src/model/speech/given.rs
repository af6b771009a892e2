//! Pure. Believes authorities, and a backend's own certificate where that was given by itself.
//!
//! What people make with one call of openssl is a certificate that signed itself and says that it is an authority. A
//! strict verifier takes such a one for nobody's leaf, though who gave it as `tls.ca` meant just this. So a certificate
//! that was given, byte by byte, is believed as it is, for the names in it; all others need an authority's signature.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Believes what was given.
#[derive(Debug)]
pub(super) struct Given {
    certs: Vec<Arc<[u8]>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl Given {
    /// Believes these certificates by themselves, and what they signed.
    pub(super) fn new(certs: Vec<Arc<[u8]>>, authorities: Arc<WebPkiServerVerifier>) -> Self {
        Self { certs, authorities }
    }
}

impl ServerCertVerifier for Given {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.certs.iter().any(|cert| **cert == **leaf) {
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(leaf, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
